//! Two services on one file of states, with a cache on Redis between them that dies and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use statehouse_integration_tests::{Outcome, Server, Service};
use tokio::task::JoinHandle;

use super::process::Process;
use super::{FRESH, PATIENCE};

const SHARED_HITS: &str = "statehouse_shared_cache_hits_total";

/// How soon the cache is used again after its server's return.
const USED_AGAIN: Duration = Duration::from_secs(10);

/// How long a write or a read may take, whatever became of the cache.
const ANSWER: Duration = Duration::from_secs(5);

/// How many clients write and read at a time.
const CLIENTS: usize = 4;

/// How many writes there are while the cache is away.
const WITHOUT: u32 = 200;

pub(super) async fn reads_stay_right_without_the_shared_cache(
    service: &'static Service,
) -> Outcome {
    let server = Server::start(service).await?;
    let folder = tempfile::tempdir()?;
    // A service's own cache forgets at once, so that reads get to the shared one.
    let config = format!(
        "[backends]\ndefault = \"sqlite:{}\"\n[state]\ncache_ttl = \"1ms\"\n[cache]\nurl = {:?}\n",
        folder.path().join("statehouse.db").display(),
        server.url()
    );
    let services = [
        Process::start(&config).await?,
        Process::start(&config).await?,
    ];
    let load = Load::start(services);

    let used = through_the_loss(&server, &load).await;
    // What a client has seen tells more.
    let writes = load.finish().await?;
    eprintln!(
        "{writes} writes were read back; the cache was used {:?} after its return",
        used?
    );
    Ok(())
}

/// How soon after its return the cache is used.
async fn through_the_loss(server: &Server, load: &Load) -> Result<Duration, Failed> {
    load.is_cached_within(PATIENCE).await?;
    load.goes_on(50).await?;
    server.kill().await?;
    load.goes_on(WITHOUT).await?;
    // Its disk has what was cached before.
    server.restart().await?;
    let back = Instant::now();
    load.is_cached_within(USED_AGAIN).await?;
    let used = back.elapsed();
    load.goes_on(50).await?;
    Ok(used)
}

/// Clients that write through one service and read through both.
struct Load {
    house: Arc<House>,
    clients: Vec<JoinHandle<Result<(), String>>>,
}

struct House {
    services: [Process; 2],
    writes: AtomicU32,
    stop: AtomicBool,
}

impl Load {
    fn start(services: [Process; 2]) -> Self {
        let house = Arc::new(House {
            services,
            writes: AtomicU32::new(0),
            stop: AtomicBool::new(false),
        });
        let client = |client: usize| tokio::spawn(write_and_read(house.clone(), client));
        let clients = (0..CLIENTS).map(client).collect();
        Self { house, clients }
    }

    /// So many more writes are accepted and read.
    async fn goes_on(&self, more: u32) -> Result<(), String> {
        let enough = self.house.writes.load(Ordering::Acquire) + more;
        let end = Instant::now() + PATIENCE;
        while self.house.writes.load(Ordering::Acquire) < enough {
            self.holds(end, "the load does not go on").await?;
        }
        Ok(())
    }

    /// Both services answer reads by the shared cache.
    async fn is_cached_within(&self, limit: Duration) -> Result<(), String> {
        let begin = self.hits().await?;
        let end = Instant::now() + limit;
        loop {
            let now = self.hits().await?;
            if now[0] > begin[0] && now[1] > begin[1] {
                return Ok(());
            }
            self.holds(end, "the shared cache is not used").await?;
        }
    }

    async fn hits(&self) -> Result<[u64; 2], String> {
        let failed = |error: std::io::Error| error.to_string();
        let [one, other] = &self.house.services;
        Ok([
            one.measure(SHARED_HITS).await.map_err(failed)?,
            other.measure(SHARED_HITS).await.map_err(failed)?,
        ])
    }

    /// A moment passes, in which no client gives up.
    async fn holds(&self, end: Instant, otherwise: &str) -> Result<(), String> {
        if Instant::now() > end || self.clients.iter().any(JoinHandle::is_finished) {
            return Err(otherwise.to_owned());
        }
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    }

    async fn finish(self) -> Result<u32, String> {
        self.house.stop.store(true, Ordering::Release);
        for client in self.clients {
            client.await.map_err(|error| error.to_string())??;
        }
        Ok(self.house.writes.load(Ordering::Acquire))
    }
}

/// Writes, reads through the same service, which must have it at once, and through the other, which
/// must have it soon and never anything older afterwards; again and again.
async fn write_and_read(house: Arc<House>, client: usize) -> Result<(), String> {
    for number in 0_u32.. {
        if house.stop.load(Ordering::Acquire) {
            break;
        }
        let [one, other] = &house.services;
        let (writer, reader) = match number % 2 {
            0 => (one, other),
            _ => (other, one),
        };
        let path = format!("/v1/states/task/{client}-{}", number % 3);
        let text = format!("number {number}");
        let (status, answer) = in_time(writer.put(&path, &text)).await?;
        if status != 200 {
            return Err(format!("write {number}: {status}: {answer}"));
        }
        let written = Instant::now();
        reads(writer, &path, &text).await?;
        while read(reader, &path).await? != text {
            if written.elapsed() > FRESH {
                return Err(format!("{text:?} is not read within {FRESH:?}"));
            }
            // sleep: the pause between two reads
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for _ in 0..3 {
            reads(reader, &path, &text).await?;
            reads(writer, &path, &text).await?;
        }
        house.writes.fetch_add(1, Ordering::AcqRel);
    }
    Ok(())
}

async fn reads(service: &Process, path: &str, expected: &str) -> Result<(), String> {
    let read = read(service, path).await?;
    match read == expected {
        true => Ok(()),
        false => Err(format!("{read:?} is read after {expected:?}")),
    }
}

async fn read(service: &Process, path: &str) -> Result<String, String> {
    Ok(in_time(service.get(path)).await?.1)
}

async fn in_time<T>(answer: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    let answer = tokio::time::timeout(ANSWER, answer).await;
    let answer = answer.map_err(|_| format!("no answer within {ANSWER:?}"))?;
    answer.map_err(|error| error.to_string())
}
