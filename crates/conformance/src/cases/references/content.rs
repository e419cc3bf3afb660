//! What is stored, and how.

use statehouse_contracts::{
    Compression, ContentType, ErrorKind, PutContent, ReferenceId, ReferenceInfo, ReferenceKind,
};

use super::{Shelf, held, holder, noise, raw};
use crate::case::case;
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind, expect_limit};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(an_id_is_the_hash_of_the_plain_content),
        case!(content_comes_back_unchanged),
        case!(content_of_the_largest_size_comes_back).references(|c| c.max_content <= 64 << 20),
        case!(larger_content_names_the_limit).references(|c| c.max_content <= 64 << 20),
        case!(empty_content_is_refused),
        case!(unknown_content_is_not_found),
        case!(kind_and_content_type_come_back),
        case!(every_kind_is_kept),
        case!(equal_content_shares_one_entry),
        case!(the_options_of_the_first_put_stand),
        case!(content_can_be_stored_as_it_is),
        case!(gzip_is_honoured).references(|c| c.gzip),
        case!(zstd_is_honoured).references(|c| c.zstd),
        case!(lz4_is_honoured).references(|c| c.lz4),
        case!(gzip_is_refused).references(|c| !c.gzip),
        case!(zstd_is_refused).references(|c| !c.zstd),
        case!(lz4_is_refused).references(|c| !c.lz4),
        case!(auto_compresses_from_1024_bytes).references(|c| c.zstd),
        case!(auto_leaves_what_would_not_get_smaller),
        case!(deleting_removes_content_whoever_holds_it),
    ]
}

async fn an_id_is_the_hash_of_the_plain_content(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let text = "compressible ".repeat(500);
    let reference = shelf.put(PutContent::new(text.clone())).await?;
    ensure_eq(reference.id, ReferenceId::of(text.as_bytes()), "the id")?;
    ensure_eq(reference.size, text.len() as u64, "the size")
}

async fn content_comes_back_unchanged(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    for length in [1, 1_023, 1_024, 65_536, 65_537, 300_000] {
        let bytes = noise(1, length);
        let id = shelf.put(PutContent::new(bytes.clone())).await?.id;
        let content = shelf.store.resolve(&id).await?;
        ensure(
            content.bytes == bytes,
            &format!("{length} bytes come back unchanged"),
        )?;
        ensure_eq(
            &content.info,
            &shelf.store.stat(&id).await?,
            "what resolve and stat say",
        )?;
    }
    Ok(())
}

async fn content_of_the_largest_size_comes_back(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let bytes = vec![b'x'; shelf.store.capability().max_content];
    let id = shelf.put(PutContent::new(bytes.clone())).await?.id;
    ensure(
        shelf.store.resolve(&id).await?.bytes == bytes,
        "it comes back unchanged",
    )
}

async fn larger_content_names_the_limit(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let bytes = vec![b'x'; shelf.store.capability().max_content + 1];
    expect_limit(shelf.store.put(PutContent::new(bytes)).await, "max_content")
}

async fn empty_content_is_refused(cx: Context) -> Outcome {
    let put = cx.references().await?.put(PutContent::new("")).await;
    expect_kind(put, ErrorKind::InvalidArgument).map(|_| ())
}

async fn unknown_content_is_not_found(cx: Context) -> Outcome {
    let store = cx.references().await?;
    let id = ReferenceId::of(b"unknown");
    expect_kind(store.resolve(&id).await, ErrorKind::NotFound)?;
    expect_kind(store.resolve_range(&id, 0..1).await, ErrorKind::NotFound)?;
    expect_kind(store.stat(&id).await, ErrorKind::NotFound)?;
    expect_kind(store.touch(&id, None).await, ErrorKind::NotFound)?;
    ensure(!store.delete(&id).await?, "unknown content was not there")
}

async fn kind_and_content_type_come_back(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let content = PutContent {
        kind: ReferenceKind::ToolResult,
        content_type: ContentType::JSON,
        ..held("{}", "h")
    };
    let reference = shelf.put(content).await?;
    ensure_eq(
        &reference.content_type,
        &ContentType::JSON,
        "the content type of the reference",
    )?;
    let info = shelf.store.stat(&reference.id).await?;
    ensure_eq(info.reference, reference, "the reference")?;
    ensure_eq(info.kind, ReferenceKind::ToolResult, "the kind")
}

async fn every_kind_is_kept(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    for kind in [
        ReferenceKind::SessionState,
        ReferenceKind::WorkflowContext,
        ReferenceKind::CollaborationState,
        ReferenceKind::LargePayload,
        ReferenceKind::PatternData,
        ReferenceKind::ToolResult,
        ReferenceKind::ObservabilityTrace,
    ] {
        let id = shelf
            .put(PutContent {
                kind,
                ..PutContent::new(format!("{kind:?}"))
            })
            .await?
            .id;
        ensure_eq(shelf.store.stat(&id).await?.kind, kind, "the kind")?;
    }
    Ok(())
}

async fn equal_content_shares_one_entry(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let first = shelf.store.put(held("a", "h")).await?;
    let second = shelf.store.put(held("a", "i")).await?;
    ensure_eq(
        (first.created, second.created),
        (true, false),
        "which put made it",
    )?;
    ensure_eq(&first.reference, &second.reference, "the references")?;
    let stats = shelf.store.stats().await?;
    ensure_eq(
        (stats.entries, stats.plain_bytes),
        (1, 1),
        "entries and bytes",
    )
}

async fn the_options_of_the_first_put_stand(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let first = PutContent {
        kind: ReferenceKind::SessionState,
        content_type: ContentType::TEXT,
        compression: Compression::None,
        ..held("a", "h")
    };
    let put = shelf.put(first).await?;
    let before = shelf.store.stat(&put.id).await?;
    let second = PutContent {
        kind: ReferenceKind::ToolResult,
        content_type: ContentType::JSON,
        ..held("a", "i")
    };
    let again = shelf.store.put(second).await?;
    ensure_eq(
        again.reference.content_type,
        ContentType::TEXT,
        "the content type",
    )?;
    let after = shelf.store.stat(&put.id).await?;
    ensure_eq(
        after,
        ReferenceInfo {
            holders: 2,
            ..before
        },
        "what is known of it",
    )
}

/// Puts text that compresses well; answers what is known of it.
async fn compressed(cx: &Context, compression: Compression) -> Result<ReferenceInfo, Failure> {
    let shelf = Shelf::new(cx).await?;
    let text = "compressible ".repeat(20_000);
    let id = shelf
        .put(PutContent {
            compression,
            ..PutContent::new(text.clone())
        })
        .await?
        .id;
    ensure(
        shelf.store.resolve(&id).await?.bytes == text,
        "it comes back unchanged",
    )?;
    Ok(shelf.store.stat(&id).await?)
}

async fn content_can_be_stored_as_it_is(cx: Context) -> Outcome {
    let info = compressed(&cx, Compression::None).await?;
    ensure_eq(info.compression, Compression::None, "how it is stored")?;
    ensure_eq(info.stored_size, info.reference.size, "the stored size")
}

async fn is_honoured(cx: &Context, compression: Compression) -> Outcome {
    let info = compressed(cx, compression).await?;
    ensure_eq(info.compression, compression, "how it is stored")?;
    ensure(
        info.stored_size < info.reference.size / 4,
        "it is stored much smaller",
    )?;
    // Set is set, also where it does not pay.
    let shelf = Shelf::new(cx).await?;
    let id = shelf
        .put(PutContent {
            compression,
            ..PutContent::new("small")
        })
        .await?
        .id;
    ensure_eq(
        shelf.store.stat(&id).await?.compression,
        compression,
        "how small content is stored",
    )?;
    ensure_eq(
        &shelf.store.resolve(&id).await?.bytes[..],
        b"small",
        "small content",
    )
}

async fn gzip_is_honoured(cx: Context) -> Outcome {
    is_honoured(&cx, Compression::Gzip).await
}

async fn zstd_is_honoured(cx: Context) -> Outcome {
    is_honoured(&cx, Compression::Zstd).await
}

async fn lz4_is_honoured(cx: Context) -> Outcome {
    is_honoured(&cx, Compression::Lz4).await
}

async fn is_refused(cx: &Context, compression: Compression) -> Outcome {
    let store = cx.references().await?;
    let put = store
        .put(PutContent {
            compression,
            ..PutContent::new("a")
        })
        .await;
    expect_kind(put, ErrorKind::Unsupported).map(|_| ())
}

async fn gzip_is_refused(cx: Context) -> Outcome {
    is_refused(&cx, Compression::Gzip).await
}

async fn zstd_is_refused(cx: Context) -> Outcome {
    is_refused(&cx, Compression::Zstd).await
}

async fn lz4_is_refused(cx: Context) -> Outcome {
    is_refused(&cx, Compression::Lz4).await
}

async fn auto_compresses_from_1024_bytes(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    for (length, expected) in [(1_023, Compression::None), (1_024, Compression::Zstd)] {
        let id = shelf.put(PutContent::new("x".repeat(length))).await?.id;
        let info = shelf.store.stat(&id).await?;
        ensure_eq(
            info.compression,
            expected,
            &format!("how {length} bytes are stored"),
        )?;
        ensure(
            (info.stored_size < length as u64) == (expected == Compression::Zstd),
            "its size",
        )?;
    }
    Ok(())
}

async fn auto_leaves_what_would_not_get_smaller(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(PutContent::new(noise(2, 5_000))).await?.id;
    let info = shelf.store.stat(&id).await?;
    ensure_eq(
        (info.compression, info.stored_size),
        (Compression::None, 5_000),
        "how it is stored",
    )
}

async fn deleting_removes_content_whoever_holds_it(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(raw(3, 100).held_by(holder("h"))).await?.id;
    ensure(shelf.store.delete(&id).await?, "it was there")?;
    expect_kind(shelf.store.resolve(&id).await, ErrorKind::NotFound)?;
    ensure(!shelf.store.delete(&id).await?, "it is not there any more")?;
    let again = shelf.store.put(raw(3, 100).held_by(holder("i"))).await?;
    ensure(again.created, "a put makes it anew")?;
    ensure_eq(
        shelf.holders(&id).await?,
        1,
        "the holders, without those of the deleted entry",
    )
}
