//! State service, outbox relay, watch, cache, trio and LIFO processor.
