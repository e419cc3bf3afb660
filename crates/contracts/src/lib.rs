//! The contracts of Statehouse: messages, state, tasks and references.
