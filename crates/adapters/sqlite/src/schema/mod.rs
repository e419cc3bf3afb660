//! The tables of a file and how they came to be.
//!
//! Each role owns a script. A released step is never changed: a change is a new step, with
//! scripts of its own.

use crate::engine::Schema;

/// `SHSE`, in the header of each of our files.
const APPLICATION_ID: i32 = 0x5348_5345;

/// The steps that bring any of our files up to date.
pub(crate) const SCHEMA: Schema = Schema {
    application_id: APPLICATION_ID,
    steps: &[&[
        include_str!("store.sql"),
        include_str!("state.sql"),
        include_str!("queue.sql"),
        include_str!("tasks.sql"),
        include_str!("references.sql"),
    ]],
};
