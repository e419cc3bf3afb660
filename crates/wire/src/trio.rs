//! The three stores of a trio.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One store of a trio.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrioRoleDoc {
    /// Whether it answers.
    pub reachable: bool,
    /// What it answers instead.
    pub problem: Option<String>,
    /// How many changes of main it has not taken yet; `null` for main, and where it is not known.
    pub lag: Option<u64>,
}

/// The three stores of a trio as they stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrioStatusDoc {
    /// The store that takes writes.
    pub main: TrioRoleDoc,
    /// The store that takes reads.
    pub replica: TrioRoleDoc,
    /// The store that keeps the version before the latest.
    pub rollback: TrioRoleDoc,
}
