//! One conformance suite for every adapter and layer.
