//! Stacks of tasks, by subject.

use model::agrees_with_the_model;

use crate::Case;
use crate::case::case;

mod cancelling;
mod claiming;
mod leases;
mod lifetime;
mod limits;
mod looking;
mod model;
mod nesting;
mod outcomes;
mod pushing;
mod racing;
mod retries;
mod settling;
mod waiting;

pub(crate) fn cases() -> Vec<Case> {
    [
        cancelling::cases(),
        claiming::cases(),
        leases::cases(),
        lifetime::cases(),
        limits::cases(),
        looking::cases(),
        nesting::cases(),
        outcomes::cases(),
        pushing::cases(),
        racing::cases(),
        retries::cases(),
        settling::cases(),
        waiting::cases(),
        vec![case!(agrees_with_the_model)],
    ]
    .concat()
}
