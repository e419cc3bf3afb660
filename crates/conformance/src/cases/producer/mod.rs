//! Sending, by subject.

use crate::Case;

mod acceptance;
mod admission;
mod delay;
mod fields;
mod idempotency;
mod limits;

pub(crate) fn cases() -> Vec<Case> {
    [
        acceptance::cases(),
        admission::cases(),
        delay::cases(),
        fields::cases(),
        idempotency::cases(),
        limits::cases(),
    ]
    .concat()
}
