//! The change log, by subject.

use crate::Case;

mod cursors;
mod followers;
mod log;
mod racing;
mod trimming;
mod waiting;

pub(crate) fn cases() -> Vec<Case> {
    [
        cursors::cases(),
        followers::cases(),
        log::cases(),
        racing::cases(),
        trimming::cases(),
        waiting::cases(),
    ]
    .concat()
}
