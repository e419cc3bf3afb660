//! Measures durable puts by many callers: the engine beside a bare rusqlite writer thread with
//! group commit that runs the same statements, in one run.
//!
//! ```sh
//! cargo run --release -p statehouse-sqlite --example commit_latency -- [seconds] [callers…]
//! ```
//!
//! A put is three statements on a 1 KiB value: the version into the history, the latest version,
//! and an entry of the change log. Each caller waits for its put before it makes the next.

use std::{
    env,
    error::Error,
    fs,
    future::Future,
    io::{self, Write},
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use statehouse_sqlite::engine::{Engine, EngineError, EngineOptions, Schema};
use tokio::sync::oneshot;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const TABLES: &str = "
    CREATE TABLE version (
        key INTEGER NOT NULL, version INTEGER NOT NULL, at INTEGER NOT NULL, data BLOB NOT NULL,
        UNIQUE (key, version));
    CREATE TABLE latest (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, version INTEGER NOT NULL);
    CREATE TABLE change (
        position INTEGER PRIMARY KEY, key INTEGER NOT NULL, version INTEGER NOT NULL,
        at INTEGER NOT NULL);";
const LATEST: &str = "INSERT INTO latest (name, version) VALUES (?1, 1)
    ON CONFLICT (name) DO UPDATE SET version = version + 1 RETURNING id, version";
const VERSION: &str = "INSERT INTO version (key, version, at, data) VALUES (?1, ?2, ?3, ?4)";
const CHANGE: &str = "INSERT INTO change (key, version, at) VALUES (?1, ?2, ?3)";

const SCHEMA: Schema = Schema {
    application_id: 0x5348_4245,
    steps: &[&[TABLES]],
};

/// Distinct keys that each caller writes in turn.
const KEYS: u64 = 1_000;

/// The three statements.
fn put(connection: &Connection, name: &str, at: i64, data: &[u8]) -> rusqlite::Result<i64> {
    let (key, version): (i64, i64) = connection
        .prepare_cached(LATEST)?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    connection
        .prepare_cached(VERSION)?
        .execute((key, version, at, data))?;
    connection
        .prepare_cached(CHANGE)?
        .execute((key, version, at))?;
    Ok(version)
}

/// What is measured: anything that puts durably.
trait Store: Clone + Send + 'static {
    fn put(&self, name: String, data: Arc<[u8]>) -> impl Future<Output = Result<i64>> + Send;
}

impl Store for Engine {
    async fn put(&self, name: String, data: Arc<[u8]>) -> Result<i64> {
        let put = self.write(move |tx| Ok::<_, EngineError>(put(tx, &name, tx.now(), &data)?));
        Ok(put.await?)
    }
}

type Put = (String, Arc<[u8]>, oneshot::Sender<i64>);

/// The least that group commit needs: a channel, a thread, a transaction around what waits.
#[derive(Clone)]
struct Bare(mpsc::Sender<Put>);

impl Bare {
    fn open(path: &Path) -> Result<(Self, thread::JoinHandle<rusqlite::Result<()>>)> {
        let connection = Connection::open(path)?;
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
             {TABLES}"
        ))?;
        let (sender, inbox) = mpsc::channel();
        let writer = thread::spawn(move || bare_writer(&connection, &inbox));
        Ok((Self(sender), writer))
    }
}

fn bare_writer(connection: &Connection, inbox: &mpsc::Receiver<Put>) -> rusqlite::Result<()> {
    let mut done = Vec::new();
    while let Ok(first) = inbox.recv() {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        let mut next = Some(first);
        while let Some((name, data, reply)) = next {
            done.push((reply, put(connection, &name, 0, &data)?));
            next = inbox.try_recv().ok();
        }
        connection.prepare_cached("COMMIT")?.execute(())?;
        for (reply, version) in done.drain(..) {
            let _ = reply.send(version);
        }
    }
    Ok(())
}

impl Store for Bare {
    async fn put(&self, name: String, data: Arc<[u8]>) -> Result<i64> {
        let (reply, version) = oneshot::channel();
        self.0.send((name, data, reply))?;
        Ok(version.await?)
    }
}

/// The latencies of all puts made in `time`.
async fn load<S: Store>(store: S, callers: u64, time: Duration) -> Result<(Vec<u64>, Duration)> {
    let data: Arc<[u8]> = vec![b'x'; 1024].into();
    let begun = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (store, data) = (store.clone(), Arc::clone(&data));
            tokio::spawn(async move {
                let mut micros = Vec::new();
                for turn in 0_u64.. {
                    let before = Instant::now();
                    if before.duration_since(begun) > time {
                        break;
                    }
                    let name = format!("agent-{caller}/{}", turn % KEYS);
                    store.put(name, Arc::clone(&data)).await?;
                    micros.push(u64::try_from(before.elapsed().as_micros())?);
                }
                Ok::<_, Box<dyn Error + Send + Sync>>(micros)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.append(&mut task.await??);
    }
    Ok((all, begun.elapsed()))
}

fn report(what: &str, callers: u64, mut micros: Vec<u64>, time: Duration, wal: u64) -> Result<f64> {
    micros.sort_unstable();
    let at = |share: f64| micros[((micros.len() - 1) as f64 * share) as usize] as f64 / 1e3;
    let rate = micros.len() as f64 / time.as_secs_f64();
    writeln!(
        io::stdout(),
        "{what:>7} {callers:>5} callers {rate:>8.0}/s  p50 {:>7.2} ms  p99 {:>7.2} ms ({:>4.1}x)  \
         p99.9 {:>7.2}  max {:>7.2} ms  log {:>5.1} MB",
        at(0.5),
        at(0.99),
        at(0.99) / at(0.5),
        at(0.999),
        at(1.0),
        wal as f64 / 1e6,
    )?;
    Ok(rate)
}

fn wal_size(path: &Path) -> u64 {
    fs::metadata(format!("{}-wal", path.display())).map_or(0, |wal| wal.len())
}

async fn compare(directory: &Path, callers: u64, time: Duration) -> Result<()> {
    let path = directory.join(format!("bare-{callers}.db"));
    let (bare, writer) = Bare::open(&path)?;
    let (micros, took) = load(bare, callers, time).await?;
    let bare = report("bare", callers, micros, took, wal_size(&path))?;
    tokio::task::spawn_blocking(|| writer.join())
        .await?
        .map_err(|_| "the bare writer died")??;

    let path = directory.join(format!("engine-{callers}.db"));
    let engine = Engine::open(&path, EngineOptions::default(), SCHEMA).await?;
    let (micros, took) = load(engine.clone(), callers, time).await?;
    let ours = report("engine", callers, micros, took, wal_size(&path))?;
    engine.close().await;
    writeln!(
        io::stdout(),
        "{:>7} {callers:>5} callers {:>8.2} of bare",
        "",
        ours / bare
    )?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let seconds = args.next().map_or(Ok(5), |text| text.parse())?;
    let mut callers: Vec<u64> = args
        .map(|text| text.parse())
        .collect::<std::result::Result<_, _>>()?;
    if callers.is_empty() {
        callers = vec![1, 16, 64, 256, 1024];
    }
    let directory = tempfile::tempdir_in(".")?;
    for callers in callers {
        compare(directory.path(), callers, Duration::from_secs(seconds)).await?;
    }
    Ok(())
}
