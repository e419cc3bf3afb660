//! What the whole service does on real servers: processes of the real program, with RocketMQ for
//! messages and Redis, in DragonflyDB's place, for what is kept.

mod process;
mod secrets;
mod shared_cache;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;
use statehouse_contracts::{
    ConsumerExt, ContentType, Endpoint, GroupName, GroupSpec, Pattern, Principal, PutContent,
    Scope, StateKey, StateManagerExt, Transaction, Write,
};
use statehouse_integration_tests::{Outcome, Server, Service, Tests, cases};
use statehouse_runtime::adapters::registry;

use self::process::{Process, statehouse};
use self::secrets::no_secret_shows_anywhere;
use self::shared_cache::reads_stay_right_without_the_shared_cache;

/// How many reads a service has answered from its cache.
const HITS: &str = "statehouse_cache_hits_total";

/// Set in processes that are to be `statehouse` itself.
const AS_STATEHOUSE: &str = "SCENARIO_RUNS_STATEHOUSE";

/// How soon what one service wrote is read through another, on a busy machine, also while the broker
/// is away. Otherwise it is milliseconds.
const FRESH: Duration = Duration::from_secs(5);

/// The same right after the broker came back: at the latest in this time everybody works again.
const BACK: Duration = Duration::from_secs(10);

/// How long anything else may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker in Java is started, perhaps twice, on a busy machine.
const LIMIT: Duration = Duration::from_secs(900);

/// The services are processes of this program: so the tests need no other binary, and it has the
/// features that they need.
fn main() -> ExitCode {
    if env::var_os(AS_STATEHOUSE).is_some() {
        return statehouse_runtime::cli::main(statehouse_runtime::serve::serve);
    }
    let on_redis = Tests::on("redis").with(cases![reads_stay_right_without_the_shared_cache]);
    Tests::on("rocketmq")
        .with(cases![
            no_secret_shows_anywhere,
            state_in_a_file_with_events_and_references_elsewhere,
            caches_stay_right_through_a_restart_of_the_broker,
            replayed_runs_read_back_equal_and_add_nothing_the_second_time,
        ])
        .and(on_redis)
        .at_once(1)
        .within(LIMIT)
        .main()
}

async fn redis() -> Result<Server, statehouse_contracts::Error> {
    Server::start(Service::named("redis")?).await
}

/// State in SQLite, events over RocketMQ, references in Redis: each lies where the configuration
/// says, and no event is missing although the broker was away when it was made.
async fn state_in_a_file_with_events_and_references_elsewhere(
    service: &'static Service,
) -> Outcome {
    let (redis, broker) = (redis().await?, Server::start(service).await?);
    let process = Process::start(&format!(
        "[backends]\ndefault = \"sqlite:statehouse.db\"\nmessages = {:?}\nreferences = {:?}\n",
        broker.url(),
        redis.url()
    ))
    .await?;
    let scope = Scope::new("default".parse()?, Principal::new("scenario")?);
    let house = process.connect().await?;
    let state = house.state(&scope).await?;

    // Events, heard from the broker itself.
    let direct = registry().open(&Endpoint::parse(broker.url())?).await?;
    let consumer = direct.consumer(&scope).await?;
    let group = GroupName::new("events")?;
    let spec = GroupSpec::new(Pattern::new("state.task.#")?);
    consumer.declare(&group, &spec).await?;
    let key = |number: u32| StateKey::parse("task", &number.to_string());
    let write = async |number: u32| {
        let write = Write::put(key(number)?, format!("state {number}"), ContentType::TEXT);
        state.apply(Transaction::of(write)).await
    };
    for number in 0..5 {
        write(number).await?;
    }
    broker.kill().await?;
    for number in 5..10 {
        write(number).await?;
    }
    broker.restart().await?;
    let mut heard: Vec<String> = Vec::new();
    let end = Instant::now() + PATIENCE;
    while heard.len() < 10 {
        if Instant::now() > end {
            return Err(format!("events are missing; there are {heard:?}").into());
        }
        let received = consumer.receive_one(&group, Duration::from_secs(1)).await;
        if let Ok(Some(delivery)) = received {
            let topic = delivery.message().topic.to_string();
            if !heard.contains(&topic) {
                heard.push(topic);
            }
            consumer.ack(&delivery).await?;
        }
    }

    // References.
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let put = PutContent::new(content.clone());
    let kept = house.references(&scope).await?.put(put).await?;
    let direct = registry().open(&Endpoint::parse(redis.url())?).await?;
    let found = direct
        .references(&scope)
        .await?
        .resolve(&kept.reference.id)
        .await?;
    if found.bytes != content {
        return Err("the content in Redis is another".into());
    }

    // State, read from the file when nobody else has it.
    house.close().await?;
    let file = process.folder.path().join("statehouse.db");
    let url = format!("sqlite:{}", file.display());
    let file = registry().open(&Endpoint::parse(&url)?).await?;
    let stored = file.state(&scope).await?.get(&key(9)?).await?;
    if stored.is_none_or(|record| record.data != "state 9") {
        return Err("the state in the file is another".into());
    }
    file.close().await?;
    Ok(())
}

/// Two services on the same stores. Whatever is cached for ever would be seen: the cache's own time
/// is longer than the test.
async fn two_services(broker: &Server, redis: &Server) -> Result<[Process; 2], String> {
    let config = format!(
        "[backends]\ndefault = {:?}\nmessages = {:?}\n[state]\ncache_ttl = \"1h\"\n",
        redis.url(),
        broker.url()
    );
    Ok([
        Process::start(&config).await?,
        Process::start(&config).await?,
    ])
}

async fn caches_stay_right_through_a_restart_of_the_broker(service: &'static Service) -> Outcome {
    let (redis, broker) = (redis().await?, Server::start(service).await?);
    let services = two_services(&broker, &redis).await?;
    let mut number = 0;
    let before = until_cached(&services, &mut number, FRESH).await?;

    broker.kill().await?;
    let mut away = Duration::ZERO;
    for _ in 0..20 {
        away = away.max(write_and_read(&services, &mut number, FRESH).await?);
    }
    broker.restart().await?;
    let after = until_cached(&services, &mut number, BACK).await?;
    eprintln!(
        "{number} writes were read through the other service within {before:?} before, {away:?} \
         while the broker was away, {after:?} after"
    );
    Ok(())
}

/// Writes and reads until both services have answered from their caches; the longest that a read
/// was old.
async fn until_cached(
    services: &[Process; 2],
    number: &mut u32,
    fresh: Duration,
) -> Result<Duration, String> {
    let hits = async || -> std::io::Result<[u64; 2]> {
        Ok([
            services[0].measure(HITS).await?,
            services[1].measure(HITS).await?,
        ])
    };
    let text = |error: std::io::Error| error.to_string();
    let begin = hits().await.map_err(text)?;
    let (end, mut longest) = (Instant::now() + PATIENCE, Duration::ZERO);
    loop {
        for _ in 0..20 {
            longest = longest.max(write_and_read(services, number, fresh).await?);
        }
        let now = hits().await.map_err(text)?;
        if now[0] > begin[0] && now[1] > begin[1] {
            return Ok(longest);
        }
        if Instant::now() > end {
            return Err(format!("the caches are not used: {begin:?}, then {now:?}"));
        }
    }
}

/// Writes through one service, and reads through the other until it has it, within `fresh`; then it
/// must have it.
async fn write_and_read(
    services: &[Process; 2],
    number: &mut u32,
    fresh: Duration,
) -> Result<Duration, String> {
    *number += 1;
    let (writer, reader) = match *number % 2 {
        0 => (&services[0], &services[1]),
        _ => (&services[1], &services[0]),
    };
    let path = format!("/v1/states/task/{}", *number % 3);
    let text = format!("number {number}");
    let failed = |error: std::io::Error| error.to_string();
    let (status, answer) = writer.put(&path, &text).await.map_err(failed)?;
    if status != 200 {
        return Err(format!("write {number}: {status}: {answer}"));
    }
    let (_, own) = writer.get(&path).await.map_err(failed)?;
    if own != text {
        return Err(format!("the writer reads {own:?}, and not {text:?}"));
    }
    let written = Instant::now();
    loop {
        let (_, read) = reader.get(&path).await.map_err(failed)?;
        if read == text {
            break;
        }
        if written.elapsed() > fresh {
            return Err(format!(
                "after {fresh:?} {read:?} is read, and not {text:?}"
            ));
        }
        // sleep: the pause between two reads
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let old = written.elapsed();
    for _ in 0..3 {
        let (_, read) = reader.get(&path).await.map_err(failed)?;
        if read != text {
            return Err(format!("{read:?} is read again after {text:?}"));
        }
    }
    Ok(old)
}

async fn replayed_runs_read_back_equal_and_add_nothing_the_second_time(
    service: &'static Service,
) -> Outcome {
    let (redis, broker) = (redis().await?, Server::start(service).await?);
    let services = two_services(&broker, &redis).await?;
    let first = replay(&services[0]).await?;
    for name in ["states", "versions", "events", "tasks", "inline_bytes"] {
        if first["total"][name].as_u64().unwrap_or_default() == 0 {
            return Err(format!("the first replay adds no {name}: {}", first["total"]).into());
        }
    }
    let second = replay(&services[1]).await?;
    let added = second["total"].as_object();
    if !added.is_some_and(|added| added.values().all(|number| *number == 0)) {
        return Err(format!("the second replay adds {}", second["total"]).into());
    }
    eprintln!("replayed: {}", first["total"]);
    Ok(())
}

/// Replays through a service; the report of a replay that read everything back equal.
async fn replay(process: &Process) -> Result<Value, String> {
    let mut command = statehouse(process.folder.path(), &["--json", "replay"]);
    command.args(recordings()?);
    command.env("STATEHOUSE_URL", format!("http://{}", process.address));
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let report: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let equal = |run: &Value| run["difference"].is_null();
    let runs = report["runs"].as_array();
    if !runs.is_some_and(|runs| runs.iter().all(equal))
        || report["event_problems"] != Value::Array(Vec::new())
    {
        return Err(format!("it differs: {report}"));
    }
    Ok(report)
}

/// The most recorded runs that are replayed, the smallest.
const RECORDED: usize = 10;

/// The samples, and some of the recorded runs in the folder that `STATEHOUSE_TRAJECTORIES` names.
fn recordings() -> Result<Vec<PathBuf>, String> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/replay/samples");
    let mut files = runs_in(&samples)?;
    if let Some(recorded) = env::var_os("STATEHOUSE_TRAJECTORIES") {
        files.extend(runs_in(Path::new(&recorded))?.into_iter().take(RECORDED));
    }
    Ok(files)
}

/// The recorded runs of a folder, the smallest first.
fn runs_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.metadata().ok()?.len(), entry.path()))
        })
        .filter(|(_, path)| {
            path.extension()
                .is_some_and(|kind| kind == "traj" || kind == "jsonl")
        })
        .collect();
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}
