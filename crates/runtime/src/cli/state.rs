//! `statehouse state`

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    Change, Cursor, Direction, Error, HistoryQuery, ListQuery, OpId, Operation, PageCursor, Prune,
    Record, Result, RollbackTo, StateKey, StateManager, StateManagerExt, Tombstone, Transaction,
    Write,
};
use statehouse_state::{Watch, WatchFilter};
use statehouse_wire::{AppliedDoc, ChangeDoc, FollowerDoc, OutboxEntryDoc, PrunedDoc, RecordDoc};

use super::args::{StateCommand, StateOutgoing, StateRead, StateWatch, StateWrite, When};
use super::output::{preview, table};
use super::{Desk, Output, input};

pub(super) async fn run(command: StateCommand, desk: &Desk, output: &Output) -> Result<()> {
    let state = desk.state().await?;
    match command {
        StateCommand::Read(command) => read(command, &*state, output).await,
        StateCommand::Write(command) => change(command, &*state, output).await,
        StateCommand::Watch(command) => watch(command, state, output).await,
        StateCommand::Prune {
            key,
            kind,
            keep_last,
            max_age,
            tombstones,
        } => {
            prune(
                &*state,
                Prune {
                    kind,
                    key,
                    keep_last,
                    max_age,
                    tombstones,
                },
                output,
            )
            .await
        }
        StateCommand::Restore { key, when } => restore(&key, when, desk, output).await,
        StateCommand::Trio => trio_status(desk, output).await,
        StateCommand::Outgoing(command) => look_after(command, &*state, output).await,
    }
}

async fn read(command: StateRead, state: &dyn StateManager, output: &Output) -> Result<()> {
    match command {
        StateRead::Get { key, at, raw } => get(state, &key, at, raw, output).await,
        StateRead::History { key, limit, before } => {
            let query = HistoryQuery {
                before,
                limit,
                data: true,
            };
            show_records(&state.history(&key, query).await?, None, output)
        }
        StateRead::List {
            kind,
            prefix,
            glob,
            reverse,
            tombstones,
            limit,
            after,
        } => {
            let direction = if reverse {
                Direction::Descending
            } else {
                Direction::Ascending
            };
            let after = after.map(PageCursor);
            let query = ListQuery {
                kind,
                prefix,
                glob,
                direction,
                tombstones,
                limit,
                after,
            };
            let page = state.list(query).await?;
            show_records(&page.items, page.next, output)
        }
    }
}

/// Applies one write.
async fn change(command: StateWrite, state: &dyn StateManager, output: &Output) -> Result<()> {
    let (key, operation, when, op_id) = match command {
        StateWrite::Put {
            key,
            value,
            when,
            ttl,
            content_type,
            op_id,
        } => {
            let data = input::content(&value)?;
            let content_type = input::content_type(content_type.as_deref(), &data)?;
            let put = Operation::Put {
                data,
                content_type,
                schema: None,
                ttl,
            };
            (key, put, when, op_id.map(OpId::new).transpose()?)
        }
        StateWrite::Append { key, value, when } => (
            key,
            Operation::Append {
                data: input::content(&value)?,
            },
            when,
            None,
        ),
        StateWrite::Delete { key, when } => (key, Operation::Delete, when, None),
        StateWrite::Rollback { key, to, when } => {
            let to = to.map_or(RollbackTo::Previous, RollbackTo::Version);
            (key, Operation::Rollback { to }, when, None)
        }
    };
    let write = Write {
        key: key.clone(),
        operation,
        precondition: input::precondition(when),
    };
    let applied = state
        .apply(Transaction {
            op_id,
            ..Transaction::of(write)
        })
        .await?;
    let version = applied.versions.first().copied().unwrap_or_default();
    let repeated = if applied.replayed { " (repeated)" } else { "" };
    let line = format!("{key} is at version {version}{repeated}");
    output.show(&AppliedDoc::from(applied), || line)
}

async fn get(
    state: &dyn StateManager,
    key: &StateKey,
    version: Option<u64>,
    raw: bool,
    output: &Output,
) -> Result<()> {
    let record = match version {
        Some(version) => state.read_version(key, version).await?,
        None => {
            let none = || Error::not_found(format!("{key} does not exist"));
            state.get(key).await?.ok_or_else(none)?
        }
    };
    if raw {
        return output.raw(&record.data);
    }
    let shown = preview(&record.data, &record.content_type, usize::MAX);
    output.show(&RecordDoc::from(record), || shown)
}

async fn prune(state: &dyn StateManager, prune: Prune, output: &Output) -> Result<()> {
    if prune.keep_last.is_none() && prune.max_age.is_none() && prune.tombstones.is_none() {
        return Err(Error::invalid(
            "nothing says what to forget; give --keep-last, --max-age or --tombstones",
        ));
    }
    let pruned = state.prune(prune).await?;
    output.show(&PrunedDoc::from(pruned), || {
        format!(
            "forgot {} versions and {} records",
            pruned.versions, pruned.keys
        )
    })
}

fn show_records(records: &[Record], next: Option<PageCursor>, output: &Output) -> Result<()> {
    let row = |record: &Record| {
        let content = match record.tombstone {
            Some(Tombstone::Deleted) => "(deleted)".to_owned(),
            Some(Tombstone::Expired) => "(expired)".to_owned(),
            None => preview(&record.data, &record.content_type, 60),
        };
        [
            record.key.to_string(),
            record.version.to_string(),
            format!("{:.3}", record.updated_at),
            record.updated_by.to_string(),
            content,
        ]
    };
    let header = ["key", "version", "updated", "by", "content"];
    let documents = || records.iter().cloned().map(RecordDoc::from).collect();
    output.page(documents, next, || {
        table(header, records.iter().map(row).collect())
    })
}

/// Prints changes until so many have come, none comes for a while, or for ever.
async fn watch(command: StateWatch, state: Arc<dyn StateManager>, output: &Output) -> Result<()> {
    let StateWatch {
        kind,
        glob,
        after,
        from_start,
        count,
        idle,
    } = command;
    let start = match after {
        Some(cursor) => Cursor(cursor),
        None if from_start => state.oldest().await?,
        None => state.head().await?,
    };
    let mut watch = Watch::new(state, WatchFilter { kind, glob }, start);
    let mut seen = 0;
    loop {
        let changes = watch.next(idle.unwrap_or(Duration::from_secs(30))).await?;
        if changes.is_empty() && idle.is_some() {
            return Ok(());
        }
        for change in changes {
            show_change(change, output)?;
            seen += 1;
            if count.is_some_and(|count| seen >= count) {
                return Ok(());
            }
        }
    }
}

fn show_change(change: Change, output: &Output) -> Result<()> {
    let line = format!(
        "{:.3}  {}  version {}  {}  by {}",
        change.at,
        change.key,
        change.version,
        format!("{:?}", change.operation).to_lowercase(),
        change.by,
    );
    output.show(&ChangeDoc::from(change), || line)
}

async fn restore(key: &StateKey, when: When, desk: &Desk, output: &Output) -> Result<()> {
    let version = desk.restore(key, input::precondition(when)).await?;
    output.show(&serde_json::json!({ "version": version }), || {
        format!("{key} is at version {version}, with the content from before its latest version")
    })
}

async fn trio_status(desk: &Desk, output: &Output) -> Result<()> {
    let status = desk.trio().await?;
    output.show(&status, || {
        let roles = [
            ("main", &status.main),
            ("replica", &status.replica),
            ("rollback", &status.rollback),
        ];
        let rows = roles.map(|(role, status)| {
            let reachable = status.problem.clone().unwrap_or("reachable".to_owned());
            let lag = status
                .lag
                .map_or(String::new(), |lag| format!("{lag} changes"));
            [role.to_owned(), lag, reachable]
        });
        table(["role", "behind", ""], rows.to_vec())
    })
}

/// Followers and parked messages.
async fn look_after(
    command: StateOutgoing,
    state: &dyn StateManager,
    output: &Output,
) -> Result<()> {
    match command {
        StateOutgoing::Followers => followers(state, output).await,
        StateOutgoing::Unfollow { name } => {
            if !state.unfollow(&name).await? {
                return Err(Error::not_found(format!("there is no follower {name}")));
            }
            output.done(&format!("removed {name}"))
        }
        StateOutgoing::Parked => parked(state, output).await,
        StateOutgoing::Unpark { position } => {
            state.outbox_unpark(position).await?;
            output.done(&format!("message {position} will be sent again"))
        }
        StateOutgoing::Discard { position } => {
            state.outbox_discard(position).await?;
            output.done(&format!("message {position} was dropped"))
        }
    }
}

async fn followers(state: &dyn StateManager, output: &Output) -> Result<()> {
    let followers = state.followers().await?;
    if output.is_json() {
        return output.document(
            &followers
                .into_iter()
                .map(FollowerDoc::from)
                .collect::<Vec<_>>(),
        );
    }
    let rows = followers.into_iter().map(|follower| {
        let lost = if follower.lost { "lost" } else { "" };
        [
            follower.name.to_string(),
            follower.lag.to_string(),
            format!("{:.3}", follower.advanced_at),
            lost.to_owned(),
        ]
    });
    output.text(&table(["follower", "lag", "advanced", ""], rows.collect()))
}

async fn parked(state: &dyn StateManager, output: &Output) -> Result<()> {
    let page = state.outbox_parked(0, None).await?;
    if output.is_json() {
        return output.document(
            &page
                .items
                .into_iter()
                .map(OutboxEntryDoc::from)
                .collect::<Vec<_>>(),
        );
    }
    let rows = page.items.into_iter().map(|entry| {
        [
            entry.position.to_string(),
            entry.message.topic.to_string(),
            entry.message.id.to_string(),
            entry.parked.unwrap_or_default(),
        ]
    });
    output.text(&table(
        ["position", "topic", "message", "reason"],
        rows.collect(),
    ))
}
