//! Two sides that do the same job, in turns.

use std::future::Future;

use statehouse_benches::{
    Result,
    load::Run,
    scenarios::{Settings, rates, rounds},
    table::{Goal, Row},
};

/// Messages that are put into the queue before a round that takes some out.
const STOCK: usize = 12_000;

/// Keys that are read.
const OWNERS: u64 = 8;
const KEYS: u64 = 100;

/// A queue, as one side has it.
pub(crate) trait Messages: Clone + Send + Sync + 'static {
    fn send(&self) -> impl Future<Output = Result<()>> + Send;
    /// Puts many messages into the queue.
    fn stock(&self, count: usize) -> impl Future<Output = Result<()>> + Send;
    fn receive_and_ack(&self) -> impl Future<Output = Result<()>> + Send;
}

/// Records, as one side has them.
pub(crate) trait Records: Clone + Send + Sync + 'static {
    fn put(&self, caller: u64, turn: u64) -> impl Future<Output = Result<()>> + Send;
    fn get(&self, caller: u64, turn: u64) -> impl Future<Output = Result<()>> + Send;
}

/// How the rows of a table are named.
pub(crate) struct Names {
    /// Such as "64 callers".
    callers: String,
    /// What Statehouse is compared with.
    beside: &'static str,
    /// What the names of the wanted rows contain.
    only: String,
}

impl Names {
    pub(crate) fn new(callers: u64, beside: &'static str) -> Self {
        let callers = match callers {
            1 => "1 caller".to_owned(),
            many => format!("{many} callers"),
        };
        Self {
            callers,
            beside,
            only: String::new(),
        }
    }

    /// Only the rows whose names contain `part` are wanted.
    pub(crate) fn only(self, part: &str) -> Self {
        Self {
            only: part.to_owned(),
            ..self
        }
    }

    /// The row of what is compared by `runs`, if it is wanted.
    async fn row(
        &self,
        what: &str,
        runs: impl Future<Output = Result<[Vec<Run>; 2]>>,
    ) -> Result<Option<Row>> {
        let name = format!("{}, {what}", self.callers);
        if !name.contains(&self.only) {
            return Ok(None);
        }
        let row = rates(&name, self.beside, &runs.await?);
        Ok(Some(row.must(Goal::AtLeast(0.8))))
    }
}

/// Sends, then receives and acks.
///
/// # Errors
/// The first error of either side.
pub(crate) async fn messages(
    settings: &Settings,
    callers: u64,
    names: &Names,
    (ours, raw): (&impl Messages, &impl Messages),
) -> Result<Vec<Row>> {
    let (one, other) = (ours.clone(), raw.clone());
    let sends = rounds(
        settings,
        callers,
        move |_, _| sending(one.clone()),
        move |_, _| sending(other.clone()),
    );
    let taken = taking(settings, callers, ours, raw);
    let rows = [
        names.row("send", sends).await?,
        names.row("receive and ack", taken).await?,
    ];
    Ok(rows.into_iter().flatten().collect())
}

/// Puts, then gets.
///
/// # Errors
/// The first error of either side.
pub(crate) async fn records(
    settings: &Settings,
    callers: u64,
    names: &Names,
    (ours, raw): (&impl Records, &impl Records),
) -> Result<Vec<Row>> {
    let (one, other) = (ours.clone(), raw.clone());
    let puts = rounds(
        settings,
        callers,
        move |caller, turn| putting(one.clone(), caller, turn),
        move |caller, turn| putting(other.clone(), caller, turn),
    );
    let (one, other) = (ours.clone(), raw.clone());
    let gets = rounds(
        settings,
        callers,
        move |caller, turn| getting(one.clone(), caller, turn),
        move |caller, turn| getting(other.clone(), caller, turn),
    );
    let rows = [names.row("put", puts).await?, names.row("get", gets).await?];
    Ok(rows.into_iter().flatten().collect())
}

/// Writes all records that are read.
///
/// # Errors
/// The first error of either side.
pub(crate) async fn fill(ours: &impl Records, raw: &impl Records) -> Result<()> {
    for owner in 0..OWNERS {
        for turn in 0..KEYS {
            ours.put(owner, turn).await?;
            raw.put(owner, turn).await?;
        }
    }
    Ok(())
}

/// Rounds of receives, before each of which there is enough to take.
async fn taking(
    settings: &Settings,
    callers: u64,
    ours: &impl Messages,
    raw: &impl Messages,
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

async fn sending(side: impl Messages) -> Result<()> {
    side.send().await
}

async fn taking_one(side: impl Messages) -> Result<()> {
    side.receive_and_ack().await
}

async fn putting(side: impl Records, caller: u64, turn: u64) -> Result<()> {
    side.put(caller, turn).await
}

async fn getting(side: impl Records, caller: u64, turn: u64) -> Result<()> {
    side.get(caller % OWNERS, turn).await
}
