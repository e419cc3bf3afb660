//! Waiting for tasks.

use std::time::{Duration, Instant};

use statehouse_contracts::{Claim, Error, ErrorKind, FailRetry, NewTask, TaskStackExt};
use tokio::task::JoinHandle;

use crate::case::case;
use crate::cases::yard::{Yard, ids, task};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(what_is_there_comes_at_once),
        case!(none_in_time_is_ok_and_empty),
        case!(a_push_wakes_who_waits),
        case!(a_release_wakes_who_waits),
        case!(the_end_of_a_delay_wakes_who_waits),
        case!(the_end_of_a_lease_wakes_who_waits),
        case!(a_resumed_parent_wakes_who_waits),
        case!(of_many_who_wait_each_task_wakes_one),
        case!(dropping_a_wait_loses_nothing),
        case!(closing_the_handle_ends_the_wait),
        case!(closing_the_backend_ends_the_wait),
        case!(a_push_by_another_process_wakes_who_waits).reopens(),
    ]
}

type Waiting = JoinHandle<Result<Vec<Claim>, Error>>;

fn wait(yard: &Yard, how_long: Duration) -> Waiting {
    let yard = yard.clone();
    tokio::spawn(async move { yard.tasks.claim(yard.request(1, how_long)).await })
}

/// Waits on the stack a little, so that the claim surely waits.
async fn waiting(yard: &Yard) -> Result<Waiting, Failure> {
    let waiting = wait(yard, yard.timing.patience);
    // sleep: a call that waits cannot be told from one that has not begun
    tokio::time::sleep(yard.timing.quiet).await;
    ensure(!waiting.is_finished(), "without a task the call waits")?;
    Ok(waiting)
}

async fn answer(waiting: Waiting) -> Result<Result<Vec<Claim>, Error>, Failure> {
    waiting
        .await
        .map_err(|error| Failure::new(error.to_string()))
}

/// The wait must end with this task, soon.
async fn gets(waiting: Waiting, yard: &Yard, expected: &str) -> Outcome {
    let start = Instant::now();
    let claims = answer(waiting).await??;
    ensure_eq(
        ids(claims.iter().map(|claim| &claim.task)),
        [expected],
        "the claims",
    )?;
    ensure(
        start.elapsed() < yard.timing.patience / 2,
        "the wait ends soon",
    )
}

async fn what_is_there_comes_at_once(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    gets(wait(&yard, yard.timing.patience), &yard, "a").await
}

async fn none_in_time_is_ok_and_empty(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let start = Instant::now();
    yard.stays_empty().await?;
    ensure(
        start.elapsed() >= yard.timing.quiet,
        "it waits as long as asked",
    )
}

async fn a_push_wakes_who_waits(cx: Context) -> Outcome {
    let (yard, other) = (Yard::new(&cx).await?, Yard::new(&cx).await?);
    let waiting = waiting(&yard).await?;
    other.push([task("a")]).await?;
    gets(waiting, &yard, "a").await
}

async fn a_push_by_another_process_wakes_who_waits(cx: Context) -> Outcome {
    let one = cx.fresh().await?;
    let two = one.beside().await?;
    let yard = Yard::on(&cx, &**one.backend(), cx.scope()).await?;
    let other = Yard::on(&cx, &**two.backend(), cx.scope()).await?;
    let waiting = waiting(&yard).await?;
    other.push([task("a")]).await?;
    gets(waiting, &yard, "a").await
}

async fn a_release_wakes_who_waits(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let claim = yard.next_is("a").await?;
    let waiting = waiting(&yard).await?;
    yard.tasks.release(&claim.lease).await?;
    gets(waiting, &yard, "a").await
}

async fn the_end_of_a_delay_wakes_who_waits(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let delayed = NewTask {
        delay: yard.timing.delay,
        ..task("a")
    };
    yard.push([delayed]).await?;
    let claim = yard
        .next_within(yard.timing.delay + yard.timing.late)
        .await?;
    yard.fail(&claim, "no", FailRetry::After(yard.timing.delay))
        .await?;
    yard.next_within(yard.timing.delay + yard.timing.late)
        .await
        .map(|_| ())
}

async fn the_end_of_a_lease_wakes_who_waits(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    yard.next_briefly("a").await?;
    let claim = yard
        .next_within(yard.timing.short_lease + yard.timing.redelivery)
        .await?;
    ensure_eq(claim.task.attempt, 2, "the attempt")
}

async fn a_resumed_parent_wakes_who_waits(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("parent")]).await?;
    let parent = yard.next_is("parent").await?;
    let elsewhere = yard.at("children");
    elsewhere.push_below(&parent, [task("child")]).await?;
    let waiting = waiting(&yard).await?;
    elsewhere.all_are(&["child"]).await?;
    gets(waiting, &yard, "parent").await
}

async fn of_many_who_wait_each_task_wakes_one(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let waiting: Vec<Waiting> = (0..4).map(|_| wait(&yard, yard.timing.patience)).collect();
    // sleep: all four should be waiting, which nothing tells
    tokio::time::sleep(yard.timing.quiet).await;
    yard.push(["a", "b"].map(task)).await?;
    yard.push(["c", "d"].map(task)).await?;
    let mut got = Vec::new();
    for waiting in waiting {
        let claims = answer(waiting).await??;
        got.extend(ids(claims.iter().map(|claim| &claim.task)));
    }
    got.sort();
    ensure_eq(got, ["a", "b", "c", "d"], "the tasks that were claimed")
}

async fn dropping_a_wait_loses_nothing(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let waiting = wait(&yard, yard.timing.patience);
    // sleep: the call should be waiting when it is dropped, which nothing tells
    tokio::time::sleep(Duration::from_millis(10)).await;
    waiting.abort();
    // Once the call is surely gone, a task must not go to it.
    ensure(answer(waiting).await.is_err(), "the call was dropped")?;
    yard.push([task("a")]).await?;
    let claim = yard.next_is("a").await?;
    ensure_eq(claim.task.attempt, 1, "the attempt")
}

async fn closing_the_handle_ends_the_wait(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let waiting = waiting(&yard).await?;
    yard.tasks.close().await?;
    expect_kind(answer(waiting).await?, ErrorKind::Closed).map(|_| ())
}

async fn closing_the_backend_ends_the_wait(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let yard = Yard::on(&cx, &**instance.backend(), cx.scope()).await?;
    let waiting = waiting(&yard).await?;
    instance.backend().close().await?;
    expect_kind(answer(waiting).await?, ErrorKind::Closed).map(|_| ())
}
