//! Writers that race.

use std::collections::BTreeSet;
use std::future::Future;

use futures::future::join_all;
use statehouse_contracts::{Error, ErrorKind, Precondition, StateManagerExt, Version, Write};

use crate::case::case;
use crate::cases::shelf::{Shelf, append, key, put, said};
use crate::{Case, Context, Failure, Outcome, ensure_eq, expect_kind, fail};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(of_racing_writers_under_a_version_one_wins),
        case!(of_racing_creators_one_wins),
        case!(of_racing_deleters_under_a_version_one_wins),
        case!(racing_increments_lose_none),
        case!(racing_appends_lose_none),
        case!(racing_transactions_over_keys_in_any_order_all_end),
    ]
}

const WRITERS: usize = 16;

/// Runs all at the same time, each in a task of its own.
async fn race<T, F>(racers: impl Iterator<Item = F>) -> Result<Vec<T>, Failure>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = racers.map(tokio::spawn).collect();
    let ends = join_all(tasks).await.into_iter();
    ends.map(|end| end.map_err(|error| Failure::new(format!("a racer panicked: {error}"))))
        .collect()
}

/// Each racer writes with a handle of its own; exactly one may win, the rest are conflicts.
async fn one_wins(cx: &Context, write: impl Fn(usize) -> Write) -> Result<Version, Failure> {
    let mut racers = Vec::new();
    for n in 0..WRITERS {
        let (shelf, write) = (Shelf::new(cx).await?, write(n));
        racers.push(async move { shelf.state.write(write).await });
    }
    let answers: Vec<Result<Version, Error>> = race(racers.into_iter()).await?;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    for answer in lost {
        expect_kind(answer, ErrorKind::Conflict)?;
    }
    ensure_eq(won.len(), 1, "how many of the racing writers won")?;
    Ok(won.into_iter().flatten().sum())
}

async fn of_racing_writers_under_a_version_one_wins(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put("k", "start")).await?;
    for round in 1..=5 {
        let write = |n: usize| put("k", &n.to_string()).when(Precondition::Version(round));
        ensure_eq(
            one_wins(&cx, write).await?,
            round + 1,
            "the winner's version",
        )?;
    }
    ensure_eq(shelf.history("k").await?.len(), 6, "the number of versions")
}

async fn of_racing_creators_one_wins(cx: Context) -> Outcome {
    for id in ["a", "b", "c", "d", "e"] {
        let write = |n: usize| put(id, &n.to_string()).when(Precondition::Absent);
        ensure_eq(one_wins(&cx, write).await?, 1, "the winner's version")?;
    }
    Ok(())
}

async fn of_racing_deleters_under_a_version_one_wins(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put("k", "a")).await?;
    let write = |_| Write::delete(key("k")).when(Precondition::Version(1));
    ensure_eq(one_wins(&cx, write).await?, 2, "the tombstone's version")?;
    shelf.story_is("k", &["2 deleted", "1 a"]).await
}

/// Adds one under the version that was read, again and again until it wins.
async fn increment(shelf: &Shelf) -> Outcome {
    for _ in 0..1000 {
        let record = shelf.live("k").await?;
        let count: u64 = said(&record).parse().unwrap_or_default();
        let write = put("k", &(count + 1).to_string()).when(Precondition::Version(record.version));
        match shelf.state.write(write).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Conflict => continue,
            Err(error) => return Err(error.into()),
        }
    }
    fail("a writer never wins")
}

async fn racing_increments_lose_none(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put("k", "0")).await?;
    let racers = (0..6).map(|_| {
        let shelf = shelf.clone();
        async move {
            for _ in 0..5 {
                increment(&shelf).await?;
            }
            Outcome::Ok(())
        }
    });
    race(racers).await?.into_iter().collect::<Outcome>()?;
    shelf.reads("k", Some("31 30")).await
}

async fn racing_appends_lose_none(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let racers = (0..6).map(|writer| {
        let shelf = shelf.clone();
        async move {
            for n in 0..8 {
                shelf.write(append("k", &format!("{writer}.{n};"))).await?;
            }
            Outcome::Ok(())
        }
    });
    race(racers).await?.into_iter().collect::<Outcome>()?;
    let record = shelf.live("k").await?;
    ensure_eq(record.version, 48, "the version after all appends")?;
    let text = said(&record);
    let pieces: BTreeSet<&str> = text.split_terminator(';').collect();
    ensure_eq(pieces.len(), 48, "the number of different pieces")?;
    let own: Vec<&str> = text
        .split_terminator(';')
        .filter(|p| p.starts_with("3."))
        .collect();
    let expected = ["3.0", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7"];
    ensure_eq(own, expected, "the pieces of one writer, in order")
}

async fn racing_transactions_over_keys_in_any_order_all_end(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let racers = (0..WRITERS).map(|n| {
        let shelf = shelf.clone();
        async move {
            let mut writes = ["a", "b", "c", "d"].map(|id| put(id, &n.to_string()));
            writes.rotate_left(n % 4);
            shelf.apply(writes).await.map(|_| ())
        }
    });
    race(racers).await?.into_iter().collect::<Outcome>()?;
    let last: BTreeSet<String> = shelf
        .records(crate::cases::shelf::notes())
        .await?
        .iter()
        .map(said)
        .collect();
    ensure_eq(
        last.len(),
        1,
        "how many transactions wrote the last versions",
    )?;
    ensure_eq(
        shelf.live("d").await?.version,
        WRITERS as u64,
        "the last version",
    )
}
