//! Receiving, by subject.

use crate::Case;

mod admin;
mod broadcast;
mod competing;
mod dead_letters;
mod expiry;
mod groups;
mod keys;
mod leases;
mod lifetime;
mod order;
mod restart;
mod settling;
mod waiting;

pub(crate) fn cases() -> Vec<Case> {
    [
        admin::cases(),
        broadcast::cases(),
        competing::cases(),
        dead_letters::cases(),
        expiry::cases(),
        groups::cases(),
        keys::cases(),
        leases::cases(),
        lifetime::cases(),
        order::cases(),
        restart::cases(),
        settling::cases(),
        waiting::cases(),
    ]
    .concat()
}
