//! Parts of content, and damage.

use statehouse_contracts::{Compression, ErrorKind, PutContent};

use super::{Shelf, held, holder, noise, raw};
use crate::case::case;
use crate::{Case, Context, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_range_is_that_part_of_the_content),
        case!(a_range_of_compressed_content_is_of_the_plain_bytes),
        case!(a_range_beyond_the_end_is_cut),
        case!(an_empty_range_is_empty),
        case!(a_range_that_starts_beyond_the_end_is_refused),
        case!(a_range_that_ends_before_its_start_is_refused),
        case!(damaged_content_is_corrupted).damages(),
        case!(a_range_of_damaged_content_is_corrupted).damages(),
        case!(damage_outside_a_range_does_not_matter)
            .damages()
            .references(|c| c.ranges),
    ]
}

const SIZE: usize = 200_000;

/// Ranges around the ends and around likely borders of chunks.
const RANGES: [(u64, u64); 10] = [
    (0, 1),
    (0, 200_000),
    (199_999, 200_000),
    (65_535, 65_537),
    (65_536, 131_072),
    (1, 199_999),
    (100_000, 100_001),
    (131_071, 131_073),
    (16_383, 16_385),
    (150_000, 200_000),
];

async fn ranges_fit(shelf: &Shelf, bytes: Vec<u8>, compression: Compression) -> Outcome {
    let id = shelf
        .put(PutContent {
            compression,
            ..PutContent::new(bytes.clone())
        })
        .await?
        .id;
    for (from, to) in RANGES {
        let part = shelf.store.resolve_range(&id, from..to).await?;
        let expected = &bytes[from as usize..to as usize];
        ensure(
            part == expected,
            &format!("the bytes {from}..{to} of {compression:?}"),
        )?;
    }
    Ok(())
}

async fn a_range_is_that_part_of_the_content(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    ranges_fit(&shelf, noise(1, SIZE), Compression::None).await
}

async fn a_range_of_compressed_content_is_of_the_plain_bytes(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let can = shelf.store.capability();
    let supported = [
        (true, Compression::Auto),
        (can.gzip, Compression::Gzip),
        (can.zstd, Compression::Zstd),
        (can.lz4, Compression::Lz4),
    ];
    for (n, (_, compression)) in supported
        .into_iter()
        .enumerate()
        .filter(|(_, (can, _))| *can)
    {
        // Other content each time, or the first one's compression would stand.
        let text = format!("{n} compresses well, line by line\n").repeat(SIZE / 16);
        ranges_fit(&shelf, text.into_bytes()[..SIZE].to_vec(), compression).await?;
    }
    Ok(())
}

async fn a_range_beyond_the_end_is_cut(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("0123456789", "h")).await?.id;
    ensure_eq(
        &shelf.store.resolve_range(&id, 8..100).await?[..],
        b"89",
        "what is there",
    )?;
    ensure_eq(
        &shelf.store.resolve_range(&id, 0..u64::MAX).await?[..],
        b"0123456789",
        "all",
    )
}

async fn an_empty_range_is_empty(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("0123456789", "h")).await?.id;
    for at in [0, 5, 10] {
        ensure_eq(
            shelf.store.resolve_range(&id, at..at).await?.len(),
            0,
            "its length",
        )?;
    }
    Ok(())
}

async fn a_range_that_starts_beyond_the_end_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("0123456789", "h")).await?.id;
    for start in [11, u64::MAX - 1] {
        let part = shelf.store.resolve_range(&id, start..u64::MAX).await;
        expect_kind(part, ErrorKind::InvalidArgument)?;
    }
    Ok(())
}

#[expect(
    clippy::reversed_empty_ranges,
    reason = "the reversed range is what is refused"
)]
async fn a_range_that_ends_before_its_start_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let id = shelf.put(held("0123456789", "h")).await?.id;
    let part = shelf.store.resolve_range(&id, 5..4).await;
    expect_kind(part, ErrorKind::InvalidArgument).map(|_| ())
}

/// Puts content into a backend of one's own, and changes its byte at `at`.
async fn damaged(cx: &Context, at: u64) -> Result<Shelf, crate::Failure> {
    let instance = cx.fresh().await?;
    let store = instance.backend().references(cx.scope()).await?;
    let shelf = Shelf {
        store,
        patience: cx.timing().patience,
    };
    let id = shelf.put(content()).await?.id;
    instance.damage(&cx.scope().namespace, id, at).await?;
    Ok(shelf)
}

fn content() -> PutContent {
    raw(9, SIZE).held_by(holder("h"))
}

fn id() -> statehouse_contracts::ReferenceId {
    statehouse_contracts::ReferenceId::of(&content().bytes)
}

async fn damaged_content_is_corrupted(cx: Context) -> Outcome {
    let shelf = damaged(&cx, 100_000).await?;
    let resolved = shelf.store.resolve(&id()).await;
    expect_kind(
        resolved.map(|content| content.bytes.len()),
        ErrorKind::Corrupted,
    )
    .map(|_| ())
}

async fn a_range_of_damaged_content_is_corrupted(cx: Context) -> Outcome {
    let shelf = damaged(&cx, 100_000).await?;
    for range in [100_000..100_001, 99_990..100_010, 0..SIZE as u64] {
        let part = shelf.store.resolve_range(&id(), range).await;
        expect_kind(part.map(|part| part.len()), ErrorKind::Corrupted)?;
    }
    Ok(())
}

async fn damage_outside_a_range_does_not_matter(cx: Context) -> Outcome {
    let shelf = damaged(&cx, SIZE as u64 - 1).await?;
    let part = shelf.store.resolve_range(&id(), 0..10).await?;
    ensure(
        part == content().bytes[..10],
        "the bytes far from the damage",
    )
}
