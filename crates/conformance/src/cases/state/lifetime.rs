//! Closing, and opening again.

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{Backend, ErrorKind, Prune, StateManagerExt};

use crate::case::case;
use crate::cases::shelf::{LONG, Shelf, append, delete, key, notes, put, put_for};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    let durable = |case: Case| case.reopens().state(|c| c.durability.process_kill);
    vec![
        case!(closing_again_is_ok),
        case!(a_closed_handle_answers_closed),
        case!(other_handles_live_on),
        case!(closing_the_backend_closes_its_handles),
        case!(what_was_accepted_is_finished_before_the_end),
        durable(case!(records_survive_a_restart)),
        durable(case!(the_floor_survives_a_restart)),
        durable(case!(a_second_process_sees_what_the_first_wrote)),
    ]
}

async fn is_closed(shelf: &Shelf) -> Outcome {
    expect_kind(shelf.state.write(put("k", "z")).await, ErrorKind::Closed)?;
    expect_kind(shelf.state.get(&key("k")).await, ErrorKind::Closed)?;
    expect_kind(shelf.state.list(notes()).await, ErrorKind::Closed)?;
    expect_kind(shelf.state.head().await, ErrorKind::Closed).map(|_| ())
}

async fn closing_again_is_ok(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let shelf = Shelf::on(&cx, &**instance.backend(), cx.scope()).await?;
    shelf.state.close().await?;
    shelf.state.close().await?;
    instance.backend().close().await?;
    instance.backend().close().await?;
    Ok(shelf.state.close().await?)
}

async fn a_closed_handle_answers_closed(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.write(put("k", "a")).await?;
    shelf.state.close().await?;
    is_closed(&shelf).await?;
    Shelf::new(&cx).await?.reads("k", Some("1 a")).await
}

async fn other_handles_live_on(cx: Context) -> Outcome {
    let (shelf, other) = (Shelf::new(&cx).await?, Shelf::new(&cx).await?);
    shelf.state.close().await?;
    ensure_eq(
        other.write(put("k", "a")).await?,
        1,
        "the version by the other handle",
    )
}

async fn closing_the_backend_closes_its_handles(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let shelf = Shelf::on(&cx, &**instance.backend(), cx.scope()).await?;
    shelf.write(put("k", "a")).await?;
    instance.backend().close().await?;
    is_closed(&shelf).await
}

/// Every write either answers `Closed` and is not there, or is there.
async fn what_was_accepted_is_finished_before_the_end(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let shelf = Shelf::on(&cx, &**instance.backend(), cx.scope()).await?;
    let beside = cx
        .expected()
        .state
        .is_some_and(|c| c.durability.process_kill);
    let writers: Vec<_> = (0..24)
        .map(|n| {
            let shelf = shelf.clone();
            tokio::spawn(async move { shelf.state.write(put(&format!("k{n}"), "a")).await })
        })
        .collect();
    tokio::task::yield_now().await;
    instance.backend().close().await?;
    let mut accepted = Vec::new();
    for (n, writer) in writers.into_iter().enumerate() {
        match writer
            .await
            .map_err(|error| Failure::new(error.to_string()))?
        {
            Ok(_) => accepted.push(key(&format!("k{n}"))),
            Err(error) => {
                ensure_eq(
                    error.kind(),
                    ErrorKind::Closed,
                    "the kind of a refusal at the end",
                )?;
            }
        }
    }
    if beside && cx.reopens() {
        let instance = instance.beside().await?;
        let shelf = Shelf::on(&cx, &**instance.backend(), cx.scope()).await?;
        let got = shelf.state.get_many(&accepted).await?;
        ensure(
            got.iter().all(Option::is_some),
            "every accepted write is there",
        )?;
    }
    Ok(())
}

async fn open(cx: &Context, backend: &Arc<dyn Backend>) -> Result<Shelf, Failure> {
    Shelf::on(cx, &**backend, cx.scope()).await
}

async fn records_survive_a_restart(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let shelf = open(&cx, instance.backend()).await?;
    shelf
        .write_all([
            put("k", "a"),
            append("k", "b"),
            delete("k"),
            put_for("k", "c", LONG),
        ])
        .await?;
    shelf.write_all([put("gone", "a"), delete("gone")]).await?;
    let (history, gone) = (shelf.history("k").await?, shelf.history("gone").await?);
    let instance = instance.reopen().await?;
    let shelf = open(&cx, instance.backend()).await?;
    ensure_eq(
        shelf.history("k").await?,
        history,
        "the history after a restart",
    )?;
    ensure_eq(
        shelf.history("gone").await?,
        gone,
        "the history of what is gone",
    )?;
    ensure_eq(shelf.write(append("k", "d")).await?, 5, "the next version")?;
    shelf.reads("k", Some("5 cd")).await
}

async fn the_floor_survives_a_restart(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let shelf = open(&cx, instance.backend()).await?;
    shelf.write_all([put("k", "a"), delete("k")]).await?;
    let prune = Prune {
        tombstones: Some(Duration::ZERO),
        ..Prune::default()
    };
    shelf.state.prune(prune).await?;
    let instance = instance.reopen().await?;
    let shelf = open(&cx, instance.backend()).await?;
    ensure_eq(
        shelf.write(put("k", "a")).await?,
        3,
        "the first version after a restart",
    )
}

async fn a_second_process_sees_what_the_first_wrote(cx: Context) -> Outcome {
    let one = cx.fresh().await?;
    let two = one.beside().await?;
    let (one, two) = (
        open(&cx, one.backend()).await?,
        open(&cx, two.backend()).await?,
    );
    for n in 0..10 {
        let (writer, reader) = if n % 2 == 0 {
            (&one, &two)
        } else {
            (&two, &one)
        };
        ensure_eq(
            writer.write(append("k", "x")).await?,
            n + 1,
            "the version of an append",
        )?;
        let text = format!("{} {}", n + 1, "x".repeat(n as usize + 1));
        reader.reads("k", Some(&text)).await?;
    }
    Ok(())
}
