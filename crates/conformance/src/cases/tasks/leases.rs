//! Leases that end.

use statehouse_contracts::{ErrorKind, FailRetry, TaskStackExt, TaskState};

use crate::case::case;
use crate::cases::yard::{Yard, task, task_of};
use crate::{Case, Context, Outcome, ensure_eq};

pub(crate) fn cases() -> Vec<Case> {
    let fenced = |case: Case| case.tasks(|c| c.fencing == statehouse_contracts::Fencing::Server);
    vec![
        case!(after_its_lease_a_task_is_ready_with_one_attempt_more),
        case!(after_its_lease_a_task_is_at_its_old_place),
        case!(a_lease_that_ends_leaves_an_error),
        case!(after_the_lease_of_its_last_attempt_a_task_has_failed),
        fenced(case!(a_token_is_stale_after_the_end_of_its_lease)),
        case!(a_token_is_stale_when_another_has_the_task),
        case!(a_token_is_stale_when_the_task_has_failed),
        case!(a_stale_parent_cannot_push_children),
        case!(a_complete_in_time_ends_the_lease),
    ]
}

async fn after_its_lease_a_task_is_ready_with_one_attempt_more(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    for attempt in 1..=2 {
        ensure_eq(
            yard.next_briefly("a").await?.task.attempt,
            attempt,
            "the attempt",
        )?;
        yard.until("a", TaskState::Ready).await?;
    }
    ensure_eq(yard.next_is("a").await?.task.attempt, 3, "the attempt")
}

async fn after_its_lease_a_task_is_at_its_old_place(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    yard.next_is("a").await?;
    yard.push([task("b")]).await?;
    yard.next_briefly("b").await?;
    yard.push([task("c")]).await?;
    yard.until("b", TaskState::Ready).await?;
    yard.all_are(&["c", "b"]).await
}

async fn a_lease_that_ends_leaves_an_error(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    yard.next_briefly("a").await?;
    let wait = yard.timing.short_lease + yard.timing.redelivery;
    let again = yard.next_within(wait).await?;
    let told: Vec<_> = again
        .task
        .errors
        .iter()
        .map(|e| (e.attempt, e.error.as_str()))
        .collect();
    ensure_eq(told, [(1, "lease expired")], "the errors")
}

async fn after_the_lease_of_its_last_attempt_a_task_has_failed(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task_of("a", 2)]).await?;
    let claim = yard.next_is("a").await?;
    yard.fail(&claim, "no", FailRetry::Backoff).await?;
    yard.next_briefly("a").await?;
    yard.until("a", TaskState::Failed).await?;
    yard.stays_empty().await?;
    let task = yard.get("a").await?;
    let errors: Vec<&str> = task
        .errors
        .iter()
        .map(|error| error.error.as_str())
        .collect();
    ensure_eq(
        (task.attempt, errors),
        (2, vec!["no", "lease expired"]),
        "attempts and errors",
    )
}

async fn a_token_is_stale_after_the_end_of_its_lease(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_briefly("a").await?;
    yard.until("a", TaskState::Ready).await?;
    yard.refuses(&claim.lease.token, ErrorKind::LeaseLost)
        .await?;
    yard.stands("a", TaskState::Ready).await
}

async fn a_token_is_stale_when_another_has_the_task(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_briefly("a").await?;
    yard.until("a", TaskState::Ready).await?;
    let again = yard.next_is("a").await?;
    yard.refuses(&claim.lease.token, ErrorKind::LeaseLost)
        .await?;
    yard.stands("a", TaskState::Running).await?;
    yard.complete(&again).await?;
    yard.refuses(&claim.lease.token, ErrorKind::LeaseLost)
        .await?;
    let result = yard.get("a").await?.result;
    ensure_eq(
        result.map(|(bytes, _)| bytes),
        Some("a done".into()),
        "its result",
    )
}

async fn a_token_is_stale_when_the_task_has_failed(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task_of("a", 1)]).await?;
    let claim = yard.next_briefly("a").await?;
    yard.until("a", TaskState::Failed).await?;
    yard.refuses(&claim.lease.token, ErrorKind::LeaseLost)
        .await?;
    yard.stands("a", TaskState::Failed).await
}

async fn a_stale_parent_cannot_push_children(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_briefly("a").await?;
    yard.until("a", TaskState::Ready).await?;
    let again = yard.next_is("a").await?;
    let push = statehouse_contracts::Push {
        parent: Some(claim.lease.token.clone()),
        ..yard.batch([task("child")])
    };
    crate::expect_kind(yard.tasks.push(push).await, ErrorKind::LeaseLost)?;
    ensure_eq(yard.tasks.get(&task("child").id).await?, None, "the child")?;
    yard.complete(&again).await
}

async fn a_complete_in_time_ends_the_lease(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_briefly("a").await?;
    let extended = yard
        .tasks
        .extend(&claim.lease, yard.timing.short_lease)
        .await?;
    yard.tasks
        .complete(&extended, "done".into(), Default::default())
        .await?;
    // sleep: the lease must be over, and nothing may happen
    tokio::time::sleep(yard.timing.short_lease + yard.timing.quiet).await;
    yard.stands("a", TaskState::Completed).await?;
    ensure_eq(yard.get("a").await?.errors.len(), 0, "the number of errors")
}
