//! A repeated transaction answers with the first result.

use futures::future::join_all;
use statehouse_contracts::{
    ErrorKind, Message, OpId, Payload, Precondition, Topic, Transaction, Write,
};

use crate::case::case;
use crate::cases::shelf::{Shelf, append, delete, put, transaction};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_repeat_answers_the_first_result),
        case!(a_repeat_writes_nothing),
        case!(a_repeat_after_other_writes_answers_the_first_result),
        case!(a_repeat_whose_precondition_no_longer_holds_answers_the_first_result),
        case!(a_repeat_by_another_principal_answers_the_first_result),
        case!(a_repeat_of_a_check_answers_the_first_result),
        case!(another_transaction_under_the_same_op_id_is_a_conflict),
        case!(a_failed_transaction_leaves_no_op_id_behind),
        case!(without_an_op_id_a_repeat_is_another_write),
        case!(of_racing_repeats_one_is_applied),
        case!(a_repeat_is_recognised_after_a_restart)
            .reopens()
            .state(|c| c.durability.process_kill),
    ]
}

fn named(op_id: &str, writes: impl IntoIterator<Item = Write>) -> Result<Transaction, Failure> {
    Ok(Transaction {
        op_id: Some(OpId::new(op_id)?),
        ..transaction(writes)
    })
}

async fn a_repeat_answers_the_first_result(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let transaction = named("op", [put("a", "1"), append("b", "1"), delete("c")])?;
    let first = shelf.state.apply(transaction.clone()).await?;
    ensure_eq(first.replayed, false, "replayed of the first")?;
    let mut again = shelf.state.apply(transaction).await?;
    ensure_eq(again.replayed, true, "replayed of the repeat")?;
    again.replayed = false;
    ensure_eq(again, first, "the answer to the repeat")
}

async fn a_repeat_writes_nothing(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let transaction = Transaction {
        messages: vec![Message::new(Topic::new("t")?, Payload::text("m"))],
        ..named("op", [append("k", "a")])?
    };
    shelf.state.apply(transaction.clone()).await?;
    let head = shelf.state.head().await?;
    shelf.state.apply(transaction).await?;
    shelf.reads("k", Some("1 a")).await?;
    shelf.changes_are(&head, &[]).await?;
    ensure_eq(
        shelf.state.outbox_depth().await?,
        1,
        "the depth of the outbox",
    )
}

async fn a_repeat_after_other_writes_answers_the_first_result(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let transaction = named("op", [append("k", "a")])?;
    let first = shelf.state.apply(transaction.clone()).await?;
    shelf
        .write_all([append("k", "b"), delete("k"), put("k", "c")])
        .await?;
    let again = shelf.state.apply(transaction).await?;
    ensure_eq(
        (again.commit, again.versions),
        (first.commit, vec![1]),
        "the answer",
    )?;
    shelf.reads("k", Some("4 c")).await
}

async fn a_repeat_whose_precondition_no_longer_holds_answers_the_first_result(
    cx: Context,
) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let create = named("create", [put("k", "a").when(Precondition::Absent)])?;
    let swap = named("swap", [put("k", "b").when(Precondition::Version(1))])?;
    for _ in 0..2 {
        let created = shelf.state.apply(create.clone()).await?;
        let swapped = shelf.state.apply(swap.clone()).await?;
        ensure_eq(
            [created.versions, swapped.versions].concat(),
            [1, 2],
            "the versions",
        )?;
    }
    shelf.story_is("k", &["2 b", "1 a"]).await
}

async fn a_repeat_by_another_principal_answers_the_first_result(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let other = Shelf::on(&cx, &*cx.backend().await?, &cx.scope_of("somebody else")?).await?;
    let transaction = named("op", [put("k", "a")])?;
    shelf.state.apply(transaction.clone()).await?;
    ensure(
        other.state.apply(transaction).await?.replayed,
        "the other handle's is a repeat",
    )?;
    shelf.reads("k", Some("1 a")).await
}

async fn a_repeat_of_a_check_answers_the_first_result(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let check = Write::check(crate::cases::shelf::key("k"), Precondition::Absent);
    let transaction = named("op", [check])?;
    shelf.state.apply(transaction.clone()).await?;
    shelf.write(put("k", "a")).await?;
    let again = shelf.state.apply(transaction).await?;
    ensure_eq(
        (again.replayed, again.versions),
        (true, vec![0]),
        "the answer to the repeat",
    )
}

async fn another_transaction_under_the_same_op_id_is_a_conflict(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let first = named("op", [put("k", "a")])?;
    shelf.state.apply(first.clone()).await?;
    let others = [
        named("op", [put("k", "b")])?,
        named("op", [put("l", "a")])?,
        named("op", [append("k", "a")])?,
        named("op", [put("k", "a").when(Precondition::Version(1))])?,
        Transaction {
            messages: vec![Message::new(Topic::new("t")?, Payload::text("m"))],
            ..first
        },
    ];
    for other in others {
        let error = expect_kind(shelf.state.apply(other).await, ErrorKind::Conflict)?;
        ensure(error.conflict_list().is_empty(), "no precondition failed")?;
    }
    shelf.story_is("k", &["1 a"]).await
}

async fn a_failed_transaction_leaves_no_op_id_behind(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let transaction = named("op", [put("k", "b").when(Precondition::Version(1))])?;
    expect_kind(
        shelf.state.apply(transaction.clone()).await,
        ErrorKind::Conflict,
    )?;
    shelf.write(put("k", "a")).await?;
    let applied = shelf.state.apply(transaction).await?;
    ensure_eq(
        (applied.replayed, applied.versions),
        (false, vec![2]),
        "the second try",
    )?;
    expect_kind(
        shelf
            .state
            .apply(named("other", [put("k", "c").when(Precondition::Absent)])?)
            .await,
        ErrorKind::Conflict,
    )?;
    let another = shelf.state.apply(named("other", [put("l", "a")])?).await?;
    ensure_eq(
        another.replayed,
        false,
        "replayed of another transaction after a failure",
    )
}

async fn without_an_op_id_a_repeat_is_another_write(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    for version in [1, 2] {
        let applied = shelf.apply([append("k", "a")]).await?;
        ensure_eq(
            (applied.replayed, applied.versions),
            (false, vec![version]),
            "the answer",
        )?;
    }
    Ok(())
}

async fn of_racing_repeats_one_is_applied(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let transaction = named("op", [append("k", "a")])?;
    let racers = (0..12).map(|_| {
        let (shelf, transaction) = (shelf.clone(), transaction.clone());
        tokio::spawn(async move { shelf.state.apply(transaction).await })
    });
    let mut first = 0;
    for racer in join_all(racers).await {
        let applied = racer.map_err(|error| Failure::new(error.to_string()))??;
        ensure_eq(applied.versions, [1], "the version of a racing repeat")?;
        first += usize::from(!applied.replayed);
    }
    ensure_eq(first, 1, "how many were applied")?;
    shelf.reads("k", Some("1 a")).await
}

async fn a_repeat_is_recognised_after_a_restart(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let transaction = named("op", [append("k", "a")])?;
    let shelf = Shelf::on(&cx, &**instance.backend(), cx.scope()).await?;
    let first = shelf.state.apply(transaction.clone()).await?;
    let instance = instance.reopen().await?;
    let shelf = Shelf::on(&cx, &**instance.backend(), cx.scope()).await?;
    let again = shelf.state.apply(transaction).await?;
    ensure_eq(
        (again.replayed, again.commit),
        (true, first.commit),
        "the answer",
    )?;
    shelf.reads("k", Some("1 a")).await
}
