//! Task stacks.
