//! Completing, extending and giving back.

use std::time::Duration;

use statehouse_contracts::{
    ContentType, ErrorKind, FailRetry, Lease, LeaseToken, TaskSettle, TaskStackExt, TaskState,
};

use crate::case::case;
use crate::cases::yard::{Yard, task, task_of};
use crate::{Case, Context, Outcome, ensure, ensure_eq, expect_kind, fail};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_completed_task_keeps_its_result),
        case!(a_completed_task_never_runs_again),
        case!(an_empty_result_is_a_result),
        case!(repeating_a_complete_is_ok),
        case!(repeating_a_final_fail_is_ok),
        case!(repeating_a_fail_that_is_retried_is_ok),
        case!(a_complete_cannot_be_turned_into_a_fail),
        case!(extending_gives_a_new_token),
        case!(extending_moves_the_end),
        case!(a_released_task_is_ready_at_its_old_place),
        case!(a_release_does_not_count_the_attempt),
        case!(repeating_a_release_is_ok_until_the_next_claim),
        case!(a_released_claim_is_lost),
        case!(each_settle_is_answered_for_itself),
        case!(a_token_that_was_never_given_is_refused),
    ]
}

async fn a_completed_task_keeps_its_result(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    let result: bytes::Bytes = (0..=255).collect();
    yard.tasks
        .complete(&claim.lease, result.clone(), ContentType::JSON)
        .await?;
    let task = yard.get("a").await?;
    ensure_eq(task.state, TaskState::Completed, "where it stands")?;
    ensure_eq(task.result, Some((result, ContentType::JSON)), "its result")?;
    ensure(
        task.finished_at.is_some_and(|at| at >= task.created_at),
        "it tells when it finished",
    )?;
    ensure_eq((task.attempt, task.worker), (1, None), "attempt and worker")
}

async fn a_completed_task_never_runs_again(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_briefly("a").await?;
    yard.complete(&claim).await?;
    // sleep: the lease must be over, and nothing may happen
    tokio::time::sleep(yard.timing.short_lease + yard.timing.quiet).await;
    yard.stays_empty().await?;
    yard.stands("a", TaskState::Completed).await
}

async fn an_empty_result_is_a_result(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    yard.tasks
        .complete(&claim.lease, Default::default(), ContentType::BYTES)
        .await?;
    let expected = Some((Default::default(), ContentType::BYTES));
    ensure_eq(yard.get("a").await?.result, expected, "its result")
}

async fn repeating_a_complete_is_ok(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    for _ in 0..3 {
        yard.complete(&claim).await?;
    }
    let result = yard.get("a").await?.result;
    ensure_eq(
        result,
        Some(("a done".into(), ContentType::TEXT)),
        "its result",
    )?;
    yard.is_empty().await
}

async fn repeating_a_final_fail_is_ok(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    for _ in 0..2 {
        let state = yard.fail(&claim, "no", FailRetry::Never).await?;
        ensure_eq(state, TaskState::Failed, "where it stands")?;
    }
    ensure_eq(yard.get("a").await?.errors.len(), 1, "the number of errors")
}

async fn repeating_a_fail_that_is_retried_is_ok(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    yard.fail(&claim, "no", FailRetry::Backoff).await?;
    yard.fail(&claim, "no", FailRetry::Backoff).await?;
    ensure_eq(yard.get("a").await?.errors.len(), 1, "the number of errors")?;
    ensure_eq(yard.next_is("a").await?.task.attempt, 2, "the attempt")
}

async fn a_complete_cannot_be_turned_into_a_fail(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    yard.complete(&claim).await?;
    let failed = yard
        .tasks
        .fail(&claim.lease, "no", FailRetry::Backoff)
        .await;
    ensure(
        !matches!(failed, Ok(TaskState::Ready)),
        "a completed task is not retried",
    )?;
    yard.stands("a", TaskState::Completed).await?;
    yard.is_empty().await
}

async fn extending_gives_a_new_token(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    let extended: Lease = yard
        .tasks
        .extend(&claim.lease, yard.timing.long_lease)
        .await?;
    ensure(
        extended.token != claim.lease.token,
        "the token is a new one",
    )?;
    yard.refuses(&claim.lease.token, ErrorKind::LeaseLost)
        .await?;
    yard.stands("a", TaskState::Running).await?;
    yard.tasks
        .complete(&extended, "done".into(), ContentType::TEXT)
        .await?;
    yard.stands("a", TaskState::Completed).await
}

async fn extending_moves_the_end(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_briefly("a").await?;
    let extended = yard
        .tasks
        .extend(&claim.lease, yard.timing.long_lease)
        .await?;
    ensure(
        extended.deadline > claim.lease.deadline,
        "the deadline moves",
    )?;
    // sleep: the first lease must be over, and nothing may happen
    tokio::time::sleep(yard.timing.short_lease + Duration::from_millis(100)).await;
    yard.is_empty().await?;
    let brief = yard
        .tasks
        .extend(&extended, yard.timing.short_lease)
        .await?;
    let again = yard
        .next_within(yard.timing.short_lease + yard.timing.redelivery)
        .await?;
    ensure_eq(again.task.attempt, 2, "the attempt after the end")?;
    yard.refuses(&brief.token, ErrorKind::LeaseLost).await
}

async fn a_released_task_is_ready_at_its_old_place(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, ["a", "b", "c"].map(task)).await?;
    let newest = yard.next_is("c").await?;
    let middle = yard.next_is("b").await?;
    yard.tasks.release(&newest.lease).await?;
    yard.tasks.release(&middle.lease).await?;
    yard.stands("b", TaskState::Ready).await?;
    yard.all_are(&["c", "b", "a"]).await
}

async fn a_release_does_not_count_the_attempt(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task_of("a", 1)]).await?;
    for _ in 0..3 {
        let claim = yard.next_is("a").await?;
        ensure_eq(claim.task.attempt, 1, "the attempt")?;
        yard.tasks.release(&claim.lease).await?;
        ensure_eq(yard.get("a").await?.attempt, 0, "the attempts it has had")?;
    }
    yard.all_are(&["a"]).await
}

async fn repeating_a_release_is_ok_until_the_next_claim(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    for _ in 0..3 {
        yard.tasks.release(&claim.lease).await?;
    }
    yard.stands("a", TaskState::Ready).await?;
    let again = yard.next_is("a").await?;
    ensure_eq(again.task.attempt, 1, "the attempt")?;
    expect_kind(yard.tasks.release(&claim.lease).await, ErrorKind::LeaseLost)?;
    yard.stands("a", TaskState::Running).await?;
    yard.tasks.release(&again.lease).await?;
    expect_kind(yard.tasks.release(&claim.lease).await, ErrorKind::LeaseLost)?;
    yard.all_are(&["a"]).await
}

async fn a_released_claim_is_lost(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    yard.tasks.release(&claim.lease).await?;
    let again = yard.next_is("a").await?;
    let extended = yard
        .tasks
        .extend(&claim.lease, yard.timing.long_lease)
        .await;
    expect_kind(extended, ErrorKind::LeaseLost)?;
    let failed = yard
        .tasks
        .fail(&claim.lease, "late", FailRetry::Never)
        .await;
    expect_kind(failed, ErrorKind::LeaseLost)?;
    let late = yard
        .tasks
        .complete(&claim.lease, "late".into(), ContentType::TEXT)
        .await;
    expect_kind(late, ErrorKind::LeaseLost)?;
    yard.complete(&again).await
}

async fn each_settle_is_answered_for_itself(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, ["a", "b", "c"].map(task)).await?;
    let claims = yard.claim_now(3).await?;
    ensure_eq(claims.len(), 3, "the number of claims")?;
    let lost = yard
        .tasks
        .extend(&claims[1].lease, yard.timing.long_lease)
        .await?;
    let complete = |token: &LeaseToken| TaskSettle::Complete {
        token: token.clone(),
        result: "done".into(),
        content_type: ContentType::TEXT,
    };
    let batch = claims
        .iter()
        .map(|claim| complete(&claim.lease.token))
        .collect();
    let answers = yard.tasks.settle(batch).await?;
    let kinds: Vec<_> = answers
        .iter()
        .map(|a| a.as_ref().map_err(|e| e.kind()).err())
        .collect();
    ensure_eq(
        kinds,
        [None, Some(ErrorKind::LeaseLost), None],
        "the errors",
    )?;
    yard.stands("c", TaskState::Completed).await?;
    yard.stands("b", TaskState::Running).await?;
    yard.stands("a", TaskState::Completed).await?;
    ensure_eq(
        yard.tasks.settle(Vec::new()).await?.len(),
        0,
        "the answers to nothing",
    )?;
    Ok(yard
        .tasks
        .complete(&lost, "done".into(), ContentType::TEXT)
        .await?)
}

async fn a_token_that_was_never_given_is_refused(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    for text in ["nonsense", "0", "-1", "a:1", &"x".repeat(2048)] {
        let token = LeaseToken::new(text)?;
        let settled = yard.tasks.settle_one(TaskSettle::Release { token }).await;
        match settled.map_err(|error| error.kind()) {
            Err(ErrorKind::LeaseLost | ErrorKind::InvalidArgument) => {}
            other => {
                return fail(format!(
                    "a token never given must be refused, got {other:?}"
                ));
            }
        }
    }
    let claim = yard.next_is("a").await?;
    let there = Yard::on(&cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    let foreign = there.tasks.release(&claim.lease).await;
    match foreign.map_err(|error| error.kind()) {
        Err(ErrorKind::LeaseLost | ErrorKind::InvalidArgument) => {}
        other => {
            return fail(format!(
                "another namespace's token must be refused, got {other:?}"
            ));
        }
    }
    yard.complete(&claim).await
}
