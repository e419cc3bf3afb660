//! Cancelling.

use statehouse_contracts::{
    Claim, ContentType, ErrorKind, FailRetry, TaskSettle, TaskStackExt, TaskState,
};

use crate::case::case;
use crate::cases::yard::{Yard, task, task_id};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_cancelled_task_is_not_claimed),
        case!(a_running_task_learns_it_on_its_next_settle),
        case!(a_suspended_task_is_cancelled_with_all_below_it),
        case!(a_running_grandchild_learns_it),
        case!(what_is_above_or_beside_goes_on),
        case!(finished_children_stay_as_they_ended),
        case!(cancelling_the_last_child_resumes_its_parent),
        case!(cancelling_a_finished_task_is_ok),
        case!(cancelling_an_unknown_task_is_not_found),
        case!(a_delayed_task_can_be_cancelled),
        case!(a_cancelled_task_is_not_ready_after_its_lease),
    ]
}

async fn cancel(yard: &Yard, id: &str) -> Result<u64, Failure> {
    Ok(yard.tasks.cancel(&task_id(id)).await?)
}

async fn a_cancelled_task_is_not_claimed(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, ["a", "b"].map(task)).await?;
    ensure_eq(cancel(&yard, "b").await?, 1, "how many were cancelled")?;
    let cancelled = yard.get("b").await?;
    ensure_eq(
        (cancelled.state, cancelled.attempt),
        (TaskState::Cancelled, 0),
        "how it stands",
    )?;
    ensure(cancelled.finished_at.is_some(), "it tells when it finished")?;
    yard.all_are(&["a"]).await?;
    yard.is_empty().await
}

async fn a_running_task_learns_it_on_its_next_settle(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, ["a", "b", "c", "d"].map(task)).await?;
    let claims = yard.claim_now(4).await?;
    ensure_eq(claims.len(), 4, "the number of claims")?;
    for claim in &claims {
        yard.tasks.cancel(&claim.task.id).await?;
    }
    let token = |n: usize| claims[n].lease.token.clone();
    let batch = vec![
        TaskSettle::Complete {
            token: token(0),
            result: "late".into(),
            content_type: ContentType::TEXT,
        },
        TaskSettle::Fail {
            token: token(1),
            error: "late".into(),
            retry: FailRetry::Backoff,
        },
        TaskSettle::Extend {
            token: token(2),
            lease: yard.timing.long_lease,
        },
        TaskSettle::Release { token: token(3) },
    ];
    for answer in yard.tasks.settle(batch).await? {
        expect_kind(answer, ErrorKind::Cancelled)?;
    }
    for claim in &claims {
        let task = yard.get(claim.task.id.as_str()).await?;
        ensure_eq(
            (task.state, task.result),
            (TaskState::Cancelled, None),
            "how it stands",
        )?;
    }
    yard.is_empty().await
}

/// `p` with the children `a`, completed, and `b`, which has the child `c`, running.
async fn family(cx: &Context) -> Result<(Yard, Claim), Failure> {
    let yard = Yard::with(cx, ["beside", "p"].map(task)).await?;
    let parent = yard.next_is("p").await?;
    yard.push_below(&parent, ["b", "a"].map(task)).await?;
    yard.all_are(&["a"]).await?;
    let child = yard.next_is("b").await?;
    yard.push_below(&child, ["d", "c"].map(task)).await?;
    let grandchild = yard.next_is("c").await?;
    Ok((yard, grandchild))
}

async fn stand(yard: &Yard, expected: &[(&str, TaskState)]) -> Outcome {
    for (id, state) in expected {
        yard.stands(id, *state).await?;
    }
    Ok(())
}

async fn a_suspended_task_is_cancelled_with_all_below_it(cx: Context) -> Outcome {
    let (yard, _) = family(&cx).await?;
    ensure_eq(cancel(&yard, "p").await?, 4, "how many were cancelled")?;
    let gone = ["p", "b", "c", "d"].map(|id| (id, TaskState::Cancelled));
    stand(&yard, &gone).await?;
    yard.all_are(&["beside"]).await?;
    yard.is_empty().await
}

async fn a_running_grandchild_learns_it(cx: Context) -> Outcome {
    let (yard, grandchild) = family(&cx).await?;
    cancel(&yard, "p").await?;
    let extended = yard
        .tasks
        .extend(&grandchild.lease, yard.timing.long_lease)
        .await;
    expect_kind(extended, ErrorKind::Cancelled).map(|_| ())
}

async fn what_is_above_or_beside_goes_on(cx: Context) -> Outcome {
    let (yard, grandchild) = family(&cx).await?;
    ensure_eq(cancel(&yard, "d").await?, 1, "how many were cancelled")?;
    let expected = [
        ("p", TaskState::Suspended),
        ("b", TaskState::Suspended),
        ("c", TaskState::Running),
    ];
    stand(&yard, &expected).await?;
    yard.complete(&grandchild).await?;
    yard.all_are(&["b", "p", "beside"]).await
}

async fn finished_children_stay_as_they_ended(cx: Context) -> Outcome {
    let (yard, _) = family(&cx).await?;
    cancel(&yard, "p").await?;
    let child = yard.get("a").await?;
    ensure_eq(
        child.state,
        TaskState::Completed,
        "where the finished child stands",
    )?;
    ensure_eq(
        child.result.map(|(bytes, _)| bytes),
        Some("a done".into()),
        "its result",
    )
}

async fn cancelling_the_last_child_resumes_its_parent(cx: Context) -> Outcome {
    let (yard, grandchild) = family(&cx).await?;
    ensure_eq(cancel(&yard, "b").await?, 3, "how many were cancelled")?;
    yard.stands("p", TaskState::Ready).await?;
    let completed = yard
        .tasks
        .complete(&grandchild.lease, "late".into(), ContentType::TEXT)
        .await;
    expect_kind(completed, ErrorKind::Cancelled)?;
    let resumed = yard.next_is("p").await?;
    let told: Vec<_> = resumed
        .outcomes
        .iter()
        .map(|o| (o.id.as_str(), o.state))
        .collect();
    let expected = [("b", TaskState::Cancelled), ("a", TaskState::Completed)];
    ensure_eq(told, expected, "the outcomes")
}

async fn cancelling_a_finished_task_is_ok(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, ["a", "b", "c"].map(task)).await?;
    let claim = yard.next_is("c").await?;
    yard.fail(&claim, "no", FailRetry::Never).await?;
    yard.all_are(&["b"]).await?;
    ensure_eq(cancel(&yard, "a").await?, 1, "how many were cancelled")?;
    for id in ["a", "b", "c"] {
        ensure_eq(cancel(&yard, id).await?, 0, "how many were cancelled")?;
    }
    let expected = [
        ("a", TaskState::Cancelled),
        ("b", TaskState::Completed),
        ("c", TaskState::Failed),
    ];
    stand(&yard, &expected).await
}

async fn cancelling_an_unknown_task_is_not_found(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let cancelled = yard.tasks.cancel(&task_id("unknown")).await;
    expect_kind(cancelled, ErrorKind::NotFound).map(|_| ())
}

async fn a_delayed_task_can_be_cancelled(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let delayed = statehouse_contracts::NewTask {
        delay: yard.timing.delay,
        ..task("a")
    };
    yard.push([delayed]).await?;
    ensure_eq(cancel(&yard, "a").await?, 1, "how many were cancelled")?;
    // sleep: the delay must be over, and nothing may happen
    tokio::time::sleep(yard.timing.delay + yard.timing.quiet).await;
    yard.is_empty().await?;
    yard.stands("a", TaskState::Cancelled).await
}

async fn a_cancelled_task_is_not_ready_after_its_lease(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    yard.next_briefly("a").await?;
    cancel(&yard, "a").await?;
    // sleep: the lease must be over, and nothing may happen
    tokio::time::sleep(yard.timing.short_lease + yard.timing.quiet).await;
    yard.stays_empty().await?;
    yard.stands("a", TaskState::Cancelled).await
}
