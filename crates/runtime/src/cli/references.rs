//! `statehouse ref`

use std::path::Path;

use bytes::Bytes;
use statehouse_contracts::{
    Compression, Error, ErrorKind, PageCursor, PutContent, ReferenceId, ReferenceInfo,
    ReferenceKind, ReferenceQuery, ReferenceStore, Result,
};
use statehouse_wire::{CollectedDoc, PutOutcomeDoc, ReferenceInfoDoc, ReferenceStatsDoc};

use super::args::{CompressionArg, RefCommand};
use super::output::table;
use super::{Desk, Output, input};

pub(super) async fn run(command: RefCommand, desk: &Desk, output: &Output) -> Result<()> {
    let references = desk.references().await?;
    let references = &*references;
    match command {
        RefCommand::Put {
            content,
            holder,
            ttl,
            content_type,
            compression,
        } => {
            let bytes = input::content(&content)?;
            let content_type = input::content_type(content_type.as_deref(), &bytes)?;
            let content = PutContent {
                bytes,
                holder,
                kind: ReferenceKind::default(),
                content_type,
                ttl,
                compression: chosen(compression),
                cache: false,
            };
            put(references, content, output).await
        }
        RefCommand::Get { id, range, out } => {
            let bytes = match range {
                Some(range) => references.resolve_range(&id, range).await?,
                None => references.resolve(&id).await?.bytes,
            };
            write(out.as_deref(), &bytes, output)
        }
        RefCommand::Stat { id } => stat(references, &id, output).await,
        RefCommand::List {
            holder,
            limit,
            after,
        } => {
            let query = ReferenceQuery {
                holder,
                limit,
                after: after.map(PageCursor),
                ..ReferenceQuery::default()
            };
            list(references, query, output).await
        }
        RefCommand::Retain {
            id,
            holder,
            expires,
        } => {
            references.retain(&id, &holder, expires).await?;
            output.done(&format!("{holder} holds {id}"))
        }
        RefCommand::Release { id, holder } => {
            let held = references.release(&id, &holder).await?;
            let before = if held {
                "no longer holds"
            } else {
                "did not hold"
            };
            output.done(&format!("{holder} {before} {id}"))
        }
        RefCommand::Delete { id } => {
            if !references.delete(&id).await? {
                return Err(Error::not_found(format!("there is no content {id}")));
            }
            output.done(&format!("deleted {id}"))
        }
        RefCommand::Gc => {
            let gone = references.collect_garbage().await?;
            output.show(&CollectedDoc::from(gone), || {
                format!("removed {} entries, {} bytes", gone.entries, gone.bytes)
            })
        }
        RefCommand::Stats => stats(references, output).await,
    }
}

async fn stat(references: &dyn ReferenceStore, id: &ReferenceId, output: &Output) -> Result<()> {
    let info = references.stat(id).await?;
    if output.is_json() {
        return output.document(&ReferenceInfoDoc::from(info));
    }
    show_infos(vec![info], None, output)
}

async fn list(
    references: &dyn ReferenceStore,
    query: ReferenceQuery,
    output: &Output,
) -> Result<()> {
    let page = references.list(query).await?;
    show_infos(page.items, page.next, output)
}

fn chosen(compression: CompressionArg) -> Compression {
    match compression {
        CompressionArg::Auto => Compression::Auto,
        CompressionArg::None => Compression::None,
        CompressionArg::Gzip => Compression::Gzip,
        CompressionArg::Zstd => Compression::Zstd,
        CompressionArg::Lz4 => Compression::Lz4,
    }
}

async fn put(references: &dyn ReferenceStore, content: PutContent, output: &Output) -> Result<()> {
    let put = references.put(content).await?;
    let before = if put.created { "" } else { " (it was there)" };
    let holder = put
        .holder
        .as_ref()
        .map_or("nobody".to_owned(), ToString::to_string);
    let line = format!(
        "{}  {} bytes, held by {holder}{before}",
        put.reference.id, put.reference.size
    );
    output.show(&PutOutcomeDoc::from(put), || line)
}

fn write(out: Option<&Path>, bytes: &Bytes, output: &Output) -> Result<()> {
    let Some(out) = out else {
        return output.raw(bytes);
    };
    std::fs::write(out, bytes).map_err(|error| {
        Error::new(
            ErrorKind::PermissionDenied,
            format!("{} cannot be written: {error}", out.display()),
        )
    })
}

fn show_infos(infos: Vec<ReferenceInfo>, next: Option<PageCursor>, output: &Output) -> Result<()> {
    let row = |info: &ReferenceInfo| {
        [
            info.reference.id.to_string(),
            info.reference.size.to_string(),
            format!("{} {:?}", info.stored_size, info.compression).to_lowercase(),
            info.holders.to_string(),
            info.expires_at
                .map_or("never".to_owned(), |at| format!("{at:.0}")),
            info.reference.content_type.to_string(),
        ]
    };
    let header = ["id", "bytes", "stored", "holders", "expires", "type"];
    let documents = || infos.iter().cloned().map(ReferenceInfoDoc::from).collect();
    output.page(documents, next, || {
        table(header, infos.iter().map(row).collect())
    })
}

async fn stats(references: &dyn ReferenceStore, output: &Output) -> Result<()> {
    let stats = references.stats().await?;
    output.show(&ReferenceStatsDoc::from(stats), || {
        format!(
            "entries       {}\nheld          {}\nstored bytes  {}\nplain bytes   {}\ncollections   {}\nevictions     {}",
            stats.entries,
            stats.held,
            stats.stored_bytes,
            stats.plain_bytes,
            stats.collections,
            stats.evictions
        )
    })
}
