//! Large content, by its digest.
