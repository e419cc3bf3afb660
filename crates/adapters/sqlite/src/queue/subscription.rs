//! The reading side of a broadcast.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};
use statehouse_contracts::{
    Broadcast, BroadcastEvent, ErrorKind, Pattern, Received, Result, Topic,
};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    broadcast::{channel, join, leave, stay},
    meta, rows,
};
use crate::{
    engine::Listener,
    error::Failure,
    session::Session,
    time::{self, timestamp},
};

/// How often a listener says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The most messages of one read.
const PAGE: usize = 256;

/// The registration of a listener, ended by dropping it.
#[derive(Debug)]
struct Seat {
    id: i64,
    session: Session,
    /// Whether it was taken for dead meanwhile.
    lost: Arc<AtomicBool>,
    _beating: DropGuard,
}

impl Seat {
    fn new(session: &Session, id: i64, pattern: &Pattern) -> Self {
        let (lost, ended) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        tokio::spawn(beat(
            session.clone(),
            id,
            pattern.clone(),
            Arc::clone(&lost),
            ended.clone(),
        ));
        Self {
            id,
            session: session.clone(),
            lost,
            _beating: ended.drop_guard(),
        }
    }
}

/// Says again and again that a listener is there.
async fn beat(
    session: Session,
    id: i64,
    pattern: Pattern,
    lost: Arc<AtomicBool>,
    ended: CancellationToken,
) {
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        let (ns, pattern) = (session.ns, pattern.clone());
        let there = session.write("broadcast", move |tx| Ok(stay(tx, ns, id, &pattern)?));
        match there.await {
            Ok(true) => {}
            Ok(false) => lost.store(true, Ordering::Release),
            Err(error) if error.kind() == ErrorKind::Closed => return,
            // The next beat is soon enough.
            Err(_) => {}
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let id = self.id;
        // One that cannot be taken back now is taken for dead later.
        let _ = self
            .session
            .store
            .engine
            .submit(move |tx| Ok::<_, Failure>(leave(tx, id)?));
    }
}

/// A subscription. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Subscription {
    session: Session,
    pattern: Pattern,
    listener: Listener,
    seat: Seat,
    /// Up to where the log was read.
    at: i64,
    /// What was read and is not due yet: when it is, and its place in the log.
    later: BTreeSet<(i64, i64)>,
    /// What is to be told next.
    heard: VecDeque<BroadcastEvent>,
}

/// Begins to listen.
pub(super) async fn listen(session: &Session, pattern: &Pattern) -> Result<Box<dyn Broadcast>> {
    let listener = session.listen(&[channel(session.ns)]);
    let (ns, wanted) = (session.ns, pattern.clone());
    let (id, end) = session
        .write("broadcast", move |tx| join(tx, ns, &wanted))
        .await?;
    Ok(Box::new(Subscription {
        seat: Seat::new(session, id, pattern),
        session: session.clone(),
        pattern: pattern.clone(),
        listener,
        at: end,
        later: BTreeSet::new(),
        heard: VecDeque::new(),
    }))
}

/// A message of the log as it was read.
#[derive(Debug)]
struct Cast {
    n: i64,
    sent_at: i64,
    due: i64,
    expires: Option<i64>,
    meta: Vec<u8>,
    payload: Vec<u8>,
}

impl Cast {
    const COLUMNS: &'static str = "n, sent_at, due, expires, meta, payload";

    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            n: row.get(0)?,
            sent_at: row.get(1)?,
            due: row.get(2)?,
            expires: row.get(3)?,
            meta: row.get(4)?,
            payload: row.get(5)?,
        })
    }

    fn received(self) -> Result<Received> {
        Ok(Received {
            message: meta::decode(&self.meta, Bytes::from(self.payload))?,
            sent_at: timestamp(self.sent_at),
            due_at: timestamp(self.due),
            expires_at: self.expires.map(timestamp),
        })
    }
}

/// What a read of the log finds: up to where it was cut off, and what comes next.
type Heard = (i64, Vec<Cast>);

fn read_log(connection: &Connection, ns: i64, after: i64) -> Result<Heard, Failure> {
    let sql = format!(
        "SELECT {} FROM queue_cast WHERE n > ?1 AND ns = ?2 ORDER BY n LIMIT ?3",
        Cast::COLUMNS
    );
    let casts = connection
        .prepare_cached(&sql)?
        .query_map((after, ns, rows(PAGE)), Cast::of)?
        .collect::<rusqlite::Result<_>>()?;
    Ok((floor(connection, ns)?, casts))
}

fn floor(connection: &Connection, ns: i64) -> rusqlite::Result<i64> {
    let floor = connection
        .prepare_cached("SELECT n FROM queue_cast_floor WHERE ns = ?1")?
        .query_row((ns,), |row| row.get(0))
        .optional()?;
    Ok(floor.unwrap_or(0))
}

fn read_one(connection: &Connection, ns: i64, n: i64) -> Result<(i64, Option<Cast>), Failure> {
    let sql = format!("SELECT {} FROM queue_cast WHERE n = ?1", Cast::COLUMNS);
    let cast = connection
        .prepare_cached(&sql)?
        .query_row((n,), Cast::of)
        .optional()?;
    Ok((floor(connection, ns)?, cast))
}

impl Subscription {
    /// Reads what is new in the log.
    async fn read(&mut self) -> Result<()> {
        let (ns, at) = (self.session.ns, self.at);
        let (floor, casts) = self
            .session
            .snapshot("broadcast", move |connection| read_log(connection, ns, at))
            .await?;
        if self.seat.lost.swap(false, Ordering::AcqRel) || floor > self.at {
            self.heard.push_back(BroadcastEvent::Gap { missed: None });
            self.at = self.at.max(floor);
        }
        for cast in casts {
            self.at = self.at.max(cast.n);
            let topic = meta::topic(&cast.meta).and_then(|topic| Topic::new(topic).ok());
            if topic.is_none_or(|topic| !self.pattern.matches(&topic)) {
                continue;
            }
            if cast.due > time::now() {
                self.later.insert((cast.due, cast.n));
            } else {
                self.tell(cast)?;
            }
        }
        Ok(())
    }

    /// Reads what has become due.
    async fn read_due(&mut self) -> Result<()> {
        while let Some(&(due, n)) = self.later.first() {
            if due > time::now() {
                break;
            }
            let ns = self.session.ns;
            let (floor, cast) = self
                .session
                .snapshot("broadcast", move |connection| read_one(connection, ns, n))
                .await?;
            self.later.remove(&(due, n));
            match cast {
                Some(cast) => self.tell(cast)?,
                None if floor >= n => self.heard.push_back(BroadcastEvent::Gap { missed: None }),
                // It was taken back.
                None => {}
            }
        }
        Ok(())
    }

    fn tell(&mut self, cast: Cast) -> Result<()> {
        if cast.expires.is_none_or(|expires| expires > time::now()) {
            let received = Box::new(cast.received()?);
            self.heard.push_back(BroadcastEvent::Message(received));
        }
        Ok(())
    }

    /// When the next message is due that was read already.
    fn next_due(&self) -> Option<Instant> {
        let (due, _) = self.later.first()?;
        let wait = due.saturating_sub(time::now()).try_into().unwrap_or(0);
        Some(time::deadline(Duration::from_micros(wait)))
    }
}

#[async_trait]
impl Broadcast for Subscription {
    async fn next(&mut self, wait: Duration) -> Result<Option<BroadcastEvent>> {
        let deadline = time::deadline(wait);
        loop {
            self.session.check_open()?;
            if self.heard.is_empty() {
                self.read_due().await?;
                self.read().await?;
            }
            if let Some(event) = self.heard.pop_front() {
                return Ok(Some(event));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            let until = self.next_due().map_or(deadline, |due| due.min(deadline));
            self.session.wait(&mut self.listener, until).await?;
        }
    }
}
