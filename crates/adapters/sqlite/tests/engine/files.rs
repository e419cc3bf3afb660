//! Files that cannot be used, are full, locked, old or new; the size of the log.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use statehouse_sqlite::engine::{
    Channel, Engine, EngineError, EngineOptions, Schema, Synchronous, Tx,
};

use crate::common::{Place, SCHEMA, count, hold, ids, insert};

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
    let mut listener = engine.listen(&[Channel::of("nothing of these")]);
    let long = tokio::time::Instant::now() + Duration::from_secs(600);
    let untouched = tokio::spawn(async move { listener.wait(long).await });
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
    assert!(
        !untouched.is_finished(),
        "our own commits and checkpoints wake nobody else"
    );
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
async fn a_damaged_file_says_so() {
    let place = Place::new();
    let engine = place.open().await;
    let grow =
        |tx: &Tx<'_>| Ok::<_, EngineError>(tx.execute("UPDATE item SET data = zeroblob(500)", ())?);
    let fill = |tx: &Tx<'_>| (0..2_000).try_for_each(|id| insert(tx, id).map(|_| ()));
    engine.write(fill).await.unwrap();
    engine.write(grow).await.unwrap();
    engine.close().await;

    let mut bytes = fs::read(place.path()).unwrap();
    let middle = bytes.len() / 4;
    bytes[middle..].fill(0xAB);
    fs::write(place.path(), bytes).unwrap();
    let result = match place.try_open(EngineOptions::default(), SCHEMA).await {
        Ok(engine) => engine.write(grow).await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(matches!(result, Err(EngineError::Corrupt(_))), "{result:?}");
}

#[tokio::test]
async fn an_idle_engine_moves_its_log_into_the_database() {
    let place = Place::new();
    let engine = place.open().await;
    engine.write(|tx| insert(tx, 1)).await.unwrap();
    let other = Connection::open(place.path()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let look = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let (logged, moved) = other
            .query_row("PRAGMA wal_checkpoint(NOOP)", (), look)
            .unwrap();
        if logged == moved {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{moved} of {logged} pages after 20 s"
        );
        // sleep: the pause between two polls
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    engine.write(|tx| insert(tx, 2)).await.unwrap();
    assert_eq!(ids(&engine).await, [1, 2]);
}
