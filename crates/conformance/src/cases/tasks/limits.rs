//! What is refused.

use std::time::Duration;

use bytes::Bytes;
use statehouse_contracts::{
    ClaimRequest, ContentType, ErrorKind, NewTask, TaskSettle, TaskStackExt,
};

use crate::case::case;
use crate::cases::yard::{Yard, task, task_of};
use crate::{Case, Context, Outcome, ensure, ensure_eq, expect_kind, expect_limit};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_payload_of_max_payload_is_kept),
        case!(a_payload_beyond_max_payload_is_refused),
        case!(a_result_of_max_payload_is_kept),
        case!(a_result_beyond_max_payload_is_refused),
        case!(a_push_of_max_push_is_taken),
        case!(a_push_beyond_max_push_is_refused),
        case!(zero_attempts_are_refused),
        case!(a_claim_of_none_is_refused),
        case!(a_claim_beyond_max_claim_is_refused),
        case!(a_lease_beyond_max_lease_is_refused),
        case!(a_lease_below_min_lease_is_refused).tasks(|c| !c.min_lease.is_zero()),
    ]
}

fn large(id: &str, size: usize) -> NewTask {
    NewTask {
        payload: Bytes::from(vec![7; size]),
        ..task(id)
    }
}

async fn a_payload_of_max_payload_is_kept(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let size = yard.tasks.capability().max_payload;
    yard.push([large("a", size)]).await?;
    let claim = yard.next_is("a").await?;
    ensure(
        claim.task.payload == vec![7; size],
        "the payload comes back whole",
    )
}

async fn a_payload_beyond_max_payload_is_refused(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let size = yard.tasks.capability().max_payload;
    let push = yard.batch([task("fine"), large("a", size + 1)]);
    expect_limit(yard.tasks.push(push).await, "max_payload")?;
    yard.is_empty().await
}

async fn a_result_of_max_payload_is_kept(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    let result = Bytes::from(vec![7; yard.tasks.capability().max_payload]);
    yard.tasks
        .complete(&claim.lease, result.clone(), ContentType::BYTES)
        .await?;
    let kept = yard.get("a").await?.result;
    ensure(
        kept == Some((result, ContentType::BYTES)),
        "the result comes back whole",
    )
}

async fn a_result_beyond_max_payload_is_refused(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    let result = Bytes::from(vec![7; yard.tasks.capability().max_payload + 1]);
    let completed = yard
        .tasks
        .complete(&claim.lease, result, ContentType::BYTES)
        .await;
    expect_limit(completed, "max_payload")?;
    yard.complete(&claim).await
}

async fn a_push_of_max_push_is_taken(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let most = yard.tasks.capability().max_push;
    let pushed = yard.push((0..most).map(|n| task(&n.to_string()))).await?;
    ensure_eq(pushed.len(), most, "the number of answers")?;
    ensure_eq(
        yard.tasks.depth(&yard.stack).await?.ready,
        most as u64,
        "the depth",
    )
}

async fn a_push_beyond_max_push_is_refused(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let most = yard.tasks.capability().max_push;
    let push = yard.batch((0..=most).map(|n| task(&n.to_string())));
    expect_limit(yard.tasks.push(push).await, "max_push")?;
    yard.is_empty().await
}

async fn zero_attempts_are_refused(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let pushed = yard.tasks.push_one(&yard.stack, task_of("a", 0)).await;
    expect_kind(pushed, ErrorKind::InvalidArgument)?;
    yard.is_empty().await
}

async fn a_claim_of_none_is_refused(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claimed = yard.tasks.claim(yard.request(0, Duration::ZERO)).await;
    expect_kind(claimed, ErrorKind::InvalidArgument).map(|_| ())
}

async fn a_claim_beyond_max_claim_is_refused(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let max = yard.tasks.capability().max_claim + 1;
    let claimed = yard.tasks.claim(yard.request(max, Duration::ZERO)).await;
    expect_limit(claimed, "max_claim")
}

/// Claiming and extending by this lease must be refused.
async fn lease_is_refused(cx: &Context, lease: Duration) -> Outcome {
    let yard = Yard::with(cx, [task("a")]).await?;
    let request = ClaimRequest {
        lease,
        ..yard.request(1, Duration::ZERO)
    };
    expect_kind(yard.tasks.claim(request).await, ErrorKind::InvalidArgument)?;
    let claim = yard.next_is("a").await?;
    ensure_eq(claim.task.attempt, 1, "the attempt after a refusal")?;
    let token = claim.lease.token.clone();
    let extended = yard
        .tasks
        .settle_one(TaskSettle::Extend { token, lease })
        .await;
    expect_kind(extended, ErrorKind::InvalidArgument)?;
    yard.complete(&claim).await
}

async fn a_lease_beyond_max_lease_is_refused(cx: Context) -> Outcome {
    let longest = cx.tasks().await?.capability().max_lease;
    lease_is_refused(&cx, longest + Duration::from_millis(1)).await
}

async fn a_lease_below_min_lease_is_refused(cx: Context) -> Outcome {
    let shortest = cx.tasks().await?.capability().min_lease;
    lease_is_refused(&cx, shortest - Duration::from_nanos(1)).await
}
