//! Forgetting versions, and keys that are tombstones.

use statehouse_contracts::{Error, Id, Kind, Prune, Pruned, Result};

use super::apply::text;
use super::list::{Range, ids, kinds};
use super::{DragonflyState, scripts};
use crate::reply::Reply;
use crate::time::micros;

/// How many keys one script looks at, and after how many versions it stops.
const KEYS: usize = 100;
const VERSIONS: usize = 1000;

/// Prunes in short steps, until all is done.
pub(super) async fn prune(state: &DragonflyState, prune: Prune) -> Result<Pruned> {
    if prune.keep_last == Some(0) {
        return Err(Error::invalid(
            "keep_last is 0; the current version always stays: write 1 or more",
        ));
    }
    let mut total = Pruned::default();
    if let Some(key) = &prune.key {
        if prune.kind.as_ref().is_none_or(|kind| *kind == key.kind) {
            let ids = vec![key.id.clone()];
            step_all(state, &prune, &key.kind, &ids, &mut total).await?;
        }
        return Ok(total);
    }
    let kinds = match &prune.kind {
        Some(kind) => vec![kind.clone()],
        None => kinds(state, "prune", None).await?,
    };
    for kind in kinds {
        let mut range = Range::all();
        loop {
            let ids = ids(state, "prune", &kind, &range, KEYS).await?;
            let Some(last) = ids.last() else { break };
            range.go_on_after(last);
            step_all(state, &prune, &kind, &ids, &mut total).await?;
            if ids.len() < KEYS {
                break;
            }
        }
    }
    Ok(total)
}

/// Prunes these keys of one kind.
async fn step_all(
    state: &DragonflyState,
    prune: &Prune,
    kind: &Kind,
    ids: &[Id],
    total: &mut Pruned,
) -> Result<()> {
    let mut rest = ids;
    while !rest.is_empty() {
        let (pruned, done) = step(state, prune, kind, rest).await?;
        total.versions += pruned.versions;
        total.keys += pruned.keys;
        rest = &rest[done.clamp(1, rest.len())..];
    }
    Ok(())
}

/// Prunes the first of these keys; answers what went and how many keys are done.
async fn step(
    state: &DragonflyState,
    prune: &Prune,
    kind: &Kind,
    ids: &[Id],
) -> Result<(Pruned, usize)> {
    let names = &state.names;
    let mut keys = vec![
        names.meta.clone(),
        names.kinds.clone(),
        names.index_of(kind),
    ];
    let bound = |bound: Option<String>| text(bound.unwrap_or_default());
    let mut arguments = vec![
        text(kind.as_str()),
        bound(prune.keep_last.map(|keep| keep.to_string())),
        bound(prune.max_age.map(|age| micros(age).to_string())),
        bound(prune.tombstones.map(|age| micros(age).to_string())),
        text(VERSIONS),
    ];
    for id in ids {
        keys.push(names.record(kind.as_str(), id.as_str()));
        keys.push(names.versions(kind.as_str(), id.as_str()));
        arguments.push(text(id.as_str()));
    }
    let answer = state
        .session
        .script("prune", &scripts::PRUNE, keys, arguments)
        .await?;
    let mut answer = Reply::from(answer).row()?;
    let pruned = Pruned {
        versions: answer.number()?,
        keys: answer.number()?,
    };
    Ok((pruned, answer.number()?))
}
