//! Layers around adapters: guard, timeout, retry, observe.
