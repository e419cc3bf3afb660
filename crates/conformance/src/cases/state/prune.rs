//! Forgetting versions, and keys.

use std::time::Duration;

use statehouse_contracts::{ErrorKind, Prune, StateManagerExt};

use crate::case::case;
use crate::cases::shelf::{Shelf, append, delete, key, key_of, put};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind, fail};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_prune_of_nothing_forgets_nothing),
        case!(keep_last_keeps_the_newest_versions),
        case!(keep_last_of_zero_is_refused),
        case!(max_age_keeps_what_was_superseded_since),
        case!(a_version_goes_by_either_bound),
        case!(the_latest_live_version_stays_below_a_tombstone),
        case!(a_prune_may_be_of_one_kind),
        case!(a_prune_may_be_of_one_key),
        case!(a_pruned_version_reads_as_pruned),
        case!(versions_go_on_after_a_prune),
        case!(kept_appends_read_back_whole),
        case!(appends_go_on_after_a_prune),
        case!(without_a_bound_tombstones_stay),
        case!(a_forgotten_key_is_unknown),
        case!(a_young_tombstone_is_not_forgotten),
        case!(live_keys_are_not_forgotten),
        case!(versions_never_come_twice_after_a_key_is_forgotten),
        case!(new_keys_start_above_the_floor),
        case!(a_prune_is_of_its_namespace_only),
    ]
}

fn keep(keep_last: u64) -> Prune {
    Prune {
        keep_last: Some(keep_last),
        ..Prune::default()
    }
}

fn tombstones() -> Prune {
    Prune {
        tombstones: Some(Duration::ZERO),
        ..Prune::default()
    }
}

fn puts(id: &str, texts: &[&str]) -> Vec<statehouse_contracts::Write> {
    texts.iter().map(|text| put(id, text)).collect()
}

/// Prunes; answers how many versions and keys went.
async fn prune(shelf: &Shelf, prune: Prune) -> Result<(u64, u64), Failure> {
    let pruned = shelf.state.prune(prune).await?;
    Ok((pruned.versions, pruned.keys))
}

async fn a_prune_of_nothing_forgets_nothing(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all(puts("k", &["a", "b"])).await?;
    shelf.write_all([put("l", "a"), delete("l")]).await?;
    ensure_eq(prune(&shelf, Prune::default()).await?, (0, 0), "what went")?;
    shelf.story_is("k", &["2 b", "1 a"]).await?;
    shelf.story_is("l", &["2 deleted", "1 a"]).await
}

async fn keep_last_keeps_the_newest_versions(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all(puts("k", &["a", "b", "c", "d", "e"]))
        .await?;
    shelf.write(put("l", "a")).await?;
    let newest = shelf.history("k").await?[..2].to_vec();
    ensure_eq(prune(&shelf, keep(2)).await?, (3, 0), "what went")?;
    ensure_eq(shelf.history("k").await?, newest, "what is kept, as it was")?;
    shelf.story_is("l", &["1 a"]).await?;
    ensure_eq(
        prune(&shelf, keep(2)).await?,
        (0, 0),
        "what went the second time",
    )?;
    ensure_eq(prune(&shelf, keep(1)).await?, (1, 0), "what went then")?;
    shelf.reads("k", Some("5 e")).await
}

async fn keep_last_of_zero_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all(puts("k", &["a", "b"])).await?;
    expect_kind(shelf.state.prune(keep(0)).await, ErrorKind::InvalidArgument)?;
    shelf.story_is("k", &["2 b", "1 a"]).await
}

async fn max_age_keeps_what_was_superseded_since(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all(puts("k", &["a", "b", "c"])).await?;
    let age = |max_age| Prune {
        max_age: Some(max_age),
        ..Prune::default()
    };
    ensure_eq(
        prune(&shelf, age(Duration::from_secs(3600))).await?,
        (0, 0),
        "what went",
    )?;
    // The current version is not superseded, however old it is.
    // sleep: the versions must have been superseded for longer than the age given
    tokio::time::sleep(Duration::from_millis(5)).await;
    ensure_eq(
        prune(&shelf, age(Duration::from_millis(1))).await?,
        (2, 0),
        "what went",
    )?;
    shelf.story_is("k", &["3 c"]).await
}

async fn a_version_goes_by_either_bound(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all(puts("k", &["a", "b", "c"])).await?;
    let either = Prune {
        max_age: Some(Duration::from_secs(3600)),
        ..keep(2)
    };
    ensure_eq(prune(&shelf, either).await?, (1, 0), "what went")?;
    shelf.story_is("k", &["3 c", "2 b"]).await
}

async fn the_latest_live_version_stays_below_a_tombstone(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all(puts("k", &["a", "b", "c"])).await?;
    shelf.write(delete("k")).await?;
    ensure_eq(prune(&shelf, keep(1)).await?, (2, 0), "what went")?;
    shelf.story_is("k", &["4 deleted", "3 c"]).await
}

async fn a_prune_may_be_of_one_kind(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all(puts("k", &["a", "b"])).await?;
    let other = key_of("other", "k");
    for text in ["a", "b"] {
        shelf
            .state
            .put(&other, text.into(), Default::default(), Default::default())
            .await?;
    }
    let of_kind = Prune {
        kind: Some(other.kind.clone()),
        ..keep(1)
    };
    ensure_eq(prune(&shelf, of_kind).await?, (1, 0), "what went")?;
    shelf.story_is("k", &["2 b", "1 a"]).await?;
    expect_kind(shelf.state.read_version(&other, 1).await, ErrorKind::Pruned).map(|_| ())
}

async fn a_prune_may_be_of_one_key(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all(puts("k", &["a", "b"])).await?;
    shelf.write_all(puts("ka", &["a", "b"])).await?;
    let of_key = Prune {
        key: Some(key("k")),
        ..keep(1)
    };
    ensure_eq(prune(&shelf, of_key).await?, (1, 0), "what went")?;
    shelf.story_is("k", &["2 b"]).await?;
    shelf.story_is("ka", &["2 b", "1 a"]).await
}

async fn a_pruned_version_reads_as_pruned(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all(puts("k", &["a", "b", "c"])).await?;
    prune(&shelf, keep(1)).await?;
    for version in [1, 2] {
        let read = shelf.state.read_version(&key("k"), version).await;
        expect_kind(read, ErrorKind::Pruned)?;
    }
    expect_kind(
        shelf.state.read_version(&key("k"), 4).await,
        ErrorKind::NotFound,
    )
    .map(|_| ())
}

async fn versions_go_on_after_a_prune(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all(puts("k", &["a", "b", "c"])).await?;
    prune(&shelf, keep(1)).await?;
    ensure_eq(shelf.write(put("k", "d")).await?, 4, "the next version")?;
    shelf.story_is("k", &["4 d", "3 c"]).await
}

async fn kept_appends_read_back_whole(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all(["a", "b", "c", "d", "e"].map(|text| append("k", text)))
        .await?;
    ensure_eq(prune(&shelf, keep(2)).await?, (3, 0), "what went")?;
    shelf.story_is("k", &["5 abcde", "4 abcd"]).await?;
    let pruned = shelf.state.read_version(&key("k"), 3).await;
    expect_kind(pruned, ErrorKind::Pruned)?;
    shelf.reads("k", Some("5 abcde")).await
}

async fn appends_go_on_after_a_prune(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    for round in 0..3 {
        shelf
            .write_all(["a", "b", "c"].map(|text| append("k", text)))
            .await?;
        prune(&shelf, keep(1)).await?;
        let version = 3 * (round + 1);
        let whole = "abc".repeat(round + 1);
        shelf
            .story_is("k", &[format!("{version} {whole}").as_str()])
            .await?;
    }
    shelf.write(append("k", "d")).await?;
    shelf.story_is("k", &["10 abcabcabcd", "9 abcabcabc"]).await
}

async fn without_a_bound_tombstones_stay(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all([put("k", "a"), delete("k")]).await?;
    let all_else = Prune {
        max_age: Some(Duration::ZERO),
        ..keep(1)
    };
    ensure_eq(prune(&shelf, all_else).await?, (0, 0), "what went")?;
    shelf.story_is("k", &["2 deleted", "1 a"]).await
}

async fn a_forgotten_key_is_unknown(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([put("k", "a"), put("k", "b"), delete("k"), put("l", "a")])
        .await?;
    ensure_eq(prune(&shelf, tombstones()).await?, (3, 1), "what went")?;
    shelf.story_is("k", &[]).await?;
    shelf.reads("k", None).await?;
    let mut all = crate::cases::shelf::notes();
    all.tombstones = true;
    ensure_eq(
        shelf.ids(all).await?,
        ["l"],
        "what is listed with tombstones",
    )
}

async fn a_young_tombstone_is_not_forgotten(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write_all([put("k", "a"), delete("k")]).await?;
    let old_ones = Prune {
        tombstones: Some(Duration::from_secs(3600)),
        ..Prune::default()
    };
    ensure_eq(prune(&shelf, old_ones).await?, (0, 0), "what went")?;
    shelf.story_is("k", &["2 deleted", "1 a"]).await
}

async fn live_keys_are_not_forgotten(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf
        .write_all([put("k", "a"), delete("k"), put("k", "b")])
        .await?;
    ensure_eq(prune(&shelf, tombstones()).await?, (0, 0), "what went")?;
    shelf.story_is("k", &["3 b", "2 deleted", "1 a"]).await
}

async fn versions_never_come_twice_after_a_key_is_forgotten(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let mut highest = 0;
    for _ in 0..3 {
        let version = shelf.write(put("k", "a")).await?;
        ensure(version > highest, "a version never comes twice")?;
        highest = shelf.write(delete("k")).await?;
        ensure_eq(highest, version + 1, "the version of the delete")?;
        prune(&shelf, tombstones()).await?;
    }
    let read = shelf.state.read_version(&key("k"), highest).await;
    match read.map_err(|error| error.kind()) {
        Err(ErrorKind::NotFound | ErrorKind::Pruned) => Ok(()),
        other => fail(format!(
            "a forgotten version must not be read, got {other:?}"
        )),
    }
}

async fn new_keys_start_above_the_floor(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put("old", "a")).await?;
    shelf.write_all(puts("k", &["a", "b", "c"])).await?;
    ensure_eq(
        shelf.write(delete("k")).await?,
        4,
        "the tombstone's version",
    )?;
    ensure_eq(
        shelf.write(put("before", "a")).await?,
        1,
        "a first version before",
    )?;
    prune(&shelf, tombstones()).await?;
    ensure_eq(
        shelf.write(put("new", "a")).await?,
        5,
        "a first version after",
    )?;
    ensure_eq(
        shelf.write(append("k", "a")).await?,
        5,
        "the forgotten key's first version",
    )?;
    ensure_eq(
        shelf.write(put("old", "b")).await?,
        2,
        "the next version of a known key",
    )?;
    ensure_eq(
        shelf.write(put("new", "b")).await?,
        6,
        "the next version of a new key",
    )?;
    shelf.story_is("new", &["6 b", "5 a"]).await
}

async fn a_prune_is_of_its_namespace_only(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let there = Shelf::on(&cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    for shelf in [&shelf, &there] {
        shelf.write_all(puts("k", &["a", "b"])).await?;
        shelf.write_all([put("l", "a"), delete("l")]).await?;
    }
    prune(&shelf, keep(1)).await?;
    prune(&shelf, tombstones()).await?;
    there.story_is("k", &["2 b", "1 a"]).await?;
    there.story_is("l", &["2 deleted", "1 a"]).await?;
    ensure_eq(
        there.write(put("new", "a")).await?,
        1,
        "a first version in the other namespace",
    )
}
