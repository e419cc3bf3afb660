//! The Dragonfly adapter beside its own client library, used by hand for the same job.
//!
//! Both sides talk to one Redis server that syncs every write, over equally many connections of
//! the same library, and wait for the same acknowledgements. See `raw` for what the other side
//! does in one round trip each.

use std::future::Future;

use statehouse_benches::{
    Result,
    load::Run,
    redis::Server,
    scenarios::{Settings, rates, rounds},
    table::{Goal, Row, Section},
};

use crate::{ours::Ours, raw::Raw};

/// Connections of each side.
const CONNECTIONS: usize = 4;

/// Messages that are put into the queue before a round that takes some out.
const STOCK: usize = 12_000;

/// Keys that are read.
const OWNERS: u64 = 8;
const KEYS: u64 = 100;

const NAME: &str = "fred by hand";

/// What either side can do.
pub(crate) trait Side: Clone + Send + Sync + 'static {
    fn send(&self) -> impl Future<Output = Result<()>> + Send;
    /// Puts many messages into the queue.
    fn stock(&self, count: usize) -> impl Future<Output = Result<()>> + Send;
    fn receive_and_ack(&self) -> impl Future<Output = Result<()>> + Send;
    fn put(&self, caller: u64, turn: u64) -> impl Future<Output = Result<()>> + Send;
    fn get(&self, caller: u64, turn: u64) -> impl Future<Output = Result<()>> + Send;
}

/// Compares both sides; `None` where `redis-server` is not installed.
///
/// # Errors
/// The first error of either side.
pub(crate) async fn run(settings: &Settings) -> Result<Option<Section>> {
    let Some(server) = Server::start().await? else {
        return Ok(None);
    };
    let ours = Ours::open(server.port(), CONNECTIONS).await?;
    let raw = Raw::open(server.port(), CONNECTIONS).await?;
    for owner in 0..OWNERS {
        for turn in 0..KEYS {
            ours.put(owner, turn).await?;
            raw.put(owner, turn).await?;
        }
    }
    let mut rows = Vec::new();
    for callers in [1, settings.callers(64)] {
        rows.extend(with(settings, callers, &ours, &raw).await?);
    }
    let version = raw.version().await?;
    ours.close().await?;
    Ok(Some(Section {
        title: "The Dragonfly adapter beside its client library",
        about: about(&version),
        rows,
    }))
}

fn about(version: &str) -> String {
    format!(
        "1 KiB values and messages, Redis {version} with `appendfsync always`, {CONNECTIONS} \
         connections on each side; each caller waits for its answer before it makes the next call. \
         By hand, each call is one script of the fewest commands: a send remembers the idempotency \
         key, stores the message and makes it ready; a receive leases the message under a count \
         that fences, and an ack with that count and before the lease's end forgets it; a put \
         counts the version, writes the record, its history and a change; a get reads the record. \
         It has no priorities, ordering keys, delays, dead letters, groups with patterns, \
         preconditions, expiry or wake-ups, which the adapter has."
    )
}

async fn with(settings: &Settings, callers: u64, ours: &Ours, raw: &Raw) -> Result<Vec<Row>> {
    let who = if callers == 1 {
        "1 caller".to_owned()
    } else {
        format!("{callers} callers")
    };
    let row = |what: &str, runs: &[Vec<Run>; 2]| {
        rates(&format!("{who}, {what}"), NAME, runs).must(Goal::AtLeast(0.8))
    };
    let (one, other) = (ours.clone(), raw.clone());
    let sends = rounds(
        settings,
        callers,
        move |_, _| sending(one.clone()),
        move |_, _| sending(other.clone()),
    );
    let sends = row("send", &sends.await?);
    let taken = row(
        "receive and ack",
        &taking(settings, callers, ours, raw).await?,
    );
    let (one, other) = (ours.clone(), raw.clone());
    let puts = rounds(
        settings,
        callers,
        move |caller, turn| putting(one.clone(), caller, turn),
        move |caller, turn| putting(other.clone(), caller, turn),
    );
    let puts = row("put", &puts.await?);
    let (one, other) = (ours.clone(), raw.clone());
    let gets = rounds(
        settings,
        callers,
        move |caller, turn| getting(one.clone(), caller, turn),
        move |caller, turn| getting(other.clone(), caller, turn),
    );
    Ok(vec![sends, taken, puts, row("get", &gets.await?)])
}

/// Rounds of receives, before each of which there is enough to take.
async fn taking(
    settings: &Settings,
    callers: u64,
    ours: &Ours,
    raw: &Raw,
) -> Result<[Vec<Run>; 2]> {
    let once = Settings {
        rounds: 1,
        ..*settings
    };
    let mut runs = [Vec::new(), Vec::new()];
    for _ in 0..settings.rounds {
        ours.stock(STOCK).await?;
        raw.stock(STOCK).await?;
        let (one, other) = (ours.clone(), raw.clone());
        let round = rounds(
            &once,
            callers,
            move |_, _| taking_one(one.clone()),
            move |_, _| taking_one(other.clone()),
        );
        let [one, other] = round.await?;
        runs[0].extend(one);
        runs[1].extend(other);
    }
    Ok(runs)
}

async fn sending(side: impl Side) -> Result<()> {
    side.send().await
}

async fn taking_one(side: impl Side) -> Result<()> {
    side.receive_and_ack().await
}

async fn putting(side: impl Side, caller: u64, turn: u64) -> Result<()> {
    side.put(caller, turn).await
}

async fn getting(side: impl Side, caller: u64, turn: u64) -> Result<()> {
    side.get(caller % OWNERS, turn).await
}
