//! Handing messages to those who ask for them, at the end of the transaction: what is sent while
//! somebody waits is leased in the transaction that accepts it, so that it costs one sync until it
//! is handed over, not two, and a call gets all that came together.
//!
//! A call parks a [slot](Slot) with the writer. A job that parks one, or makes messages ready, has
//! the engine call [`hand_out`] once the jobs of its transaction are done. That leases messages for
//! the slots, which are filled once it is committed, and wakes listeners for what is left.
//!
//! A message that was just sent is kept in memory until then: one that is leased at once never
//! lies among the ready ones, and is handed over as it came.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use statehouse_contracts::Message;

use super::{
    Count,
    place::{self, Held, Mover},
    ready_channel,
    receive::{self, Look, Stored},
    registry::{self, Group, Registry},
    rows,
    slot::{Nothing, Slot},
};
use crate::{engine::Tx, error::Failure, time};

/// The most listeners that one transaction wakes for one group.
const MOST_WOKEN: usize = 64;

/// The groups in which messages were made ready, with how many each time, or asked for.
#[derive(Debug, Default)]
pub(super) struct Touched(Vec<(i64, usize)>);

impl Touched {
    /// Notes one message.
    pub(super) fn note(&mut self, group: i64) {
        self.add(group, 1);
    }

    fn add(&mut self, group: i64, messages: usize) {
        match self.0.last_mut() {
            Some((last, count)) if *last == group => *count += messages,
            _ => self.0.push((group, messages)),
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Each group once.
    fn take(&mut self) -> BTreeMap<i64, usize> {
        let mut groups = BTreeMap::new();
        for (group, count) in self.0.drain(..) {
            *groups.entry(group).or_default() += count;
        }
        groups
    }
}

/// Messages that were just sent and do not lie in their places yet. They are counted as ready.
#[derive(Debug, Default)]
pub(super) struct Incoming(HashMap<i64, VecDeque<(Held, Arc<Message>)>>);

impl Incoming {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn count(&self, group: i64) -> usize {
        self.0.get(&group).map_or(0, VecDeque::len)
    }
}

/// Keeps a message that was just sent, if nothing else has to know where it lies; otherwise says
/// false.
pub(super) fn hold(mover: &mut Mover<'_>, held: Held, message: &Arc<Message>) -> bool {
    let (group, registry) = (mover.group, &mut *mover.registry);
    let now = mover.tx.now();
    let simple = held.key.is_none() && !held.is_expired(now) && held.due <= now;
    if !simple || group.spec.max_length.is_some() {
        return false;
    }
    mover.tx.add(Count::Ready.of(group.id), 1);
    registry.touched.note(group.id);
    let incoming = registry.incoming.0.entry(group.id).or_default();
    incoming.push_back((held, Arc::clone(message)));
    true
}

/// Puts a call in line for messages.
pub(super) fn ask(registry: &mut Registry, group: &Group, slot: &Arc<Slot>) {
    registry.parking.park(group.id, slot);
    registry.touched.add(group.id, 0);
}

/// Takes the first of a group's ready messages, if all that are ready are incoming ones.
pub(super) fn take_incoming(
    tx: &Tx<'_>,
    registry: &mut Registry,
    group: i64,
    max: usize,
) -> rusqlite::Result<Option<Vec<Stored>>> {
    let count = registry.incoming.count(group);
    if count == 0 || tx.counter(Count::Ready.of(group))? != rows(count) {
        return Ok(None);
    }
    let Some(incoming) = registry.incoming.0.get_mut(&group) else {
        return Ok(None);
    };
    let order = |held: &Held| (held.rank, held.due, held.seq);
    if !incoming.iter().is_sorted_by_key(|(held, _)| order(held)) {
        let all = incoming.make_contiguous();
        all.sort_unstable_by_key(|(held, _)| order(held));
    }
    let (mut messages, mut bytes) = (Vec::with_capacity(count.min(max)), 0);
    while messages.len() < max
        && let Some((_, message)) = incoming.front()
    {
        bytes += message.bytes().len();
        if bytes > receive::MAX_BYTES && !messages.is_empty() {
            break;
        }
        messages.extend(
            incoming
                .pop_front()
                .map(|(held, message)| Stored::sent(held, tx.now(), message)),
        );
    }
    Ok(Some(messages))
}

/// Writes what is incoming to its place among the ready messages.
pub(super) fn write_incoming(tx: &Tx<'_>, registry: &mut Registry) -> rusqlite::Result<()> {
    for (group, messages) in registry.incoming.0.drain() {
        for (held, _) in messages {
            place::write_ready(tx, group, held)?;
        }
    }
    Ok(())
}

/// Ends a job that may have made messages ready, or asked for some.
pub(super) fn at_end(tx: &Tx<'_>, registry: &Registry) {
    if !registry.touched.0.is_empty() {
        tx.at_end(|tx| Ok(hand_out(tx)?));
    }
}

/// Leases what is ready for those who ask for it, and writes the rest to its place.
fn hand_out(tx: &Tx<'_>) -> Result<(), Failure> {
    let registry = registry::fresh(tx)?;
    let registry = &mut *registry.borrow_mut();
    while !registry.touched.0.is_empty() {
        for (group, count) in registry.touched.take() {
            hand_over(tx, registry, group, count)?;
        }
    }
    Ok(write_incoming(tx, registry)?)
}

/// Leases messages of a group of which `count` were made ready.
fn hand_over(
    tx: &Tx<'_>,
    registry: &mut Registry,
    group: i64,
    count: usize,
) -> Result<(), Failure> {
    let Some(group) = registry.group(group) else {
        return Ok(());
    };
    let mut left = count;
    let mut nothing = Nothing::Known;
    while let Some(serving) = registry.parking.next(group.id) {
        let Slot { max, lease, .. } = *serving.slot();
        match receive::lease(tx, registry, &group, max, lease)? {
            Look::Leased(batch) => {
                left = left.saturating_sub(batch.messages.len());
                let asked = begun(tx);
                tx.after_commit(move || serving.fill(batch, asked));
            }
            Look::Nothing(found) => {
                nothing = found;
                if nothing != Nothing::Known {
                    left = 0;
                }
                break;
            }
        }
    }
    registry.parking.answer(group.id, nothing);
    for _ in 0..left.min(MOST_WOKEN) {
        tx.notify_one(ready_channel(group.ns, &group.name));
    }
    Ok(())
}

/// A moment that is not after the time of the transaction, by the monotonic clock.
fn begun(tx: &Tx<'_>) -> Instant {
    let now = Instant::now();
    let ago = time::now().saturating_sub(tx.now()).try_into().unwrap_or(0);
    now.checked_sub(Duration::from_micros(ago)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use statehouse_contracts::{GroupName, GroupSpec, Message, Pattern, Payload, Topic};

    use super::super::{
        groups,
        prepare::Prepared,
        send,
        slot::{Parking, Waiting},
    };
    use super::*;
    use crate::{
        engine::{Engine, EngineOptions, Receipt},
        schema::SCHEMA,
    };

    const NS: i64 = 1;

    fn name() -> GroupName {
        GroupName::new("g").unwrap()
    }

    async fn open(folder: &tempfile::TempDir) -> Engine {
        let path = folder.path().join("a.db");
        let engine = Engine::open(path, EngineOptions::default(), SCHEMA).await;
        let engine = engine.unwrap();
        let spec = GroupSpec::new(Pattern::ALL);
        let declared = engine.write(move |tx| groups::declare(tx, NS, &name(), &spec));
        let declared: Result<_, Failure> = declared.await;
        declared.unwrap();
        engine
    }

    /// Keeps the writer busy until the answer is dropped: what is submitted meanwhile is one group.
    fn hold(engine: &Engine) -> mpsc::Sender<()> {
        let (busy, go_on) = mpsc::channel::<()>();
        let (begun, is_busy) = mpsc::channel::<()>();
        let job = move |_: &Tx<'_>| {
            let _ = begun.send(());
            let _ = go_on.recv();
            Ok::<_, Failure>(())
        };
        drop(engine.submit(job).unwrap());
        is_busy.recv().unwrap();
        busy
    }

    fn submit_send(engine: &Engine) -> Receipt<(), Failure> {
        let message = Message::new(Topic::new("t").unwrap(), Payload::text("x"));
        let prepared = Prepared::new(&Arc::new(message)).unwrap();
        let rules = send::Rules {
            ns: NS,
            require_route: false,
            window: 1_000_000,
        };
        let job = move |tx: &Tx<'_>| send::take_in(tx, rules, [&prepared].into_iter()).map(drop);
        engine.submit(job).unwrap()
    }

    fn submit_ask(engine: &Engine, waiting: &Waiting) -> Receipt<(), Failure> {
        let slot = Arc::clone(waiting.slot());
        let job = move |tx: &Tx<'_>| receive::ask(tx, NS, &name(), &slot);
        engine.submit(job).unwrap()
    }

    /// Asks while nothing is there.
    async fn ask_in_vain(engine: &Engine, waiting: &Waiting) {
        submit_ask(engine, waiting).await.unwrap();
        assert!(waiting.take().is_none());
    }

    fn delayed(delay: Duration) -> Prepared {
        let message = Message {
            delay,
            ..Message::new(Topic::new("t").unwrap(), Payload::text("x"))
        };
        Prepared::new(&Arc::new(message)).unwrap()
    }

    #[tokio::test]
    async fn a_job_that_fails_keeps_no_later_one_from_waking() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(&folder).await;
        let waiting = Waiting::new(&engine, 1, None, true);
        ask_in_vain(&engine, &waiting).await;
        let mut listener = engine.listen(&[ready_channel(NS, &name())]);
        let rules = send::Rules {
            ns: NS,
            require_route: false,
            window: 1_000_000,
        };
        let sooner = delayed(Duration::from_secs(60));
        let failed = engine.write(move |tx| {
            send::take_in(tx, rules, [&sooner].into_iter())?;
            let error = statehouse_contracts::Error::internal("on purpose");
            Err::<(), _>(Failure::from(error))
        });
        assert!(failed.await.is_err());
        let later = delayed(Duration::from_secs(120));
        let sent = engine.write(move |tx| send::take_in(tx, rules, [&later].into_iter()).map(drop));
        sent.await.unwrap();
        let soon = tokio::time::Instant::now() + Duration::from_secs(2);
        let woken = listener.wait(soon).await.unwrap();
        assert_eq!(woken, crate::engine::Woken::Notified);
    }

    async fn counts(engine: &Engine) -> (u64, u64) {
        let counted = engine.write(|tx| {
            let registry = registry::fresh(tx)?;
            let group = registry.borrow().named(NS, &name()).unwrap();
            Ok(super::super::admin::counts(tx, &group)?)
        });
        let counts: Result<statehouse_contracts::Counts, Failure> = counted.await;
        let counts = counts.unwrap();
        (counts.ready, counts.in_flight)
    }

    #[tokio::test]
    async fn a_call_that_looks_again_while_it_is_served_is_served_once() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(&folder).await;
        let waiting = Waiting::new(&engine, 1, None, true);
        ask_in_vain(&engine, &waiting).await;
        let busy = hold(&engine);
        let first = submit_send(&engine);
        let again = submit_ask(&engine, &waiting);
        let second = submit_send(&engine);
        drop(busy);
        first.await.unwrap();
        again.await.unwrap();
        second.await.unwrap();
        let (batch, _) = waiting.take().expect("the first message is there");
        assert_eq!(batch.messages.len(), 1);
        assert_eq!(counts(&engine).await, (1, 1));
    }

    #[tokio::test]
    async fn a_call_that_ends_while_it_is_served_gives_back() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(&folder).await;
        submit_send(&engine).await.unwrap();
        let mut waiting = Some(Waiting::new(&engine, 1, None, true));
        let lease = engine.write(move |tx| {
            let mut parking = Parking::default();
            parking.park(1, waiting.as_ref().unwrap().slot());
            let serving = parking.next(1).unwrap();
            // The call ends before the messages are leased for it.
            waiting = None;
            let registry = registry::fresh(tx)?;
            let registry = &mut *registry.borrow_mut();
            let group = registry.named(NS, &name()).unwrap();
            if let Look::Leased(batch) = receive::lease(tx, registry, &group, 1, None)? {
                tx.after_commit(move || serving.fill(batch, Instant::now()));
            }
            Ok::<_, Failure>(())
        });
        lease.await.unwrap();
        assert_eq!(counts(&engine).await, (1, 0));
    }
}
