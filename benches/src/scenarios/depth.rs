//! Receives and claims with few and with many pending.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use statehouse_contracts::{
    Claim, ClaimRequest, ContentType, Kind, NewTask, Push, StackName, TaskStackExt, WorkerName,
};

use super::Settings;
use crate::{
    Result,
    load::micros,
    queue::Queue,
    store::Store,
    table::{Goal, Row, Section, Unit},
};

/// Messages or tasks that are added at a time.
const BATCH: usize = 1_000;

/// How long what was added may settle, so that its checkpoint is not measured.
const SETTLE: Duration = Duration::from_millis(600);

/// Medians in microseconds, one per round.
#[derive(Default)]
struct Waits {
    receive: Vec<f64>,
    ack: Vec<f64>,
    counts: Vec<f64>,
    claim: Vec<f64>,
    complete: Vec<f64>,
    depth: Vec<f64>,
}

pub(super) async fn run(settings: &Settings) -> Result<Section> {
    let shallow = at(settings, settings.few).await?;
    let deep = at(settings, settings.many).await?;
    let compare = |what: &str, [deep, shallow]: [&[f64]; 2]| {
        let name = format!("with {} pending", settings.few);
        Row::compare(what, Unit::Micros, deep, (&name, shallow)).must(Goal::AtMost(1.5))
    };
    Ok(Section {
        title: "Few and many pending",
        about: format!(
            "Medians with {} pending beside those with {}; `synchronous=normal`, so that no sync \
             of the disk hides what the search costs. A message is received and acknowledged, a \
             task claimed and completed, one at a time.",
            settings.many, settings.few
        ),
        rows: vec![
            compare("receive one", [&deep.receive, &shallow.receive]),
            compare("acknowledge it", [&deep.ack, &shallow.ack]),
            compare("count the queue", [&deep.counts, &shallow.counts]),
            compare("claim one task", [&deep.claim, &shallow.claim]),
            compare("complete it", [&deep.complete, &shallow.complete]),
            compare("depth of the stack", [&deep.depth, &shallow.depth]),
        ],
    })
}

async fn at(settings: &Settings, pending: usize) -> Result<Waits> {
    let mut waits = Waits::default();
    let store = Store::open("?synchronous=normal").await?;
    add(pending, |count| store.fill(count)).await?;
    tokio::time::sleep(SETTLE).await;
    for _ in 0..settings.rounds {
        messages(settings, &store, &mut waits).await?;
    }
    store.close().await?;
    let store = Store::open("?synchronous=normal").await?;
    add(pending, |count| push(&store, count)).await?;
    tokio::time::sleep(SETTLE).await;
    for _ in 0..settings.rounds {
        tasks(settings, &store, &mut waits).await?;
    }
    store.close().await?;
    Ok(waits)
}

async fn add<R>(mut count: usize, mut batch: impl FnMut(usize) -> R) -> Result<()>
where
    R: Future<Output = Result<()>>,
{
    while count > 0 {
        let next = count.min(BATCH);
        batch(next).await?;
        count -= next;
    }
    Ok(())
}

async fn messages(settings: &Settings, store: &Store, waits: &mut Waits) -> Result<()> {
    let (mut receive, mut ack, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    let (consumer, group) = store.group();
    for _ in 0..settings.timed {
        let leased = timed(&mut receive, store.receive(1)).await?;
        timed(&mut ack, store.ack(leased)).await?;
        timed(&mut counts, async { Ok(consumer.counts(group).await?) }).await?;
    }
    // As many as before, for the next round.
    store.fill(settings.timed).await?;
    waits.receive.push(median(receive));
    waits.ack.push(median(ack));
    waits.counts.push(median(counts));
    Ok(())
}

async fn tasks(settings: &Settings, store: &Store, waits: &mut Waits) -> Result<()> {
    let (mut claims, mut completes, mut depths) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.timed {
        for claim in timed(&mut claims, claim(store)).await? {
            timed(&mut completes, complete(store, claim)).await?;
        }
        timed(&mut depths, async {
            Ok(store.tasks().depth(&stack()?).await?)
        })
        .await?;
    }
    push(store, settings.timed).await?;
    waits.claim.push(median(claims));
    waits.complete.push(median(completes));
    waits.depth.push(median(depths));
    Ok(())
}

async fn timed<T>(waits: &mut Vec<f64>, call: impl Future<Output = Result<T>>) -> Result<T> {
    let begun = Instant::now();
    let answer = call.await?;
    waits.push(micros(begun.elapsed()));
    Ok(answer)
}

fn median(waits: Vec<f64>) -> f64 {
    crate::stats::Waits::of(waits).percentile(0.5)
}

fn stack() -> Result<StackName> {
    Ok(StackName::new("bench")?)
}

async fn push(store: &Store, count: usize) -> Result<()> {
    let kind = Kind::new("bench")?;
    let task = |_| NewTask::new(kind.clone(), vec![b'x'; 64], ContentType::BYTES);
    let push = Push {
        stack: stack()?,
        tasks: (0..count).map(task).collect(),
        parent: None,
        op_id: None,
    };
    store.tasks().push(push).await?;
    Ok(())
}

async fn claim(store: &Store) -> Result<Vec<Claim>> {
    let request = ClaimRequest {
        stack: stack()?,
        worker: WorkerName::new("worker")?,
        max: 1,
        lease: Duration::from_secs(60),
        wait: Duration::ZERO,
    };
    Ok(store.tasks().claim(request).await?)
}

async fn complete(store: &Store, claim: Claim) -> Result<()> {
    let (result, content_type) = (bytes::Bytes::new(), ContentType::BYTES);
    store
        .tasks()
        .complete(&claim.lease, result, content_type)
        .await?;
    Ok(())
}
