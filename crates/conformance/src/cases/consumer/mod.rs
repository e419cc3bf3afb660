//! Receiving, by subject.

use crate::Case;

mod order;

pub(crate) fn cases() -> Vec<Case> {
    order::cases()
}
