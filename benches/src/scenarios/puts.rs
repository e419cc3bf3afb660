//! Durable puts by one and by many callers.

use super::{Settings, percentiles, rates, rounds, waits};
use crate::{
    Result,
    bare::BareState,
    stats::Spread,
    store::Store,
    table::{Goal, Row, Section, Unit},
};

const BARE: &str = "bare rusqlite";

/// The log's bound.
const LOG_LIMIT: f64 = 64e6;

pub(super) async fn run(settings: &Settings) -> Result<Section> {
    let mut rows = alone(settings).await?;
    for (callers, goal) in [(64, Goal::AtLeast(0.8)), (256, Goal::AtLeast(0.8))] {
        rows.append(&mut together(settings, callers, goal).await?);
    }
    Ok(Section {
        title: "Durable puts",
        about: "1 KiB values, 100 keys per caller, `synchronous=FULL`, WAL; each caller waits for \
                its put before it makes the next. Bare rusqlite is a writer thread with group \
                commit, and the same statements: look the key up, insert the version, update the \
                key. A lone caller that paid for two syncs of the disk would wait twice as long \
                as bare."
            .to_owned(),
        rows,
    })
}

/// One caller: one sync of the disk each.
async fn alone(settings: &Settings) -> Result<Vec<Row>> {
    let (store, bare) = (Store::open("").await?, BareState::open()?);
    let runs = both(settings, 1, &store, &bare).await?;
    store.close().await?;
    Ok(vec![
        waits("1 caller, p50 of a put", BARE, &runs, 0.5).must(Goal::AtMost(1.5)),
    ])
}

async fn together(settings: &Settings, callers: u64, goal: Goal) -> Result<Vec<Row>> {
    let (store, bare) = (Store::open("").await?, BareState::open()?);
    let runs = both(settings, settings.callers(callers), &store, &bare).await?;
    let log = store.log_bytes() as f64;
    store.close().await?;
    let [median, tail] = [0.5, 0.99].map(|share| percentiles(&runs[0], share));
    let tail = Row::compare(
        &format!("{callers} callers, p99 of a put"),
        Unit::Micros,
        &tail,
        ("its own p50", &median),
    );
    let bare_tail = Spread::of(percentiles(&runs[1], 0.99)).median
        / Spread::of(percentiles(&runs[1], 0.5)).median;
    let log = Row::alone(
        &format!("{callers} callers, largest write-ahead log (bare's p99 is {bare_tail:.1} × p50)"),
        Unit::Bytes,
        &[log],
    );
    let tail_goal = if callers == 64 {
        Goal::AtMost(5.0)
    } else {
        Goal::None
    };
    Ok(vec![
        rates(&format!("{callers} callers, puts"), BARE, &runs).must(goal),
        tail.must(tail_goal),
        log.must(Goal::Below(LOG_LIMIT)),
    ])
}

async fn both(
    settings: &Settings,
    callers: u64,
    store: &Store,
    bare: &BareState,
) -> Result<[Vec<crate::load::Run>; 2]> {
    let (store, bare) = (store.clone(), bare.clone());
    let ours = move |caller, turn| {
        let store = store.clone();
        async move { store.put(caller, turn).await }
    };
    let other = move |caller, turn| {
        let bare = bare.clone();
        async move { bare.put(caller, turn).await }
    };
    rounds(settings, callers, ours, other).await
}
