//! Benchmarks against raw clients and peers.
