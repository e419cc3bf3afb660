//! `statehouse shared`

use std::time::Duration;

use statehouse_contracts::{Error, PageCursor, Result};
use statehouse_messaging::{PutShared, SharedEvent, SharedMemory, SharedScope};
use statehouse_service::http::{shared_document, shared_gone, shared_numbers};
use statehouse_wire::{SharedStatsDoc, SharedWrittenDoc};

use super::args::{SharedCommand, SharedWatchArgs};
use super::output::{preview, table};
use super::{Desk, Output, input};

pub(super) async fn run(command: SharedCommand, desk: &Desk, output: &Output) -> Result<()> {
    let memory = desk.shared().await?;
    match command {
        SharedCommand::Get { name, raw } => {
            let key = memory.key(&name.scope, &name.key)?;
            let Some(value) = memory.get(&key).await? else {
                let text = format!("there is no value {} in {}", name.key, name.scope);
                return Err(Error::not_found(text));
            };
            if raw {
                return output.raw(&value.value);
            }
            let shown = || preview(&value.value, &value.content_type, usize::MAX);
            output.show(&shared_document(&name.key, &value), shown)
        }
        SharedCommand::Put { .. } => put(command, &memory, desk, output).await,
        SharedCommand::Delete { name, when } => {
            let key = memory.key(&name.scope, &name.key)?;
            if !memory.delete(&key, input::precondition(when)).await? {
                let text = format!("there is no value {} in {}", name.key, name.scope);
                return Err(Error::not_found(text));
            }
            output.done(&format!("deleted {} in {}", name.key, name.scope))
        }
        SharedCommand::List {
            scope,
            pattern,
            limit,
            after,
        } => list(&memory, &scope, &pattern, limit, after, output).await,
        SharedCommand::Watch(command) => watch(command, &memory, output).await,
        SharedCommand::Clear { scope } => {
            let many = memory.clear(&scope).await?;
            output.done(&format!("deleted {many} values of {scope}"))
        }
        SharedCommand::Stats { scope } => {
            let stats: SharedStatsDoc = shared_numbers(memory.stats(&scope).await?);
            output.show(&stats, || {
                format!("{} values, {} bytes", stats.keys, stats.stored_bytes)
            })
        }
    }
}

async fn put(
    command: SharedCommand,
    memory: &SharedMemory,
    desk: &Desk,
    output: &Output,
) -> Result<()> {
    let SharedCommand::Put {
        name,
        value,
        when,
        ttl,
        content_type,
    } = command
    else {
        return Err(Error::internal("not a put"));
    };
    let value = input::content(&value)?;
    let rules = desk.shared_rules();
    rules.check(value.len())?;
    let put = PutShared {
        content_type: input::content_type(content_type.as_deref(), &value)?,
        precondition: input::precondition(when),
        ttl: ttl.or(rules.ttl),
        ..PutShared::new(value)
    };
    let written = memory
        .put(&memory.key(&name.scope, &name.key)?, put)
        .await?;
    let document = SharedWrittenDoc {
        version: written.version,
        checksum: written.checksum,
        stored_size: written.stored_size,
    };
    output.show(&document, || {
        format!(
            "{} in {} is at version {}",
            name.key, name.scope, written.version
        )
    })
}

async fn list(
    memory: &SharedMemory,
    scope: &SharedScope,
    pattern: &str,
    limit: usize,
    after: Option<String>,
    output: &Output,
) -> Result<()> {
    let page = memory
        .list(scope, pattern, limit, after.map(PageCursor))
        .await?;
    let values = &page.items;
    let documents = || {
        let documents = values
            .iter()
            .map(|(key, value)| shared_document(key.name(), value));
        documents.collect()
    };
    output.page(documents, page.next, || {
        let rows = values.iter().map(|(key, value)| {
            [
                key.name().to_owned(),
                value.version.to_string(),
                format!("{:.3}", value.updated_at),
                value.updated_by.to_string(),
                preview(&value.value, &value.content_type, 60),
            ]
        });
        table(["key", "version", "updated", "by", "value"], rows.collect())
    })
}

/// Prints what happens until so much has, nothing does for a while, or for ever.
async fn watch(command: SharedWatchArgs, memory: &SharedMemory, output: &Output) -> Result<()> {
    let SharedWatchArgs {
        scope,
        pattern,
        initial,
        count,
        idle,
    } = command;
    let mut watch = memory.watch(&scope, &pattern, initial).await?;
    let mut seen = 0;
    while count.is_none_or(|count| seen < count) {
        match watch.next(idle.unwrap_or(Duration::from_secs(30))).await? {
            Some(event) => show(&event, output)?,
            None if idle.is_some() => return Ok(()),
            None => continue,
        }
        seen += 1;
    }
    Ok(())
}

fn show(event: &SharedEvent, output: &Output) -> Result<()> {
    match event {
        SharedEvent::Put { key, value } => output.show(&shared_document(key.name(), value), || {
            let shown = preview(&value.value, &value.content_type, usize::MAX);
            let (at, version) = (value.updated_at, value.version);
            format!("{at:.3}  {}  version {version}  {shown}", key.name())
        }),
        SharedEvent::Gone {
            key,
            version,
            expired,
        } => output.show(&shared_gone(key.name(), *version, *expired), || {
            let why = if *expired { "expired" } else { "deleted" };
            format!("{}  version {version}  ({why})", key.name())
        }),
    }
}
