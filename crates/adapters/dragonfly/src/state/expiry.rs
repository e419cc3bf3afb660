//! Writing the tombstones of what has expired.

use std::time::Duration;

use statehouse_contracts::{Namespace, Result};

use super::apply::text;
use super::names::Names;
use super::scripts;
use crate::keys::Role;
use crate::reply::Reply;
use crate::session::Store;

/// How late a tombstone may be: housekeeping comes once a second, if the server answers.
pub(super) const LAG: Duration = Duration::from_secs(5);

/// How many records one script sweeps.
const BATCH: usize = 200;

/// Writes the tombstones of all that has expired in `namespace`.
pub(super) async fn sweep(store: &Store, namespace: &Namespace) -> Result<()> {
    let names = Names::new(store.keys(namespace, Role::State));
    loop {
        let due = vec![names.expiry.clone()];
        let answer = store
            .client
            .script("expire", &scripts::DUE, due, vec![text(BATCH)])
            .await?;
        let members: Vec<String> = Reply::from(answer)
            .list()?
            .map(Reply::text)
            .collect::<Result<_>>()?;
        if members.is_empty() {
            return Ok(());
        }
        let full = members.len() == BATCH;
        let mut keys = names.commit();
        let mut arguments = Vec::with_capacity(members.len() * 2);
        for (kind, id) in members.iter().filter_map(|member| member.split_once('/')) {
            keys.push(names.record(kind, id));
            keys.push(names.versions(kind, id));
            arguments.extend([text(kind), text(id)]);
        }
        let swept = store
            .client
            .script("expire", &scripts::SWEEP, keys, arguments)
            .await?;
        let swept: u64 = Reply::from(swept).number()?;
        tracing::trace!(swept, %namespace, "records have expired");
        if !full {
            return Ok(());
        }
    }
}
