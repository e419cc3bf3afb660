//! The engine inside one process: groups, failing jobs, counters, wake-ups, closing, opening.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::Connection;
use statehouse_sqlite::engine::{
    Channel, Counter, Engine, EngineError, EngineOptions, Schema, Synchronous, Tx, Woken,
};
use tempfile::TempDir;

const SCHEMA: Schema = Schema {
    application_id: 77,
    steps: &[&["CREATE TABLE item (id INTEGER PRIMARY KEY, data BLOB)"]],
};
const COUNT: Counter = Counter::new(1, 7);

/// A directory with a database file to be.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("test.db")
    }

    async fn open(&self) -> Engine {
        self.try_open(EngineOptions::default(), SCHEMA)
            .await
            .unwrap()
    }

    async fn try_open(
        &self,
        options: EngineOptions,
        schema: Schema,
    ) -> Result<Engine, EngineError> {
        Engine::open(self.path(), options, schema).await
    }
}

fn insert(tx: &Tx<'_>, id: i64) -> Result<i64, EngineError> {
    tx.prepare_cached("INSERT INTO item (id) VALUES (?1)")?
        .execute([id])?;
    tx.add(COUNT, 1);
    Ok(id)
}

async fn ids(engine: &Engine) -> Vec<i64> {
    engine
        .read(|connection| {
            let mut select = connection.prepare_cached("SELECT id FROM item ORDER BY id")?;
            let ids = select
                .query_map((), |row| row.get(0))?
                .collect::<Result<Vec<_>, _>>();
            Ok::<_, EngineError>(ids?)
        })
        .await
        .unwrap()
}

async fn count(engine: &Engine) -> i64 {
    engine
        .read(|connection| Ok::<_, EngineError>(COUNT.read(connection)?))
        .await
        .unwrap()
}

fn refused() -> EngineError {
    EngineError::Sqlite {
        code: 1,
        message: "refused".to_owned(),
    }
}

/// Holds the writer inside a job until the returned sender is dropped, so that what is submitted
/// meanwhile becomes one group.
fn hold(engine: &Engine) -> std::sync::mpsc::Sender<()> {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (entered, inside) = std::sync::mpsc::channel();
    engine
        .submit(move |_| {
            let _ = entered.send(());
            let _ = released.recv();
            Ok::<_, EngineError>(())
        })
        .unwrap();
    inside.recv().unwrap();
    release
}

#[tokio::test]
async fn a_read_sees_what_was_acknowledged() {
    let place = Place::new();
    let engine = place.open().await;
    assert_eq!(engine.write(|tx| insert(tx, 3)).await, Ok(3));
    assert_eq!(ids(&engine).await, [3]);
}

#[tokio::test]
async fn a_group_runs_each_job_once_in_order_and_shares_its_time() {
    let place = Place::new();
    let engine = place.open().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let gate = hold(&engine);
    let receipts: Vec<_> = (0..100)
        .map(|id| {
            let runs = Arc::clone(&runs);
            engine
                .submit(move |tx| {
                    insert(tx, id)?;
                    let turn = runs.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, EngineError>((turn, tx.now(), tx.counter(COUNT)?))
                })
                .unwrap()
        })
        .collect();
    drop(gate);
    let mut times = Vec::new();
    for (place, receipt) in receipts.into_iter().enumerate() {
        let (turn, now, count) = receipt.await.unwrap();
        assert_eq!(turn, place);
        assert_eq!(count, i64::try_from(place).unwrap() + 1);
        times.push(now);
    }
    assert!(times.is_sorted());
    times.dedup();
    assert_eq!(times.len(), 1, "one group has one time");
    assert_eq!(runs.load(Ordering::Relaxed), 100);
}

#[tokio::test]
async fn a_group_syncs_if_one_of_its_callers_asks_for_it() {
    const NORMAL: i64 = 1;
    const FULL: i64 = 2;
    let place = Place::new();
    let engine = place.open().await;
    let level = |tx: &Tx<'_>| {
        let level = tx.pragma_query_value(None, "synchronous", |row| row.get(0));
        Ok::<i64, EngineError>(level?)
    };
    assert_eq!(engine.write(level).await, Ok(FULL));
    assert_eq!(engine.write_relaxed(level).await, Ok(NORMAL));
    let gate = hold(&engine);
    let durable = engine.submit(level).unwrap();
    let relaxed = tokio::spawn({
        let engine = engine.clone();
        async move { engine.write_relaxed(level).await }
    });
    tokio::task::yield_now().await;
    drop(gate);
    assert_eq!(durable.await, Ok(FULL));
    assert_eq!(relaxed.await.unwrap(), Ok(FULL));

    let options = EngineOptions {
        synchronous: Synchronous::Normal,
        ..EngineOptions::default()
    };
    let place = Place::new();
    let engine = place.try_open(options, SCHEMA).await.unwrap();
    assert_eq!(engine.write(level).await, Ok(NORMAL));
}

#[tokio::test]
async fn a_job_refused_before_writing_costs_the_others_nothing() {
    let place = Place::new();
    let engine = place.open().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let gate = hold(&engine);
    let good: Vec<_> = (0..50)
        .map(|id| {
            let runs = Arc::clone(&runs);
            let refusal = engine
                .submit(|tx| {
                    tx.add(COUNT, 1000);
                    tx.notify(Channel::of("never"));
                    Err::<(), _>(refused())
                })
                .unwrap();
            let receipt = engine
                .submit(move |tx| {
                    runs.fetch_add(1, Ordering::Relaxed);
                    insert(tx, id)
                })
                .unwrap();
            (receipt, refusal)
        })
        .collect();
    drop(gate);
    for (receipt, refusal) in good {
        assert!(receipt.await.is_ok());
        assert_eq!(refusal.await, Err(refused()));
    }
    assert_eq!(runs.load(Ordering::Relaxed), 50, "no job ran twice");
    assert_eq!(count(&engine).await, 50, "a refused job counts nothing");
}

/// What a bad job does after it has written.
#[derive(Debug, Clone, Copy)]
enum Bad {
    Refuses,
    BreaksAConstraint,
    Panics,
    EndsTheTransaction,
}

fn misbehave(tx: &Tx<'_>, id: i64, how: Bad) -> Result<i64, EngineError> {
    insert(tx, id)?;
    match how {
        Bad::Refuses => Err(refused()),
        Bad::BreaksAConstraint => insert(tx, id),
        Bad::Panics => panic!("job {id} panics"),
        Bad::EndsTheTransaction => {
            tx.execute("INSERT OR ROLLBACK INTO item (id) VALUES (?1)", [id])?;
            Ok(id)
        }
    }
}

#[tokio::test]
async fn a_job_that_fails_after_writing_fails_alone() {
    for how in [
        Bad::Refuses,
        Bad::BreaksAConstraint,
        Bad::Panics,
        Bad::EndsTheTransaction,
    ] {
        let place = Place::new();
        let engine = place.open().await;
        let gate = hold(&engine);
        let receipts: Vec<_> = (0..40)
            .map(|id| {
                let bad = id % 8 == 5;
                let job = move |tx: &Tx<'_>| {
                    if bad {
                        misbehave(tx, id, how)
                    } else {
                        insert(tx, id)
                    }
                };
                (id, bad, engine.submit(job).unwrap())
            })
            .collect();
        drop(gate);
        for (id, bad, receipt) in receipts {
            let result = receipt.await;
            assert_eq!(result.is_err(), bad, "{how:?} {id}: {result:?}");
            match (how, result) {
                (Bad::Panics, Err(error)) => {
                    assert_eq!(error, EngineError::Panicked(format!("job {id} panics")));
                }
                (Bad::Refuses, Err(error)) => assert_eq!(error, refused()),
                _ => {}
            }
        }
        let expected: Vec<i64> = (0..40).filter(|id| id % 8 != 5).collect();
        assert_eq!(ids(&engine).await, expected, "{how:?}");
        assert_eq!(count(&engine).await, 35, "{how:?}");
    }
}

#[tokio::test]
async fn a_removed_counter_is_back_when_the_job_fails() {
    let place = Place::new();
    let engine = place.open().await;
    let gate = hold(&engine);
    let first = engine.submit(|tx| insert(tx, 1)).unwrap();
    let removal = engine
        .submit(|tx| {
            tx.remove_counter(COUNT)?;
            tx.add(COUNT, 9);
            insert(tx, 2)?;
            Err::<(), _>(refused())
        })
        .unwrap();
    drop(gate);
    first.await.unwrap();
    assert_eq!(removal.await, Err(refused()));
    assert_eq!(count(&engine).await, 1);
    engine
        .write(|tx| Ok::<_, EngineError>(tx.remove_counter(COUNT)?))
        .await
        .unwrap();
    assert_eq!(count(&engine).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_stored_is_exactly_what_was_accepted() {
    let place = Place::new();
    let engine = place.open().await;
    let tasks: Vec<_> = (0..32_i64)
        .map(|task| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let mut accepted = Vec::new();
                let mut random = u64::try_from(task).unwrap() + 1;
                for turn in 0..60 {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let (id, choice) = (task * 1000 + turn, random >> 33);
                    let how = [Bad::Refuses, Bad::BreaksAConstraint, Bad::Panics];
                    let result = engine
                        .write(move |tx| match choice % 16 {
                            0 => misbehave(tx, id, how[usize::try_from(choice).unwrap() % 3]),
                            1..4 => Err(refused()),
                            _ => insert(tx, id),
                        })
                        .await;
                    assert_eq!(result.is_ok(), choice % 16 >= 4);
                    accepted.extend(result);
                }
                accepted
            })
        })
        .collect();
    let mut accepted = Vec::new();
    for task in tasks {
        accepted.extend(task.await.unwrap());
    }
    accepted.sort_unstable();
    assert_eq!(count(&engine).await, i64::try_from(accepted.len()).unwrap());
    assert_eq!(ids(&engine).await, accepted);
}

#[tokio::test]
async fn dropping_the_future_does_not_undo_the_job() {
    let place = Place::new();
    let engine = place.open().await;
    let gate = hold(&engine);
    drop(engine.submit(|tx| insert(tx, 1)).unwrap());
    drop(gate);
    engine.write(|tx| insert(tx, 2)).await.unwrap();
    assert_eq!(ids(&engine).await, [1, 2]);
}

fn soon() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(20)
}

#[tokio::test]
async fn a_commit_wakes_its_channels_and_no_others() {
    let place = Place::new();
    let engine = place.open().await;
    let mut touched = engine.listen(&[Channel::of("other"), Channel::of("ready")]);
    let mut untouched = engine.listen(&[Channel::of("elsewhere")]);
    let waiting = tokio::spawn(async move { touched.wait(soon()).await });
    engine
        .write(|tx| {
            tx.notify(Channel::of("ready"));
            insert(tx, 1)
        })
        .await
        .unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(Woken::Notified));
    let brief = tokio::time::Instant::now() + Duration::from_millis(30);
    assert_eq!(untouched.wait(brief).await, Ok(Woken::Elapsed));
}

#[tokio::test]
async fn a_commit_between_listening_and_waiting_is_not_missed() {
    let place = Place::new();
    let engine = place.open().await;
    let mut listener = engine.listen(&[Channel::of(&("ready", 5))]);
    engine
        .write(|tx| {
            tx.notify(Channel::of(&("ready", 5)));
            insert(tx, 1)
        })
        .await
        .unwrap();
    assert_eq!(listener.wait(soon()).await, Ok(Woken::Notified));
}

#[tokio::test]
async fn work_for_one_wakes_one_and_is_passed_on_by_who_leaves() {
    let place = Place::new();
    let engine = place.open().await;
    let ready = Channel::of("ready");
    let (woken, mut wakes) = tokio::sync::mpsc::unbounded_channel();
    let (leave, _) = tokio::sync::broadcast::channel::<()>(1);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let mut listener = engine.listen(&[ready]);
            let (woken, mut leave) = (woken.clone(), leave.subscribe());
            tokio::spawn(async move {
                listener.wait(soon()).await.unwrap();
                woken.send(()).unwrap();
                // Leaves without having looked.
                let _ = leave.recv().await;
            })
        })
        .collect();
    let notify = |times: usize| {
        engine.write(move |tx| {
            (0..times).for_each(|_| tx.notify_one(ready));
            Ok::<_, EngineError>(())
        })
    };
    let brief = Duration::from_millis(30);
    notify(1).await.unwrap();
    wakes.recv().await.unwrap();
    assert!(
        tokio::time::timeout(brief, wakes.recv()).await.is_err(),
        "one was enough"
    );
    notify(2).await.unwrap();
    wakes.recv().await.unwrap();
    wakes.recv().await.unwrap();
    assert!(
        tokio::time::timeout(brief, wakes.recv()).await.is_err(),
        "two were enough"
    );
    // Each that leaves wakes the next, down to the last.
    drop(leave);
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_with_those_who_give_up() {
    const MESSAGES: i64 = 400;
    let place = Place::new();
    let engine = place.open().await;
    let ready = Channel::of("ready");
    let (took, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let steady = tokio::spawn({
        let engine = engine.clone();
        async move {
            let mut listener = engine.listen(&[ready]);
            let mut rest = MESSAGES;
            while rest > 0 {
                let take = |tx: &Tx<'_>| {
                    let take = "DELETE FROM item WHERE id = (SELECT min(id) FROM item)";
                    Ok::<_, EngineError>(tx.execute(take, ())?)
                };
                match engine.write_relaxed(take).await.unwrap() {
                    0 => assert_eq!(listener.wait(soon()).await, Ok(Woken::Notified)),
                    _ => {
                        rest -= 1;
                        took.send(()).unwrap();
                    }
                }
            }
        }
    });
    let fickle = tokio::spawn({
        let engine = engine.clone();
        async move {
            loop {
                let mut listener = engine.listen(&[ready]);
                let brief = Duration::from_micros(300);
                let _ = tokio::time::timeout(brief, listener.wait(soon())).await;
            }
        }
    });
    for id in 0..MESSAGES {
        let put = move |tx: &Tx<'_>| {
            tx.notify_one(ready);
            insert(tx, id)
        };
        engine.write_relaxed(put).await.unwrap();
        if taken.recv().await.is_none() {
            break;
        }
    }
    steady.await.unwrap();
    fickle.abort();
}

#[tokio::test]
async fn a_commit_by_somebody_else_wakes_a_listener() {
    let place = Place::new();
    let engine = place.open().await;
    let other = Connection::open(place.path()).unwrap();
    for turn in 0..3 {
        let mut listener = engine.listen(&[Channel::of("ready")]);
        let waiting = tokio::spawn(async move { listener.wait(soon()).await });
        other
            .execute("INSERT INTO item (id) VALUES (?1)", [turn])
            .unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(Woken::Notified));
    }
}

#[tokio::test]
async fn close_finishes_what_was_accepted_and_ends_what_waits() {
    let place = Place::new();
    let engine = place.open().await;
    let gate = hold(&engine);
    let receipts: Vec<_> = (0..200)
        .map(|id| engine.submit(move |tx| insert(tx, id)).unwrap())
        .collect();
    let mut listener = engine.listen(&[Channel::of("ready")]);
    let waiting = tokio::spawn(async move { listener.wait(soon()).await });
    let closing = tokio::spawn({
        let engine = engine.clone();
        async move { engine.close().await }
    });
    drop(gate);
    closing.await.unwrap();
    for receipt in receipts {
        receipt.await.unwrap();
    }
    assert_eq!(waiting.await.unwrap(), Err(EngineError::Closed));
    assert_eq!(
        engine.write(|tx| insert(tx, 900)).await,
        Err(EngineError::Closed)
    );
    assert_eq!(
        engine.read(|_| Ok::<_, EngineError>(())).await,
        Err(EngineError::Closed)
    );
    engine.close().await;

    assert!(
        !fs::exists(place.path().with_extension("db-wal")).unwrap(),
        "the log is gone"
    );
    assert_eq!(ids(&place.open().await).await.len(), 200);
}

#[tokio::test]
async fn handles_of_one_file_share_it_until_the_last_is_closed() {
    let place = Place::new();
    let first = place.open().await;
    let second = place.open().await;
    assert_eq!(first.path(), second.path());
    first.close().await;
    assert!(first.is_closed() && !second.is_closed());
    second.write(|tx| insert(tx, 1)).await.unwrap();
    drop(second);
    assert_eq!(
        ids(&place.open().await).await,
        [1],
        "a new handle opens the file anew"
    );

    let held = place.open().await;
    let options = EngineOptions {
        synchronous: Synchronous::Normal,
        ..EngineOptions::default()
    };
    let error = place.try_open(options, SCHEMA).await.unwrap_err();
    assert!(
        matches!(error, EngineError::OptionsDiffer { .. }),
        "{error}"
    );
    held.close().await;
}

#[tokio::test]
async fn a_full_disk_fails_the_write_and_nothing_else() {
    let place = Place::new();
    let engine = place.open().await;
    let limit = |pages: i64| {
        engine.write(move |tx| {
            let set = format!("PRAGMA max_page_count = {pages}");
            Ok::<i64, EngineError>(tx.query_row(&set, (), |row| row.get(0))?)
        })
    };
    limit(64).await.unwrap();
    let gate = hold(&engine);
    let receipts: Vec<_> = (0..12)
        .map(|id| {
            let size = if id % 3 == 1 { 400_000 } else { 10 };
            let job = move |tx: &Tx<'_>| {
                insert(tx, id)?;
                tx.execute(
                    "UPDATE item SET data = zeroblob(?2) WHERE id = ?1",
                    (id, size),
                )?;
                Ok::<_, EngineError>(id)
            };
            engine.submit(job).unwrap()
        })
        .collect();
    drop(gate);
    for (id, receipt) in receipts.into_iter().enumerate() {
        let result = receipt.await;
        let expected = if id % 3 == 1 {
            Err(EngineError::Full)
        } else {
            Ok(())
        };
        assert_eq!(result.map(|_| ()), expected, "{id}");
    }
    assert_eq!(ids(&engine).await, [0, 2, 3, 5, 6, 8, 9, 11]);
    limit(1_000_000).await.unwrap();
    engine
        .write(|tx| {
            Ok::<_, EngineError>(tx.execute("UPDATE item SET data = zeroblob(400000)", ())?)
        })
        .await
        .unwrap();
    assert_eq!(count(&engine).await, 8);
}

#[tokio::test]
async fn a_lock_held_too_long_is_busy_and_then_over() {
    let place = Place::new();
    let options = EngineOptions {
        busy_timeout: Duration::from_millis(80),
        ..EngineOptions::default()
    };
    let engine = place.try_open(options, SCHEMA).await.unwrap();
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let result = engine.write(|tx| insert(tx, 1)).await;
    let Err(EngineError::Busy { waited }) = result else {
        panic!("{result:?}")
    };
    assert!(waited >= Duration::from_millis(80) && begun.elapsed() < Duration::from_secs(10));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(engine.write(|tx| insert(tx, 1)).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_stays_small_under_load() {
    let place = Place::new();
    let options = EngineOptions {
        synchronous: Synchronous::Normal,
        ..EngineOptions::default()
    };
    let engine = place.try_open(options, SCHEMA).await.unwrap();
    let tasks: Vec<_> = (0..64_i64)
        .map(|task| {
            let engine = engine.clone();
            tokio::spawn(async move {
                for turn in 0..160 {
                    let id = task * 1000 + turn;
                    let job = move |tx: &Tx<'_>| {
                        tx.execute("INSERT INTO item VALUES (?1, zeroblob(8000))", [id])?;
                        Ok::<_, EngineError>(())
                    };
                    engine.write(job).await.unwrap();
                    if turn % 50 == 0 {
                        assert!(!ids(&engine).await.is_empty());
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let log = fs::metadata(place.path().with_extension("db-wal"))
        .unwrap()
        .len();
    assert!(log < 64_000_000, "the log grew to {log} bytes");
    engine.close().await;
    let size = fs::metadata(place.path()).unwrap().len();
    assert!(size > 80_000_000, "only {size} bytes went through the log");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_says_why() {
    let place = Place::new();
    let directory = place.directory.path().to_owned();
    let open = |path: PathBuf| Engine::open(path, EngineOptions::default(), SCHEMA);

    let error = open(directory.join("no/such/test.db")).await.unwrap_err();
    assert_eq!(
        error,
        EngineError::MissingDirectory(directory.join("no/such"))
    );
    assert!(
        error.to_string().contains("no/such does not exist"),
        "{error}"
    );

    let error = open(directory.clone()).await.unwrap_err();
    assert!(matches!(error, EngineError::NotAFile(_)), "{error}");

    fs::write(
        directory.join("text.db"),
        "no database, but long enough\n".repeat(99),
    )
    .unwrap();
    let error = open(directory.join("text.db")).await.unwrap_err();
    assert!(matches!(error, EngineError::NotADatabase(_)), "{error}");

    let foreign = Connection::open(directory.join("foreign.db")).unwrap();
    foreign
        .execute_batch("CREATE TABLE theirs (id); PRAGMA application_id = 5")
        .unwrap();
    let error = open(directory.join("foreign.db")).await.unwrap_err();
    assert!(
        matches!(
            error,
            EngineError::Foreign {
                application_id: 5,
                ..
            }
        ),
        "{error}"
    );
    let mode: String = foreign
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "delete", "a refused file is left as it was");

    let error = open(PathBuf::from("/proc/statehouse.db"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            EngineError::ReadOnly(_) | EngineError::CannotOpen { .. }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_schema_is_brought_up_to_date_and_never_down() {
    const TWO: Schema = Schema {
        application_id: 77,
        steps: &[
            SCHEMA.steps[0],
            &["ALTER TABLE item ADD COLUMN more TEXT DEFAULT 'new'"],
        ],
    };
    let place = Place::new();
    let engine = place.open().await;
    engine.write(|tx| insert(tx, 1)).await.unwrap();
    engine.close().await;

    let engine = place.try_open(EngineOptions::default(), TWO).await.unwrap();
    let more = engine
        .read(|connection| {
            let select = "SELECT more FROM item WHERE id = 1";
            Ok::<String, EngineError>(connection.query_row(select, (), |row| row.get(0))?)
        })
        .await;
    assert_eq!(more, Ok("new".to_owned()));
    engine.close().await;

    let error = place
        .try_open(EngineOptions::default(), SCHEMA)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            EngineError::NewerSchema {
                found: 2,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_failing_schema_step_leaves_the_file_as_it_was() {
    const BROKEN: Schema = Schema {
        application_id: 77,
        steps: &[
            SCHEMA.steps[0],
            &["CREATE TABLE half (id)", "CREATE TABLE item (id)"],
        ],
    };
    let place = Place::new();
    place.open().await.close().await;
    let error = place
        .try_open(EngineOptions::default(), BROKEN)
        .await
        .unwrap_err();
    assert!(matches!(error, EngineError::Sqlite { .. }), "{error}");
    let engine = place.open().await;
    engine.write(|tx| insert(tx, 1)).await.unwrap();
    assert_eq!(ids(&engine).await, [1]);
}

#[tokio::test]
async fn a_snapshot_sees_one_state() {
    let place = Place::new();
    let engine = place.open().await;
    engine.write(|tx| insert(tx, 1)).await.unwrap();
    let (entered, inside) = tokio::sync::oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let reading = tokio::spawn({
        let engine = engine.clone();
        async move {
            let read = move |connection: &Connection| {
                let count = || {
                    let select = "SELECT count(*) FROM item";
                    connection.query_row(select, (), |row| row.get::<_, i64>(0))
                };
                let before = count()?;
                let _ = entered.send(());
                let _ = released.recv();
                Ok::<_, EngineError>((before, count()?))
            };
            engine.snapshot(read).await
        }
    });
    inside.await.unwrap();
    engine.write(|tx| insert(tx, 2)).await.unwrap();
    drop(release);
    assert_eq!(reading.await.unwrap(), Ok((1, 1)));
}

#[tokio::test]
async fn a_read_that_panics_or_writes_fails_and_frees_its_connection() {
    let place = Place::new();
    let options = EngineOptions {
        readers: 1,
        ..EngineOptions::default()
    };
    let engine = place.try_open(options, SCHEMA).await.unwrap();
    let panicked = engine
        .snapshot(|_| -> Result<(), EngineError> { panic!("a read panics") })
        .await;
    assert_eq!(
        panicked,
        Err(EngineError::Panicked("a read panics".to_owned()))
    );
    let wrote = engine
        .read(|connection| Ok::<_, EngineError>(connection.execute("DELETE FROM item", ())?))
        .await;
    assert!(wrote.is_err(), "{wrote:?}");
    engine.write(|tx| insert(tx, 1)).await.unwrap();
    assert_eq!(ids(&engine).await, [1]);
}
