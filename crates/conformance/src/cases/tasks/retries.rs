//! Failed attempts.

use std::time::Duration;

use statehouse_contracts::{Backoff, FailRetry, NewTask, TaskState};

use crate::case::case;
use crate::cases::yard::{Yard, task, task_of};
use crate::{Case, Context, Outcome, ensure, ensure_eq};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(attempts_count_from_one),
        case!(a_failed_attempt_is_ready_at_its_old_place),
        case!(after_its_last_attempt_a_task_has_failed),
        case!(a_fail_for_good_is_final),
        case!(a_retry_waits_as_long_as_it_is_told),
        case!(a_retry_waits_for_the_backoff_of_its_task),
        case!(the_backoff_grows),
        case!(a_last_attempt_is_not_retried_however_it_is_told),
        case!(errors_are_kept_in_order),
        case!(at_most_ten_errors_are_kept),
        case!(a_long_error_is_cut),
        case!(a_completed_task_keeps_its_errors),
    ]
}

const NO: &str = "no";

async fn attempts_count_from_one(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    for attempt in 1..=4 {
        let claim = yard.next_is("a").await?;
        ensure_eq(claim.task.attempt, attempt, "the attempt")?;
        yard.fail(&claim, NO, FailRetry::Backoff).await?;
        ensure_eq(
            yard.get("a").await?.attempt,
            attempt,
            "the attempts it has had",
        )?;
    }
    Ok(())
}

async fn a_failed_attempt_is_ready_at_its_old_place(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, ["a", "b", "c"].map(task)).await?;
    let (newest, middle) = (yard.next_is("c").await?, yard.next_is("b").await?);
    ensure_eq(
        yard.fail(&newest, NO, FailRetry::Backoff).await?,
        TaskState::Ready,
        "its state",
    )?;
    yard.fail(&middle, NO, FailRetry::After(Duration::ZERO))
        .await?;
    yard.all_are(&["c", "b", "a"]).await
}

async fn after_its_last_attempt_a_task_has_failed(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task_of("a", 2)]).await?;
    for expected in [TaskState::Ready, TaskState::Failed] {
        let claim = yard.next_is("a").await?;
        let state = yard.fail(&claim, NO, FailRetry::Backoff).await?;
        ensure_eq(state, expected, "where it stands")?;
    }
    yard.stays_empty().await?;
    let task = yard.get("a").await?;
    ensure_eq(
        (task.state, task.attempt),
        (TaskState::Failed, 2),
        "state and attempt",
    )?;
    ensure(task.finished_at.is_some(), "it tells when it finished")?;
    ensure_eq(
        (task.result, task.errors.len()),
        (None, 2),
        "result and number of errors",
    )
}

async fn a_fail_for_good_is_final(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    let state = yard.fail(&claim, NO, FailRetry::Never).await?;
    ensure_eq(state, TaskState::Failed, "where it stands")?;
    yard.stays_empty().await
}

async fn a_retry_waits_as_long_as_it_is_told(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    let wait = yard.timing.delay.max(Duration::from_millis(400));
    let state = yard.fail(&claim, NO, FailRetry::After(wait)).await?;
    ensure_eq(state, TaskState::Delayed, "where it stands")?;
    let due_at = yard.get("a").await?.due_at;
    ensure(due_at.is_some(), "a delayed task tells when it is due")?;
    yard.is_empty().await?;
    let again = yard.next_within(wait + yard.timing.late).await?;
    ensure_eq(
        (again.task.attempt, again.task.due_at),
        (2, None),
        "attempt and due_at",
    )
}

async fn a_retry_waits_for_the_backoff_of_its_task(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let hour = Duration::from_secs(3600);
    let patient = NewTask {
        backoff: Backoff::fixed(hour),
        ..task("a")
    };
    yard.push([patient]).await?;
    let claim = yard.next_is("a").await?;
    let state = yard.fail(&claim, NO, FailRetry::Backoff).await?;
    ensure_eq(state, TaskState::Delayed, "where it stands")?;
    let stands = yard.get("a").await?;
    let failed_at = crate::some(stands.errors.first(), "error")?.at;
    let due_at = crate::some(stands.due_at, "due_at")?;
    let wait = due_at.duration_since(failed_at).unsigned_abs();
    ensure(
        wait.abs_diff(hour) < Duration::from_secs(30),
        "it is due after the backoff",
    )
}

async fn the_backoff_grows(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let second = Duration::from_secs(1000);
    let backoff = Backoff {
        initial: Duration::from_millis(1),
        factor: 1_000_000,
        max: second,
        jitter: false,
    };
    yard.push([NewTask {
        backoff,
        ..task("a")
    }])
    .await?;
    for expected in [Duration::from_millis(1), second] {
        let claim = yard.next_within(yard.timing.late).await?;
        yard.fail(&claim, NO, FailRetry::Backoff).await?;
        let stands = yard.get("a").await?;
        let failed_at = crate::some(stands.errors.last(), "error")?.at;
        if let Some(due_at) = stands.due_at {
            let wait = due_at.duration_since(failed_at).unsigned_abs();
            ensure(
                wait.abs_diff(expected) < Duration::from_secs(30),
                "the wait is the backoff's",
            )?;
        }
    }
    yard.stands("a", TaskState::Delayed).await
}

async fn a_last_attempt_is_not_retried_however_it_is_told(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task_of("a", 1)]).await?;
    let claim = yard.next_is("a").await?;
    let state = yard
        .fail(&claim, NO, FailRetry::After(Duration::ZERO))
        .await?;
    ensure_eq(state, TaskState::Failed, "where it stands")?;
    yard.is_empty().await
}

async fn errors_are_kept_in_order(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    for error in ["first", "ünï 🦀", ""] {
        let claim = yard.next_is("a").await?;
        yard.fail(&claim, error, FailRetry::Backoff).await?;
    }
    let errors = yard.get("a").await?.errors;
    let told: Vec<_> = errors
        .iter()
        .map(|e| (e.attempt, e.error.as_str()))
        .collect();
    ensure_eq(told, [(1, "first"), (2, "ünï 🦀"), (3, "")], "the errors")?;
    ensure(
        errors.is_sorted_by_key(|error| error.at),
        "their times do not go back",
    )
}

async fn at_most_ten_errors_are_kept(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task_of("a", 13)]).await?;
    for n in 1..=13 {
        let claim = yard.next_is("a").await?;
        yard.fail(&claim, &n.to_string(), FailRetry::Backoff)
            .await?;
    }
    let task = yard.get("a").await?;
    ensure_eq(task.state, TaskState::Failed, "where it stands")?;
    let attempts: Vec<u32> = task.errors.iter().map(|error| error.attempt).collect();
    ensure_eq(
        attempts,
        (4..=13).collect::<Vec<u32>>(),
        "the attempts of the errors kept",
    )
}

async fn a_long_error_is_cut(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    let error = format!("x{}", "é".repeat(4000));
    yard.fail(&claim, &error, FailRetry::Never).await?;
    let kept = yard
        .get("a")
        .await?
        .errors
        .pop()
        .map(|error| error.error)
        .unwrap_or_default();
    ensure(
        (4093..=4096).contains(&kept.len()),
        "up to 4 KiB of an error are kept",
    )?;
    ensure(error.starts_with(&kept), "what is kept is its beginning")
}

async fn a_completed_task_keeps_its_errors(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    yard.fail(&claim, NO, FailRetry::Backoff).await?;
    yard.all_are(&["a"]).await?;
    let task = yard.get("a").await?;
    ensure_eq(
        (task.state, task.errors.len()),
        (TaskState::Completed, 1),
        "state and errors",
    )
}
