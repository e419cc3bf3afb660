//! Groups of jobs: what is stored, what fails, and what it costs the others.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rusqlite::Connection;
use statehouse_sqlite::engine::{Channel, EngineError, EngineOptions, Synchronous, Tx};

use crate::common::{COUNT, Place, SCHEMA, count, hold, ids, insert, refused};

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
    // On a busy machine a group may reach its time limit, and the rest makes another.
    assert!(times.len() < 20, "{} times for 100 jobs", times.len());
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
    EndsItAndGoesOn,
}

fn misbehave(tx: &Tx<'_>, id: i64, how: Bad) -> Result<i64, EngineError> {
    insert(tx, id)?;
    match how {
        Bad::Refuses => Err(refused()),
        Bad::BreaksAConstraint => insert(tx, id),
        Bad::Panics => panic!("job {id} panics"),
        Bad::EndsItAndGoesOn => {
            let _ = tx.execute("INSERT OR ROLLBACK INTO item (id) VALUES (?1)", [id]);
            Ok(id)
        }
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
        Bad::EndsItAndGoesOn,
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

#[tokio::test]
async fn what_a_failed_job_read_is_forgotten() {
    let place = Place::new();
    let engine = place.open().await;
    engine.write(|tx| insert(tx, 1)).await.unwrap();
    let gate = hold(&engine);
    let failing = engine
        .submit(|tx| {
            tx.remove_counter(COUNT)?;
            assert_eq!(tx.counter(COUNT)?, 0);
            insert(tx, 2)?;
            Err::<u64, _>(refused())
        })
        .unwrap();
    let reader = engine
        .submit(|tx| Ok::<_, EngineError>((tx.epoch(), tx.counter(COUNT)?)))
        .unwrap();
    let same = engine
        .submit(|tx| Ok::<_, EngineError>((tx.epoch(), tx.counter(COUNT)?)))
        .unwrap();
    drop(gate);
    assert_eq!(failing.await, Err(refused()));
    let (epoch, value) = reader.await.unwrap();
    assert_eq!(value, 1);
    assert_eq!(same.await, Ok((epoch, 1)));
    let later = engine.write(|tx| Ok::<_, EngineError>(tx.epoch())).await;
    assert_ne!(later, Ok(epoch));
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

/// Writes a row for the jobs before it, and refuses where one of them has written item 13.
fn sum_up(tx: &Tx<'_>) -> Result<(), EngineError> {
    let (count, unlucky): (i64, bool) = tx
        .prepare_cached("SELECT count(*), coalesce(max(id = 13), 0) FROM item WHERE id < 100")?
        .query_row((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    tx.prepare_cached("INSERT OR IGNORE INTO item (id) VALUES (?1)")?
        .execute([100 + count])?;
    if unlucky { Err(refused()) } else { Ok(()) }
}

#[tokio::test]
async fn what_is_left_to_the_end_comes_after_all_jobs_of_the_group() {
    let place = Place::new();
    let engine = place.open().await;
    let gate = hold(&engine);
    let receipts: Vec<_> = (0..3)
        .map(|id| {
            let job = move |tx: &Tx<'_>| {
                tx.at_end(sum_up);
                insert(tx, id)?;
                Ok::<_, EngineError>(tx.unit())
            };
            engine.submit(job).unwrap()
        })
        .collect();
    drop(gate);
    let mut units = Vec::new();
    for receipt in receipts {
        units.push(receipt.await.unwrap());
    }
    units.dedup();
    assert_eq!(units.len(), 1);
    assert_eq!(ids(&engine).await, [0, 1, 2, 103]);
}

#[tokio::test]
async fn a_job_whose_end_fails_fails_alone() {
    let place = Place::new();
    let engine = place.open().await;
    let gate = hold(&engine);
    let receipts: Vec<_> = [11, 13, 17]
        .map(|id| {
            let job = move |tx: &Tx<'_>| {
                tx.at_end(sum_up);
                insert(tx, id)
            };
            engine.submit(job).unwrap()
        })
        .into();
    drop(gate);
    let mut answers = Vec::new();
    for receipt in receipts {
        answers.push(receipt.await);
    }
    assert_eq!(answers, [Ok(11), Err(refused()), Ok(17)]);
    assert_eq!(ids(&engine).await, [11, 17, 101, 102]);
    assert_eq!(count(&engine).await, 2);
}
