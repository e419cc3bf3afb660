//! Records that expire.

use std::time::Duration;

use statehouse_contracts::{ErrorKind, RollbackTo, StateManagerExt, Write};

use crate::case::case;
use crate::cases::shelf::{BRIEF, LONG, Shelf, append, delete, key, line, notes, put, put_for};
use crate::{Case, Context, Outcome, ensure, ensure_eq, eventually, expect_kind};

/// The longest sweep that a case waits for.
const SOON: Duration = Duration::from_secs(15);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_record_tells_when_it_expires),
        case!(a_record_is_live_until_it_expires),
        case!(an_expired_record_reads_as_absent),
        case!(an_expired_record_is_not_listed),
        case!(an_expired_record_is_listed_as_its_tombstone_at_once),
        case!(an_expired_record_is_exported_as_its_tombstone_at_once).state(|c| c.import_export),
        case!(the_next_write_writes_the_tombstone_first),
        case!(the_tombstone_is_written_once),
        case!(an_append_to_an_expired_record_begins_anew),
        case!(a_delete_of_an_expired_record_adds_no_version_of_its_own),
        case!(a_check_of_an_expired_record_tells_its_tombstone),
        case!(a_put_without_a_ttl_ends_the_expiry),
        case!(a_put_with_a_ttl_begins_it_anew),
        case!(a_rollback_restores_an_expired_record),
        case!(a_ttl_of_zero_is_refused),
        case!(a_sweep_writes_the_tombstone).state(|c| c.expiry_lag <= SOON),
    ]
}

async fn a_record_tells_when_it_expires(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let applied = shelf.apply([put_for("k", "a", LONG)]).await?;
    let record = shelf.live("k").await?;
    let expires_at = crate::some(record.expires_at, "expires_at")?;
    let lives = expires_at.duration_since(applied.at).unsigned_abs();
    let off = lives.abs_diff(LONG);
    ensure(
        off <= Duration::from_millis(1),
        "expires_at is the time of the commit plus the ttl",
    )
}

async fn a_record_is_live_until_it_expires(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put_for("k", "a", LONG)).await?;
    shelf.reads("k", Some("1 a")).await?;
    ensure_eq(shelf.ids(notes()).await?, ["k"], "what is listed")
}

async fn an_expired_record_reads_as_absent(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([put_for("k", "a", BRIEF), put("l", "b")])
        .await?;
    shelf.until_absent("k").await?;
    let got = shelf.state.get_many(&[key("k"), key("l")]).await?;
    let live: Vec<bool> = got.iter().map(Option::is_some).collect();
    ensure_eq(live, [false, true], "which of both are live")
}

async fn an_expired_record_is_not_listed(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([put_for("k", "a", BRIEF), put("l", "b")])
        .await?;
    shelf.until_absent("k").await?;
    ensure_eq(shelf.ids(notes()).await?, ["l"], "what is listed")
}

async fn an_expired_record_is_listed_as_its_tombstone_at_once(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put_for("k", "a", BRIEF)).await?;
    shelf.until_absent("k").await?;
    let mut query = notes();
    query.tombstones = true;
    let page = shelf.state.list(query).await?;
    let listed: Vec<String> = page.items.iter().map(line).collect();
    ensure_eq(listed, ["2 expired"], "what is listed")
}

async fn an_expired_record_is_exported_as_its_tombstone_at_once(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put_for("k", "a", BRIEF)).await?;
    shelf.until_absent("k").await?;
    let page = shelf.state.export(0, None).await?;
    let exported: Vec<String> = page.items.iter().map(line).collect();
    ensure_eq(exported, ["2 expired"], "what is exported")
}

async fn the_next_write_writes_the_tombstone_first(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let head = shelf.state.head().await?;
    shelf.write(put_for("k", "old", BRIEF)).await?;
    shelf.until_absent("k").await?;
    ensure_eq(
        shelf.write(put("k", "new")).await?,
        3,
        "the version after an expiry",
    )?;
    shelf
        .story_is("k", &["3 new", "2 expired", "1 old"])
        .await?;
    shelf
        .changes_are(&head, &["put k 1", "expire k 2", "put k 3"])
        .await
}

async fn the_tombstone_is_written_once(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put_for("k", "a", BRIEF)).await?;
    shelf.until_absent("k").await?;
    let racers = (0..8).map(|n| {
        let shelf = shelf.clone();
        tokio::spawn(async move { shelf.write(append("k", &n.to_string())).await })
    });
    for racer in futures::future::join_all(racers).await {
        racer.map_err(|error| crate::Failure::new(error.to_string()))??;
    }
    let history = shelf.history("k").await?;
    let tombstones = history
        .iter()
        .filter(|record| record.tombstone.is_some())
        .count();
    ensure_eq(
        (history.len(), tombstones),
        (10, 1),
        "versions and tombstones",
    )
}

async fn an_append_to_an_expired_record_begins_anew(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put_for("k", "old", BRIEF)).await?;
    shelf.until_absent("k").await?;
    shelf.write(append("k", "new")).await?;
    shelf
        .story_is("k", &["3 new", "2 expired", "1 old"])
        .await?;
    ensure_eq(
        shelf.live("k").await?.expires_at,
        None,
        "expires_at of what begins anew",
    )
}

async fn a_delete_of_an_expired_record_adds_no_version_of_its_own(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put_for("k", "a", BRIEF)).await?;
    shelf.until_absent("k").await?;
    ensure_eq(
        shelf.write(delete("k")).await?,
        2,
        "the version that a delete answers",
    )?;
    shelf.story_is("k", &["2 expired", "1 a"]).await
}

async fn a_check_of_an_expired_record_tells_its_tombstone(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put_for("k", "a", BRIEF)).await?;
    shelf.until_absent("k").await?;
    let check = Write::check(key("k"), statehouse_contracts::Precondition::Absent);
    ensure_eq(
        shelf.write(check).await?,
        2,
        "the version that a check answers",
    )
}

async fn a_put_without_a_ttl_ends_the_expiry(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([
            put_for("k", "a", BRIEF),
            put_for("clock", "a", BRIEF),
            put("k", "b"),
        ])
        .await?;
    shelf.until_absent("clock").await?;
    let record = shelf.live("k").await?;
    ensure_eq(
        (&record.data[..], record.expires_at),
        (&b"b"[..], None),
        "content and expires_at",
    )
}

async fn a_put_with_a_ttl_begins_it_anew(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let writes = [
        put_for("k", "a", BRIEF),
        put_for("clock", "a", BRIEF),
        put_for("k", "b", LONG),
    ];
    shelf.write_all(writes).await?;
    shelf.until_absent("clock").await?;
    ensure_eq(&shelf.live("k").await?.data[..], b"b", "the content")
}

async fn a_rollback_restores_an_expired_record(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put_for("k", "a", BRIEF)).await?;
    shelf.until_absent("k").await?;
    shelf
        .write(Write::rollback(key("k"), RollbackTo::Previous))
        .await?;
    shelf.story_is("k", &["3 a", "2 expired", "1 a"]).await?;
    ensure_eq(
        shelf.live("k").await?.expires_at,
        None,
        "expires_at of what was restored",
    )
}

async fn a_ttl_of_zero_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let write = put_for("k", "a", Duration::ZERO);
    expect_kind(shelf.state.write(write).await, ErrorKind::InvalidArgument)?;
    shelf.story_is("k", &[]).await
}

async fn a_sweep_writes_the_tombstone(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let head = shelf.state.head().await?;
    shelf.write(put_for("k", "a", BRIEF)).await?;
    let lag = shelf.state.capability().expiry_lag;
    eventually(BRIEF + lag + shelf.patience, "the tombstone", || async {
        Ok((shelf.history("k").await?.len() == 2).then_some(()))
    })
    .await?;
    shelf.story_is("k", &["2 expired", "1 a"]).await?;
    shelf.changes_are(&head, &["put k 1", "expire k 2"]).await?;
    let mut query = notes();
    query.tombstones = true;
    ensure_eq(
        shelf.ids(query).await?,
        ["k"],
        "what is listed with tombstones",
    )
}
