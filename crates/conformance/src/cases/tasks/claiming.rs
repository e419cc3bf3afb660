//! Which task is claimed next.

use std::time::{Duration, Instant};

use statehouse_contracts::{ClaimRequest, FailRetry, NewTask, TaskStackExt, TaskState, WorkerName};

use crate::case::case;
use crate::cases::yard::{Yard, ids, task};
use crate::{Case, Context, Outcome, ensure, ensure_eq};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(the_newest_is_claimed_first),
        case!(the_last_of_a_push_is_the_newest),
        case!(a_later_push_comes_before_an_earlier_one),
        case!(one_claim_hands_out_the_newest_first),
        case!(a_claim_has_at_most_max_tasks),
        case!(an_unknown_stack_is_empty),
        case!(stacks_are_apart),
        case!(a_claim_tells_the_task_and_its_worker),
        case!(a_claim_tells_its_deadline),
        case!(a_running_task_holds_up_no_older_one),
        case!(a_task_that_waits_for_its_backoff_holds_up_no_older_one),
        case!(a_delayed_task_is_not_claimed_before_its_time),
        case!(a_delayed_task_takes_its_place_when_it_is_due),
        case!(a_task_is_claimed_once),
    ]
}

async fn the_newest_is_claimed_first(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, ["a", "b", "c"].map(task)).await?;
    yard.all_are(&["c", "b", "a"]).await?;
    yard.is_empty().await
}

async fn the_last_of_a_push_is_the_newest(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    yard.push(["a", "b", "c"].map(task)).await?;
    yard.all_are(&["c", "b", "a"]).await
}

async fn a_later_push_comes_before_an_earlier_one(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    yard.push(["a", "b"].map(task)).await?;
    yard.push(["c", "d"].map(task)).await?;
    let claim = yard.next_is("d").await?;
    yard.push([task("e")]).await?;
    yard.complete(&claim).await?;
    yard.all_are(&["e", "c", "b", "a"]).await
}

async fn one_claim_hands_out_the_newest_first(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    yard.push(["a", "b", "c", "d"].map(task)).await?;
    let claims = yard.claim_now(3).await?;
    ensure_eq(
        ids(claims.iter().map(|claim| &claim.task)),
        ["d", "c", "b"],
        "the claims",
    )?;
    for claim in &claims {
        yard.complete(claim).await?;
    }
    yard.all_are(&["a"]).await
}

async fn a_claim_has_at_most_max_tasks(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    yard.push(["a", "b", "c"].map(task)).await?;
    for (max, expected) in [(2, 2), (2, 1), (2, 0)] {
        ensure_eq(
            yard.claim_now(max).await?.len(),
            expected,
            "the number of claims",
        )?;
    }
    Ok(())
}

async fn an_unknown_stack_is_empty(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    yard.at("unknown").is_empty().await
}

async fn stacks_are_apart(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let other = yard.at("S");
    other.push([task("b")]).await?;
    yard.all_are(&["a"]).await?;
    yard.is_empty().await?;
    other.all_are(&["b"]).await
}

async fn a_claim_tells_the_task_and_its_worker(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let request = ClaimRequest {
        worker: WorkerName::new("ünï / 🦀")?,
        ..yard.request(1, Duration::ZERO)
    };
    let claims = yard.tasks.claim(request).await?;
    ensure_eq(claims.len(), 1, "the number of claims")?;
    let claimed = &claims[0].task;
    ensure_eq(
        (claimed.state, claimed.attempt),
        (TaskState::Running, 1),
        "state and attempt",
    )?;
    let worker = claimed.worker.as_ref().map(WorkerName::as_str);
    ensure_eq(worker, Some("ünï / 🦀"), "the worker")?;
    ensure_eq(&claims[0].outcomes[..], [], "the outcomes of no children")?;
    ensure_eq(&yard.get("a").await?, claimed, "the task as it stands")
}

async fn a_claim_tells_its_deadline(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let (before, length) = (Instant::now(), yard.timing.long_lease);
    let claim = yard.next_is("a").await?;
    ensure(
        claim.lease.deadline >= before + length,
        "the deadline counts from the request",
    )?;
    ensure(
        claim.lease.deadline <= Instant::now() + length,
        "the deadline is no later",
    )
}

async fn a_running_task_holds_up_no_older_one(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, ["a", "b"].map(task)).await?;
    let newer = yard.next_is("b").await?;
    let older = yard.next_is("a").await?;
    yard.is_empty().await?;
    yard.complete(&older).await?;
    yard.complete(&newer).await
}

async fn a_task_that_waits_for_its_backoff_holds_up_no_older_one(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, ["a", "b"].map(task)).await?;
    let claim = yard.next_is("b").await?;
    let hour = FailRetry::After(Duration::from_secs(3600));
    ensure_eq(
        yard.fail(&claim, "no", hour).await?,
        TaskState::Delayed,
        "where it stands",
    )?;
    yard.all_are(&["a"]).await?;
    yard.is_empty().await
}

async fn a_delayed_task_is_not_claimed_before_its_time(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let delayed = NewTask {
        delay: Duration::from_secs(3600),
        ..task("b")
    };
    yard.tasks.push_one(&yard.stack, delayed).await?;
    let stands = yard.get("b").await?;
    ensure_eq(stands.state, TaskState::Delayed, "where it stands")?;
    ensure(
        stands.due_at.is_some_and(|due| due > stands.created_at),
        "it tells when it is due",
    )?;
    yard.all_are(&["a"]).await?;
    yard.is_empty().await
}

async fn a_delayed_task_takes_its_place_when_it_is_due(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let delayed = NewTask {
        delay: yard.timing.delay,
        ..task("b")
    };
    yard.push([delayed]).await?;
    yard.push([task("c")]).await?;
    yard.until("b", TaskState::Ready).await?;
    yard.all_are(&["c", "b", "a"]).await
}

async fn a_task_is_claimed_once(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    yard.next_is("a").await?;
    yard.stays_empty().await
}
