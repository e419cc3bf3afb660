//! Versioned state, by subject.

use model::agrees_with_the_model;

use crate::Case;
use crate::case::case;

mod appends;
mod content;
mod expiry;
mod history;
mod import;
mod lifetime;
mod listing;
mod model;
mod names;
mod op_ids;
mod preconditions;
mod prune;
mod races;
mod rollback;
mod transactions;
mod versions;

pub(crate) fn cases() -> Vec<Case> {
    [
        appends::cases(),
        content::cases(),
        expiry::cases(),
        history::cases(),
        import::cases(),
        lifetime::cases(),
        listing::cases(),
        names::cases(),
        op_ids::cases(),
        preconditions::cases(),
        prune::cases(),
        races::cases(),
        rollback::cases(),
        transactions::cases(),
        versions::cases(),
        vec![case!(agrees_with_the_model)],
    ]
    .concat()
}
