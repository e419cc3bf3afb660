//! The engine across processes: a crash at any moment, and several processes on one file.

use std::{
    collections::HashSet,
    env,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rusqlite::Connection;
use statehouse_sqlite::engine::{
    Channel, Counter, Engine, EngineError, EngineOptions, Schema, Tx, Woken,
};

/// The test that is started as the other process.
const TEST: &str = "processes::processes_share_a_file_from_its_creation";

const SCHEMA: Schema = Schema {
    application_id: 77,
    steps: &[&["CREATE TABLE item (id INTEGER PRIMARY KEY, task TEXT, turn INTEGER, data BLOB)"]],
};
const COUNT: Counter = Counter::new(1, 1);

async fn open(path: &Path) -> Engine {
    Engine::open(path, EngineOptions::default(), SCHEMA)
        .await
        .unwrap()
}

/// Every other put does without the sync; a kill must not take it either.
async fn put(engine: &Engine, task: String, turn: i64, bytes: u32) -> Result<(), EngineError> {
    let job = move |tx: &Tx<'_>| {
        tx.prepare_cached("INSERT INTO item (task, turn, data) VALUES (?1, ?2, zeroblob(?3))")?
            .execute((&task, turn, bytes))?;
        tx.add(COUNT, 1);
        Ok(())
    };
    match turn % 2 {
        0 => engine.write(job).await,
        _ => engine.write_relaxed(job).await,
    }
}

/// Puts from many tasks and says each acknowledged one on standard output; `turns` for each.
async fn write_and_tell(path: &Path, name: &str, turns: i64, bytes: u32) {
    let engine = open(path).await;
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let (engine, task) = (engine.clone(), format!("{name}.{task}"));
            tokio::spawn(async move {
                for turn in 0..turns {
                    put(&engine, task.clone(), turn, bytes).await.unwrap();
                    let mut out = io::stdout();
                    writeln!(out, "done {task} {turn}").unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    engine.close().await;
}

/// What the other process does, if this is one: it is in its environment.
async fn write_if_child() -> bool {
    let Ok(name) = env::var("CHILD_NAME") else {
        return false;
    };
    let path = env::var_os("CHILD_PATH").unwrap();
    let turns = env::var("CHILD_TURNS").unwrap().parse().unwrap();
    let bytes = env::var("CHILD_BYTES").unwrap().parse().unwrap();
    write_and_tell(Path::new(&path), &name, turns, bytes).await;
    true
}

fn start(path: &Path, name: &str, turns: i64, bytes: u32) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env("CHILD_PATH", path)
        .env("CHILD_NAME", name)
        .env("CHILD_TURNS", turns.to_string())
        .env("CHILD_BYTES", bytes.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The puts a process acknowledged. After `kill_after` of them it is killed.
fn acknowledged(mut child: Child, kill_after: usize) -> Vec<(String, i64)> {
    let mut done = Vec::new();
    let output = BufReader::new(child.stdout.take().unwrap());
    for line in output.lines() {
        let line = line.unwrap();
        // The first one shares its line with the test runner's own words.
        let Some((_, put)) = line.split_once("done ") else {
            continue;
        };
        // The kill may cut the last line.
        let Some((task, turn)) = put.split_once(' ') else {
            continue;
        };
        let Ok(turn) = turn.parse() else { continue };
        done.push((task.to_owned(), turn));
        if done.len() == kill_after {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    done
}

async fn stored(engine: &Engine) -> (Vec<(String, i64)>, i64) {
    engine
        .read(|connection| {
            let mut select = connection.prepare("SELECT task, turn FROM item ORDER BY id")?;
            let rows = select.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            Ok::<_, EngineError>((rows, COUNT.read(connection)?))
        })
        .await
        .unwrap()
}

/// Starts and kills writers on one file, and looks after each whether all is there.
async fn kill_again_and_again(kill_after: impl Iterator<Item = usize>, bytes: u32) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let mut expected = Vec::new();
    for (round, kill_after) in kill_after.enumerate() {
        let child = start(&path, &format!("round{round}"), i64::MAX, bytes);
        let done = acknowledged(child, kill_after);
        assert!(done.len() >= kill_after);
        expected.extend(done);

        let engine = open(&path).await;
        let (rows, count) = stored(&engine).await;
        assert_eq!(
            count,
            i64::try_from(rows.len()).unwrap(),
            "counters agree with the rows"
        );
        let rows: HashSet<_> = rows.into_iter().collect();
        for put in &expected {
            assert!(rows.contains(put), "round {round} lost {put:?}");
        }
        assert_eq!(integrity(&engine).await, "ok");
        engine.close().await;
    }
}

async fn integrity(engine: &Engine) -> String {
    let check = |connection: &Connection| {
        let verdict = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0));
        Ok::<_, EngineError>(verdict?)
    };
    engine.read(check).await.unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    kill_again_and_again((0..25).map(|round| 1 + round * 61), 10).await;
}

/// So much that the log is started over before the kill.
#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_while_the_log_turns_over() {
    kill_again_and_again([2_500, 3_100, 2_800].into_iter(), 16_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_a_file_from_its_creation() {
    if write_if_child().await {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let children = [start(&path, "a", 50, 10), start(&path, "b", 50, 10)];
    write_and_tell(&path, "c", 50, 10).await;
    for child in children {
        let done = tokio::task::spawn_blocking(|| acknowledged(child, usize::MAX));
        assert_eq!(done.await.unwrap().len(), 16 * 50);
    }
    let (rows, count) = stored(&open(&path).await).await;
    assert_eq!(rows.len(), 3 * 16 * 50);
    assert_eq!(count, 3 * 16 * 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_gets_its_turn_beside_a_busy_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let engine = open(&path).await;
    let mut listener = engine.listen(&[Channel::of("nothing of ours")]);
    let mut child = start(&path, "busy", i64::MAX, 10);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    assert_eq!(
        listener.wait(deadline).await,
        Ok(Woken::Notified),
        "the child's commit wakes"
    );
    let drain = child.stdout.take().unwrap();
    let drain =
        tokio::task::spawn_blocking(move || io::copy(&mut BufReader::new(drain), &mut io::sink()));
    for turn in 0..50 {
        put(&engine, "small".to_owned(), turn, 10).await.unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(drain.await.unwrap().unwrap() > 0);
    let (rows, _) = stored(&engine).await;
    assert_eq!(rows.iter().filter(|(task, _)| task == "small").count(), 50);
    assert!(rows.iter().any(|(task, _)| task.starts_with("busy")));
}
