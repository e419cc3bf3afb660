//! Tasks that push children, and come back after them.

use statehouse_contracts::{Claim, ErrorKind, FailRetry, OpId, Push, TaskStackExt, TaskState};

use crate::case::case;
use crate::cases::yard::{Yard, task, task_of};
use crate::{Case, Context, Failure, Outcome, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_push_with_a_parent_suspends_it),
        case!(a_push_with_a_parent_ends_its_lease),
        case!(a_child_tells_its_parent_and_depth),
        case!(children_come_newest_first),
        case!(children_may_lie_on_any_stacks),
        case!(a_parent_waits_for_all_of_its_children),
        case!(a_parent_resumes_at_its_old_place),
        case!(grandchildren_come_before_their_grandparent),
        case!(an_empty_push_leaves_its_parent_alone),
        case!(a_refused_push_leaves_its_parent_alone),
        case!(a_repeated_push_with_a_parent_answers_the_first_result),
        case!(repeating_a_push_with_a_parent_needs_its_op_id),
        case!(a_child_that_was_there_before_is_a_conflict),
        case!(a_cancelled_parent_cannot_push),
        case!(resuming_is_no_attempt),
        case!(releasing_a_resumed_parent_counts_nothing),
        case!(a_resumed_parent_whose_lease_ends_has_had_an_attempt),
        case!(nesting_goes_down_to_its_limit).tasks(|c| c.max_nesting <= 100),
    ]
}

/// A claimed task `p`.
async fn parent(cx: &Context) -> Result<(Yard, Claim), Failure> {
    let yard = Yard::with(cx, [task("p")]).await?;
    let claim = yard.next_is("p").await?;
    Ok((yard, claim))
}

async fn a_push_with_a_parent_suspends_it(cx: Context) -> Outcome {
    let (yard, parent) = parent(&cx).await?;
    yard.push_below(&parent, [task("a")]).await?;
    let stands = yard.get("p").await?;
    ensure_eq(
        (stands.state, stands.attempt),
        (TaskState::Suspended, 1),
        "state and attempt",
    )?;
    let child = yard.next_is("a").await?;
    yard.is_empty().await?;
    yard.complete(&child).await?;
    yard.all_are(&["p"]).await
}

async fn a_push_with_a_parent_ends_its_lease(cx: Context) -> Outcome {
    let (yard, parent) = parent(&cx).await?;
    yard.push_below(&parent, [task("a")]).await?;
    yard.refuses(&parent.lease.token, ErrorKind::LeaseLost)
        .await?;
    yard.stands("p", TaskState::Suspended).await?;
    let again = Push {
        parent: Some(parent.lease.token.clone()),
        ..yard.batch([task("b")])
    };
    expect_kind(yard.tasks.push(again).await, ErrorKind::LeaseLost)?;
    yard.all_are(&["a", "p"]).await
}

async fn a_child_tells_its_parent_and_depth(cx: Context) -> Outcome {
    let (yard, parent) = parent(&cx).await?;
    yard.push_below(&parent, [task("a")]).await?;
    let child = yard.next_is("a").await?;
    yard.push_below(&child, [task("b")]).await?;
    for (id, above, depth) in [("p", None, 0), ("a", Some("p"), 1), ("b", Some("a"), 2)] {
        let task = yard.get(id).await?;
        let told = (
            task.parent.as_ref().map(|parent| parent.as_str()),
            task.depth,
        );
        ensure_eq(told, (above, depth), "parent and depth")?;
    }
    Ok(())
}

async fn children_come_newest_first(cx: Context) -> Outcome {
    let (yard, parent) = parent(&cx).await?;
    yard.push_below(&parent, ["a", "b", "c"].map(task)).await?;
    yard.all_are(&["c", "b", "a", "p"]).await
}

async fn children_may_lie_on_any_stacks(cx: Context) -> Outcome {
    let (yard, first) = parent(&cx).await?;
    let (one, two) = (yard.at("one"), yard.at("two"));
    one.push_below(&first, ["a", "b"].map(task)).await?;
    yard.is_empty().await?;
    one.all_are(&["b", "a"]).await?;
    let again = yard.next_is("p").await?;
    two.push_below(&again, [task("c")]).await?;
    yard.is_empty().await?;
    two.all_are(&["c"]).await?;
    yard.all_are(&["p"]).await
}

async fn a_parent_waits_for_all_of_its_children(cx: Context) -> Outcome {
    let (yard, parent) = parent(&cx).await?;
    yard.push_below(&parent, ["a", "b", "c"].map(task)).await?;
    let claims = yard.claim_now(3).await?;
    ensure_eq(claims.len(), 3, "the number of children")?;
    yard.complete(&claims[1]).await?;
    yard.fail(&claims[0], "no", FailRetry::Never).await?;
    yard.is_empty().await?;
    yard.stands("p", TaskState::Suspended).await?;
    yard.tasks.cancel(&claims[2].task.id).await?;
    yard.stands("p", TaskState::Ready).await
}

async fn a_parent_resumes_at_its_old_place(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, ["old", "p"].map(task)).await?;
    let parent = yard.next_is("p").await?;
    yard.push_below(&parent, [task("child")]).await?;
    yard.push([task("new")]).await?;
    yard.all_are(&["new", "child"]).await?;
    yard.push([task("newest")]).await?;
    yard.all_are(&["newest", "p", "old"]).await
}

async fn grandchildren_come_before_their_grandparent(cx: Context) -> Outcome {
    let (yard, parent) = parent(&cx).await?;
    yard.push_below(&parent, ["a", "b"].map(task)).await?;
    let child = yard.next_is("b").await?;
    yard.push_below(&child, ["c", "d"].map(task)).await?;
    yard.all_are(&["d", "c", "b", "a", "p"]).await?;
    yard.is_empty().await
}

async fn an_empty_push_leaves_its_parent_alone(cx: Context) -> Outcome {
    let (yard, parent) = parent(&cx).await?;
    ensure_eq(
        yard.push_below(&parent, []).await?.len(),
        0,
        "the number of answers",
    )?;
    yard.stands("p", TaskState::Running).await?;
    yard.complete(&parent).await
}

async fn a_refused_push_leaves_its_parent_alone(cx: Context) -> Outcome {
    let (yard, parent) = parent(&cx).await?;
    let twice = Push {
        parent: Some(parent.lease.token.clone()),
        ..yard.batch([task("a"), task("a")])
    };
    expect_kind(yard.tasks.push(twice).await, ErrorKind::InvalidArgument)?;
    yard.stands("p", TaskState::Running).await?;
    yard.complete(&parent).await
}

async fn a_repeated_push_with_a_parent_answers_the_first_result(cx: Context) -> Outcome {
    let (yard, parent) = parent(&cx).await?;
    let push = Push {
        parent: Some(parent.lease.token.clone()),
        op_id: Some(OpId::random()),
        ..yard.batch([task("a")])
    };
    let first = yard.tasks.push(push.clone()).await?;
    ensure_eq(
        yard.tasks.push(push.clone()).await?,
        first.clone(),
        "the answer to the repeat",
    )?;
    yard.all_are(&["a"]).await?;
    let resumed = yard.next_is("p").await?;
    ensure_eq(
        yard.tasks.push(push).await?,
        first,
        "the answer to a late repeat",
    )?;
    yard.stands("p", TaskState::Running).await?;
    yard.complete(&resumed).await
}

async fn repeating_a_push_with_a_parent_needs_its_op_id(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("parent")]).await?;
    let parent = yard.next_is("parent").await?;
    let push = Push {
        parent: Some(parent.lease.token.clone()),
        ..yard.batch([task("child")])
    };
    yard.tasks.push(push.clone()).await?;
    expect_kind(yard.tasks.push(push).await, ErrorKind::LeaseLost)?;
    yard.all_are(&["child", "parent"]).await
}

async fn a_child_that_was_there_before_is_a_conflict(cx: Context) -> Outcome {
    let (yard, parent) = parent(&cx).await?;
    yard.push([task("a")]).await?;
    let push = Push {
        parent: Some(parent.lease.token.clone()),
        ..yard.batch([task("b"), task("a")])
    };
    expect_kind(yard.tasks.push(push).await, ErrorKind::Conflict)?;
    yard.stands("p", TaskState::Running).await?;
    yard.all_are(&["a"]).await?;
    yard.complete(&parent).await
}

async fn a_cancelled_parent_cannot_push(cx: Context) -> Outcome {
    let (yard, parent) = parent(&cx).await?;
    yard.tasks.cancel(&parent.task.id).await?;
    let push = Push {
        parent: Some(parent.lease.token.clone()),
        ..yard.batch([task("a")])
    };
    expect_kind(yard.tasks.push(push).await, ErrorKind::Cancelled)?;
    ensure_eq(yard.tasks.get(&task("a").id).await?, None, "the child")
}

/// A task with `max_attempts` attempts that has pushed a child, which is done; claimed again.
async fn resumed(cx: &Context, max_attempts: u32) -> Result<(Yard, Claim), Failure> {
    let yard = Yard::with(cx, [task_of("p", max_attempts)]).await?;
    let claim = yard.next_is("p").await?;
    yard.push_below(&claim, [task("a")]).await?;
    yard.all_are(&["a"]).await?;
    let claim = yard.next_is("p").await?;
    Ok((yard, claim))
}

async fn resuming_is_no_attempt(cx: Context) -> Outcome {
    let (yard, mut claim) = resumed(&cx, 1).await?;
    for child in ["b", "c"] {
        ensure_eq(claim.task.attempt, 1, "the attempt of a resumed parent")?;
        yard.push_below(&claim, [task(child)]).await?;
        yard.all_are(&[child]).await?;
        claim = yard.next_is("p").await?;
    }
    ensure_eq(claim.task.attempt, 1, "the attempt of a resumed parent")?;
    yard.complete(&claim).await
}

async fn releasing_a_resumed_parent_counts_nothing(cx: Context) -> Outcome {
    let (yard, claim) = resumed(&cx, 2).await?;
    yard.tasks.release(&claim.lease).await?;
    let again = yard.next_is("p").await?;
    ensure_eq(again.task.attempt, 1, "the attempt after a release")?;
    ensure_eq(
        again.outcomes,
        claim.outcomes,
        "the outcomes after a release",
    )
}

async fn a_resumed_parent_whose_lease_ends_has_had_an_attempt(cx: Context) -> Outcome {
    let (yard, claim) = resumed(&cx, 2).await?;
    yard.tasks.release(&claim.lease).await?;
    yard.next_briefly("p").await?;
    let wait = yard.timing.short_lease + yard.timing.redelivery;
    let again = yard.next_within(wait).await?;
    ensure_eq(
        again.task.attempt,
        2,
        "the attempt after the end of a lease",
    )?;
    ensure_eq(
        &again.outcomes,
        &claim.outcomes,
        "the outcomes in the next attempt",
    )?;
    let state = yard.fail(&again, "no", FailRetry::Backoff).await?;
    ensure_eq(
        state,
        TaskState::Failed,
        "where it stands after its last attempt",
    )
}

async fn nesting_goes_down_to_its_limit(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("0")]).await?;
    let deepest = yard.tasks.capability().max_nesting;
    for depth in 1..=deepest {
        let above = yard.next_is(&(depth - 1).to_string()).await?;
        yard.push_below(&above, [task(&depth.to_string())]).await?;
    }
    let last = yard.next_is(&deepest.to_string()).await?;
    ensure_eq(last.task.depth as usize, deepest, "the deepest depth")?;
    let beyond = Push {
        parent: Some(last.lease.token.clone()),
        ..yard.batch([task("beyond")])
    };
    expect_kind(yard.tasks.push(beyond).await, ErrorKind::InvalidArgument)?;
    yard.complete(&last).await?;
    for depth in (0..deepest).rev() {
        yard.all_are(&[depth.to_string().as_str()]).await?;
    }
    yard.is_empty().await
}
