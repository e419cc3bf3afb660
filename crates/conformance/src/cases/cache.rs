//! A cache of records that processes share.

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    ContentType, ErrorKind, Record, RecordCache, StateKey, Timestamp, Version,
};

use crate::case::case;
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    let cached = vec![
        case!(what_was_filled_in_is_found),
        case!(another_process_finds_it).reopens(),
        case!(an_older_record_does_not_replace_a_newer_one),
        case!(a_version_that_was_heard_removes_what_is_older),
        case!(a_version_that_was_heard_leaves_what_is_as_new),
        case!(a_fill_from_before_a_version_was_heard_is_not_kept),
        case!(after_a_flush_nothing_is_found),
        case!(a_fill_from_before_a_flush_is_not_kept),
        case!(a_record_is_kept_for_its_ttl),
        case!(a_cache_is_of_its_namespace_only),
    ];
    let mut cases: Vec<Case> = cached.into_iter().map(Case::cache).collect();
    cases.push(case!(a_cache_is_refused).no_cache());
    cases
}

const TTL: Duration = Duration::from_secs(60);

async fn open(cx: &Context) -> Result<Arc<dyn RecordCache>, Failure> {
    Ok(cx.backend().await?.cache(cx.scope()).await?)
}

fn key() -> Result<StateKey, Failure> {
    Ok(StateKey::parse("task", "a/{b} ü")?)
}

fn record(cx: &Context, version: Version) -> Result<Record, Failure> {
    let by = &cx.scope().principal;
    Ok(Record {
        key: key()?,
        version,
        data: bytes::Bytes::from(vec![0, 159, version as u8]),
        content_type: ContentType::BYTES,
        schema: Some("urn:schema".to_owned()),
        created_at: Timestamp::UNIX_EPOCH,
        created_by: by.clone(),
        updated_at: Timestamp::UNIX_EPOCH,
        updated_by: by.clone(),
        expires_at: Some(Timestamp::MAX),
        tombstone: None,
    })
}

/// Looks, then fills this version in; answers whether it was kept.
async fn fill(cx: &Context, cache: &dyn RecordCache, version: Version) -> Result<bool, Failure> {
    let ticket = cache.look(&key()?).await?.ticket;
    Ok(cache.fill(&ticket, &record(cx, version)?, TTL).await?)
}

async fn finds(cache: &dyn RecordCache, expected: Option<Version>) -> Outcome {
    let found = cache.look(&key()?).await?.record;
    let version = found.map(|record| record.version);
    ensure_eq(version, expected, "the version that is found")
}

async fn what_was_filled_in_is_found(cx: Context) -> Outcome {
    let cache = open(&cx).await?;
    finds(&*cache, None).await?;
    ensure(fill(&cx, &*cache, 7).await?, "it is kept")?;
    let found = cache.look(&key()?).await?.record;
    ensure_eq(found, Some(record(&cx, 7)?), "the record")
}

async fn another_process_finds_it(cx: Context) -> Outcome {
    fill(&cx, &*open(&cx).await?, 3).await?;
    let other = cx.fresh().await?;
    finds(&*other.backend().cache(cx.scope()).await?, Some(3)).await
}

async fn an_older_record_does_not_replace_a_newer_one(cx: Context) -> Outcome {
    let cache = open(&cx).await?;
    fill(&cx, &*cache, 10).await?;
    ensure(!fill(&cx, &*cache, 9).await?, "the older one is not kept")?;
    finds(&*cache, Some(10)).await?;
    ensure(fill(&cx, &*cache, 11).await?, "the newer one is kept")?;
    finds(&*cache, Some(11)).await
}

async fn a_version_that_was_heard_removes_what_is_older(cx: Context) -> Outcome {
    let cache = open(&cx).await?;
    fill(&cx, &*cache, 9).await?;
    cache.heard(&[(key()?, 10)], TTL).await?;
    finds(&*cache, None).await?;
    ensure(fill(&cx, &*cache, 10).await?, "that version is kept")?;
    finds(&*cache, Some(10)).await
}

async fn a_version_that_was_heard_leaves_what_is_as_new(cx: Context) -> Outcome {
    let cache = open(&cx).await?;
    fill(&cx, &*cache, 10).await?;
    let other = StateKey::parse("task", "other")?;
    cache
        .heard(&[(other, 99), (key()?, 10), (key()?, 9)], TTL)
        .await?;
    finds(&*cache, Some(10)).await
}

async fn a_fill_from_before_a_version_was_heard_is_not_kept(cx: Context) -> Outcome {
    let cache = open(&cx).await?;
    let ticket = cache.look(&key()?).await?.ticket;
    cache.heard(&[(key()?, 2)], TTL).await?;
    let kept = cache.fill(&ticket, &record(&cx, 1)?, TTL).await?;
    ensure(!kept, "the stale record is not kept")?;
    finds(&*cache, None).await
}

async fn after_a_flush_nothing_is_found(cx: Context) -> Outcome {
    let cache = open(&cx).await?;
    fill(&cx, &*cache, 5).await?;
    cache.flush().await?;
    finds(&*cache, None).await?;
    ensure(fill(&cx, &*cache, 4).await?, "what is read anew is kept")?;
    finds(&*cache, Some(4)).await
}

async fn a_fill_from_before_a_flush_is_not_kept(cx: Context) -> Outcome {
    let cache = open(&cx).await?;
    let ticket = cache.look(&key()?).await?.ticket;
    cache.flush().await?;
    let kept = cache.fill(&ticket, &record(&cx, 1)?, TTL).await?;
    ensure(!kept, "the stale record is not kept")?;
    finds(&*cache, None).await
}

async fn a_record_is_kept_for_its_ttl(cx: Context) -> Outcome {
    let cache = open(&cx).await?;
    let ticket = cache.look(&key()?).await?.ticket;
    let brief = Duration::from_millis(100);
    cache.fill(&ticket, &record(&cx, 1)?, brief).await?;
    // sleep: the ttl must be over
    tokio::time::sleep(brief * 2).await;
    finds(&*cache, None).await
}

async fn a_cache_is_of_its_namespace_only(cx: Context) -> Outcome {
    let cache = open(&cx).await?;
    fill(&cx, &*cache, 5).await?;
    let there = cx.backend().await?.cache(&cx.other_scope()?).await?;
    finds(&*there, None).await?;
    there.flush().await?;
    finds(&*cache, Some(5)).await
}

async fn a_cache_is_refused(cx: Context) -> Outcome {
    let cache = cx.backend().await?.cache(cx.scope()).await;
    expect_kind(cache.map(|_| ()), ErrorKind::Unsupported).map(|_| ())
}
