//! Wake-ups, closing, and handles that share a file.

use std::{fs, time::Duration};

use rusqlite::Connection;
use statehouse_sqlite::engine::{Channel, EngineError, EngineOptions, Synchronous, Tx, Woken};

use crate::common::{Place, SCHEMA, hold, ids, insert};

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
