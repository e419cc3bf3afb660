//! The outbox, by subject.

use crate::Case;

mod leases;
mod local;
mod order;
mod parking;
mod relay;
mod settling;

pub(crate) fn cases() -> Vec<Case> {
    [
        leases::cases(),
        local::cases(),
        order::cases(),
        parking::cases(),
        settling::cases(),
    ]
    .concat()
}
