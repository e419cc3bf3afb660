//! Reads of state.

use std::sync::Arc;

use super::{Settings, rounds, waits};
use crate::{
    Result,
    bare::BareState,
    load::{self, Run, Until},
    stats::Spread,
    store::Store,
    table::Section,
};

const BARE: &str = "bare rusqlite on a reader thread";

/// Versions of a history, and of each key.
const VERSIONS: usize = 10;

/// Changes on a page.
const PAGE: usize = 100;

/// Callers whose keys are there to read, 100 each.
const OWNERS: u64 = 8;

pub(super) async fn run(settings: &Settings) -> Result<Section> {
    let (store, bare) = filled().await?;
    let get = gets(settings, 1, &store, &bare).await?;
    let get_in_place = in_place(settings, &bare)?;
    let crowd = gets(settings, settings.callers(64), &store, &bare).await?;
    let history = histories(settings, &store, &bare).await?;
    let changes = pages(settings, &store, &bare).await?;
    store.close().await?;
    let about = format!(
        "1 caller, p50 of a call, but for the last row; 800 keys with {VERSIONS} versions of \
         1 KiB. A read goes through a reader thread on both sides, as it must in an asynchronous \
         program; on the caller's own thread a bare get takes {get_in_place:.0} µs."
    );
    Ok(Section {
        title: "Reads",
        about,
        rows: vec![
            waits("get", BARE, &get, 0.5),
            waits(&format!("history of {VERSIONS}"), BARE, &history, 0.5),
            waits(&format!("{PAGE} changes"), BARE, &changes, 0.5),
            super::rates("gets by 64 callers", BARE, &crowd),
        ],
    })
}

/// Both with the same keys and versions.
async fn filled() -> Result<(Store, BareState)> {
    let (store, bare) = (Store::open("").await?, BareState::open()?);
    let (ours, other) = (store.clone(), bare.clone());
    let calls = Until::Calls(OWNERS * 100 * VERSIONS as u64);
    load::run(OWNERS, calls, move |caller, turn| {
        let store = ours.clone();
        async move { store.put(caller, turn).await }
    })
    .await?;
    load::run(OWNERS, calls, move |caller, turn| {
        let bare = other.clone();
        async move { bare.put(caller, turn).await }
    })
    .await?;
    Ok((store, bare))
}

async fn gets(
    settings: &Settings,
    callers: u64,
    store: &Store,
    bare: &BareState,
) -> Result<[Vec<Run>; 2]> {
    let (store, bare) = (store.clone(), bare.clone());
    let ours = move |caller, turn| {
        let store = store.clone();
        async move { store.get(caller % OWNERS, turn).await }
    };
    let other = move |caller, turn| {
        let bare = bare.clone();
        async move { bare.get(caller % OWNERS, turn).await }
    };
    rounds(settings, callers, ours, other).await
}

async fn histories(settings: &Settings, store: &Store, bare: &BareState) -> Result<[Vec<Run>; 2]> {
    let (store, bare) = (store.clone(), bare.clone());
    let ours = move |caller, turn| {
        let store = store.clone();
        async move { store.history(caller, turn, VERSIONS).await }
    };
    let other = move |caller, turn| {
        let bare = bare.clone();
        async move { bare.history(caller, turn, VERSIONS).await }
    };
    rounds(settings, 1, ours, other).await
}

async fn pages(settings: &Settings, store: &Store, bare: &BareState) -> Result<[Vec<Run>; 2]> {
    let oldest = Arc::new(store.oldest().await?);
    let (store, bare) = (store.clone(), bare.clone());
    let ours = move |_, _| {
        let (store, oldest) = (store.clone(), Arc::clone(&oldest));
        async move { store.changes(&oldest, PAGE).await }
    };
    let other = move |_, _| {
        let bare = bare.clone();
        async move { bare.changes(PAGE).await }
    };
    rounds(settings, 1, ours, other).await
}

/// The median of a bare get without any thread between, in microseconds.
fn in_place(settings: &Settings, bare: &BareState) -> Result<f64> {
    let connection = bare.connection()?;
    let mut waits = Vec::new();
    for turn in 0..settings.timed as u64 {
        let begun = std::time::Instant::now();
        BareState::get_in_place(&connection, turn % OWNERS, turn)?;
        waits.push(load::micros(begun.elapsed()));
    }
    Ok(Spread::of(waits).median)
}
