//! Closing, and opening again.

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{Backend, ErrorKind, FailRetry, StackDepth, TaskStackExt, TaskState};

use crate::case::case;
use crate::cases::yard::{Yard, ended, task};
use crate::{Case, Context, Failure, Outcome, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    let durable = |case: Case| case.reopens().tasks(|c| c.durability.process_kill);
    vec![
        case!(closing_again_is_ok),
        case!(a_closed_handle_answers_closed),
        case!(other_handles_live_on),
        case!(another_handle_may_settle),
        durable(case!(tasks_survive_a_restart)),
        durable(case!(a_completed_task_never_runs_again_after_a_restart)),
        durable(case!(a_family_survives_a_restart)),
        durable(case!(a_claim_survives_a_restart)),
    ]
}

async fn closing_again_is_ok(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let yard = Yard::on(&cx, &**instance.backend(), cx.scope()).await?;
    yard.tasks.close().await?;
    yard.tasks.close().await?;
    instance.backend().close().await?;
    Ok(yard.tasks.close().await?)
}

async fn a_closed_handle_answers_closed(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a"), task("b")]).await?;
    let claim = yard.next_is("b").await?;
    yard.tasks.close().await?;
    let pushed = yard.tasks.push_one(&yard.stack, task("c")).await;
    expect_kind(pushed, ErrorKind::Closed)?;
    let claimed = yard.tasks.claim(yard.request(1, Duration::ZERO)).await;
    expect_kind(claimed, ErrorKind::Closed)?;
    expect_kind(yard.tasks.release(&claim.lease).await, ErrorKind::Closed)?;
    expect_kind(yard.tasks.get(&claim.task.id).await, ErrorKind::Closed)?;
    let other = Yard::new(&cx).await?;
    other.stands("b", TaskState::Running).await?;
    other.all_are(&["a"]).await
}

async fn other_handles_live_on(cx: Context) -> Outcome {
    let (yard, other) = (Yard::new(&cx).await?, Yard::new(&cx).await?);
    yard.tasks.close().await?;
    other.push([task("a")]).await?;
    other.all_are(&["a"]).await
}

async fn another_handle_may_settle(cx: Context) -> Outcome {
    let (yard, other) = (Yard::with(&cx, [task("a")]).await?, Yard::new(&cx).await?);
    let claim = yard.next_is("a").await?;
    other.complete(&claim).await?;
    yard.stands("a", TaskState::Completed).await
}

async fn open(cx: &Context, backend: &Arc<dyn Backend>) -> Result<Yard, Failure> {
    Yard::on(cx, &**backend, cx.scope()).await
}

async fn tasks_survive_a_restart(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let yard = open(&cx, instance.backend()).await?;
    yard.push(["a", "b", "c", "d"].map(task)).await?;
    yard.all_are(&["d"]).await?;
    let claim = yard.next_is("c").await?;
    yard.fail(&claim, "no", FailRetry::After(Duration::from_secs(3600)))
        .await?;
    let before = [
        yard.get("d").await?,
        yard.get("c").await?,
        yard.get("a").await?,
    ];
    let instance = instance.reopen().await?;
    let yard = open(&cx, instance.backend()).await?;
    let after = [
        yard.get("d").await?,
        yard.get("c").await?,
        yard.get("a").await?,
    ];
    ensure_eq(after, before, "the tasks after a restart")?;
    let depth = StackDepth {
        ready: 2,
        delayed: 1,
        ..StackDepth::default()
    };
    ensure_eq(
        yard.tasks.depth(&yard.stack).await?,
        depth,
        "the depth after a restart",
    )?;
    yard.all_are(&["b", "a"]).await
}

async fn a_completed_task_never_runs_again_after_a_restart(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let yard = open(&cx, instance.backend()).await?;
    yard.push([task("a")]).await?;
    let claim = yard.next_is("a").await?;
    yard.complete(&claim).await?;
    let instance = instance.reopen().await?;
    let yard = open(&cx, instance.backend()).await?;
    yard.stays_empty().await?;
    ensure_eq(
        yard.push([task("a")]).await?[0].duplicate,
        true,
        "duplicate of a repeat",
    )?;
    yard.complete(&claim).await?;
    yard.stays_empty().await
}

async fn a_family_survives_a_restart(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let yard = open(&cx, instance.backend()).await?;
    yard.push([task("p")]).await?;
    let parent = yard.next_is("p").await?;
    yard.push_below(&parent, ["a", "b"].map(task)).await?;
    yard.all_are(&["b"]).await?;
    let instance = instance.reopen().await?;
    let yard = open(&cx, instance.backend()).await?;
    yard.stands("p", TaskState::Suspended).await?;
    yard.all_are(&["a"]).await?;
    let resumed = yard.next_is("p").await?;
    let told: Vec<String> = resumed.outcomes.iter().map(ended).collect();
    ensure_eq(
        told,
        ["a completed", "b completed"],
        "the outcomes after a restart",
    )?;
    ensure_eq(resumed.task.attempt, 1, "the attempt after a restart")
}

async fn a_claim_survives_a_restart(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let yard = open(&cx, instance.backend()).await?;
    yard.push(["a", "b"].map(task)).await?;
    let long = yard.next_is("b").await?;
    yard.next_briefly("a").await?;
    let instance = instance.reopen().await?;
    let yard = open(&cx, instance.backend()).await?;
    yard.stands("b", TaskState::Running).await?;
    let again = yard
        .next_within(yard.timing.short_lease + yard.timing.redelivery)
        .await?;
    let told = (again.task.id.as_str(), again.task.attempt);
    ensure_eq(told, ("a", 2), "the task whose lease ran out meanwhile")?;
    yard.complete(&long).await?;
    yard.stands("b", TaskState::Completed).await
}
