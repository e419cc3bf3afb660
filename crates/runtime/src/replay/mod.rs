//! Recorded agent runs.
