//! Who travels with whom, and what comes back to whom.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::poll;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, yield_now};

use super::*;

/// A call that comes back, with how many travelled, when it is let.
struct Slow {
    weight: usize,
    lets: Arc<Semaphore>,
    fails: bool,
}

impl Call for Slow {
    type Lane = &'static str;
    type Answer = usize;

    const MOST: usize = 10;

    fn weight(&self) -> usize {
        self.weight
    }

    async fn make(calls: Vec<Self>) -> Result<Vec<usize>> {
        let let_go = calls[0].lets.acquire().await;
        let_go.expect("the semaphore stays open").forget();
        if calls.iter().any(|call| call.fails) {
            return Err(Error::internal("as told"));
        }
        Ok(vec![calls.len(); calls.len()])
    }
}

fn slow(weight: usize, lets: &Arc<Semaphore>) -> Slow {
    Slow {
        weight,
        lets: Arc::clone(lets),
        fails: weight == 0,
    }
}

/// Calls with these weights, in this order, each in a task of its own.
async fn start(
    rounds: &Arc<Rounds<Slow>>,
    lets: &Arc<Semaphore>,
    weights: &[usize],
) -> Vec<JoinHandle<Result<usize>>> {
    let mut tasks = Vec::new();
    for weight in weights.iter().copied() {
        let call = slow(weight, lets);
        let rounds = Arc::clone(rounds);
        tasks.push(tokio::spawn(async move { rounds.call("lane", call).await }));
        // The first sets out before the second calls.
        yield_now().await;
        yield_now().await;
        yield_now().await;
    }
    tasks
}

#[tokio::test]
async fn who_waits_travels_together_up_to_the_most() {
    let (rounds, lets) = (Arc::default(), Arc::new(Semaphore::new(0)));
    let tasks = start(&rounds, &lets, &[1, 4, 4, 4, 20]).await;
    lets.add_permits(10);
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap().unwrap());
    }
    assert_eq!(answers, [1, 2, 2, 1, 1]);
    while !rounds.lanes.lock().is_empty() {
        yield_now().await;
    }
}

/// A call whose answer, dropped, says so.
struct Precious(Arc<Semaphore>, Arc<Semaphore>);

struct Taken(Arc<Semaphore>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

impl Call for Precious {
    type Lane = ();
    type Answer = Taken;

    const MOST: usize = 1;
    const OUTLIVES_CALLER: bool = true;

    fn weight(&self) -> usize {
        1
    }

    async fn make(calls: Vec<Self>) -> Result<Vec<Taken>> {
        let let_go = calls[0].0.acquire().await;
        let_go.expect("the semaphore stays open").forget();
        Ok(calls.into_iter().map(|call| Taken(call.1)).collect())
    }
}

#[tokio::test]
async fn what_comes_back_for_who_has_gone_is_taken_in() {
    let (rounds, lets) = (Rounds::default(), Arc::new(Semaphore::new(0)));
    let back = Arc::new(Semaphore::new(0));
    let call = rounds.call((), Precious(Arc::clone(&lets), Arc::clone(&back)));
    let gone = tokio::time::timeout(Duration::from_millis(20), call).await;
    assert!(gone.is_err(), "it is under way");
    lets.add_permits(1);
    let taken_in = tokio::time::timeout(Duration::from_secs(10), back.acquire()).await;
    assert!(taken_in.is_ok());
}

/// A road that two round trips take abreast, each until it is let.
struct Road {
    lets: Semaphore,
    begun: AtomicUsize,
}

impl Road {
    fn closed() -> Arc<Self> {
        Arc::new(Self {
            lets: Semaphore::new(0),
            begun: AtomicUsize::default(),
        })
    }

    /// Waits until so many have set out in all.
    async fn has_seen(&self, wanted: usize) {
        until(|| self.begun.load(Ordering::SeqCst) >= wanted).await;
    }

    /// No more than so many set out.
    async fn sees_no_more_than(&self, wanted: usize) {
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(self.begun.load(Ordering::SeqCst), wanted);
    }
}

async fn until(reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    in_time.expect("it comes to that");
}

struct Abreast(Arc<Road>);

impl Call for Abreast {
    type Lane = &'static str;
    type Answer = usize;

    const MOST: usize = 1_000_000;
    const ABREAST: usize = 2;

    fn weight(&self) -> usize {
        1
    }

    async fn make(calls: Vec<Self>) -> Result<Vec<usize>> {
        let road = &calls[0].0;
        road.begun.fetch_add(1, Ordering::SeqCst);
        let let_go = road.lets.acquire().await;
        let_go.expect("the semaphore stays open").forget();
        Ok(vec![calls.len(); calls.len()])
    }
}

/// Has so many more call, each in a task of its own.
fn call_more(
    rounds: &Arc<Rounds<Abreast>>,
    road: &Arc<Road>,
    count: usize,
) -> Vec<JoinHandle<Result<usize>>> {
    let call = |_| {
        let (rounds, road) = (Arc::clone(rounds), Arc::clone(road));
        tokio::spawn(async move { rounds.call("lane", Abreast(road)).await })
    };
    (0..count).map(call).collect()
}

fn waiting<C: Call<Lane = &'static str>>(rounds: &Rounds<C>) -> usize {
    let lanes = rounds.lanes.lock();
    lanes.get("lane").map_or(0, |queue| queue.waiting.len())
}

async fn answers(tasks: Vec<JoinHandle<Result<usize>>>) -> Vec<usize> {
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap().unwrap());
    }
    answers
}

#[tokio::test]
async fn many_who_wait_travel_in_two_halves() {
    let (rounds, road) = (Arc::new(Rounds::default()), Road::closed());
    let first = call_more(&rounds, &road, 1);
    road.has_seen(1).await;
    let halves = call_more(&rounds, &road, 2 * ENOUGH);
    until(|| waiting(&rounds) == 2 * ENOUGH).await;
    road.lets.add_permits(1);
    // Both are under way at once, as neither is let.
    road.has_seen(3).await;
    let rest = call_more(&rounds, &road, 4 * ENOUGH);
    until(|| waiting(&rounds) == 4 * ENOUGH).await;
    road.sees_no_more_than(3).await;
    // In place of the one that comes back goes one, not two beside the other.
    road.lets.add_permits(1);
    road.has_seen(4).await;
    road.sees_no_more_than(4).await;
    road.lets.add_permits(2);
    assert_eq!(answers(first).await, [1]);
    assert_eq!(answers(halves).await, [ENOUGH; 2 * ENOUGH]);
    assert_eq!(answers(rest).await, [4 * ENOUGH; 4 * ENOUGH]);
    until(|| rounds.lanes.lock().is_empty()).await;
}

#[tokio::test]
async fn who_calls_and_goes_again_and_again_holds_nobody_up() {
    let (rounds, lets) = (Arc::default(), Arc::new(Semaphore::new(0)));
    let tasks = start(&rounds, &lets, &[1, 1]).await;
    let restless = tokio::spawn({
        let (rounds, lets) = (Arc::clone(&rounds), Arc::clone(&lets));
        async move {
            for _ in 0..10_000 {
                tokio::select! {
                    biased;
                    _ = rounds.call("lane", slow(1, &lets)) => {}
                    () = yield_now() => {}
                }
            }
        }
    });
    for _ in 0..1000 {
        yield_now().await;
        assert!(waiting(&rounds) < 50, "who has gone is forgotten");
    }
    lets.add_permits(2);
    answers(tasks).await;
    assert!(!restless.is_finished(), "it was not waited for");
}

/// Goes to the end of the queue, but before those who yield.
async fn turn() {
    let mut yielded = false;
    let turn = std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    });
    turn.await;
}

#[tokio::test]
async fn ever_more_who_call_hold_nobody_up() {
    let (rounds, road) = (Arc::new(Rounds::default()), Road::closed());
    let tasks = call_more(&rounds, &road, 2);
    until(|| waiting(&rounds) == 1).await;
    let eager = tokio::spawn({
        let (rounds, road) = (Arc::clone(&rounds), Arc::clone(&road));
        async move {
            let mut calls = Vec::new();
            for _ in 0..20_000 {
                let mut call = Box::pin(rounds.call("lane", Abreast(Arc::clone(&road))));
                assert!(poll!(&mut call).is_pending());
                // They go on waiting.
                calls.push(call);
                turn().await;
            }
        }
    });
    road.lets.add_permits(1);
    road.has_seen(2).await;
    assert!(!eager.is_finished(), "it was not waited for");
    road.lets.add_permits(10);
    answers(tasks).await;
}

#[tokio::test]
async fn an_error_is_told_to_all_who_travelled() {
    let (rounds, lets) = (Arc::default(), Arc::new(Semaphore::new(0)));
    let tasks = start(&rounds, &lets, &[1, 0, 1]).await;
    lets.add_permits(10);
    let mut well = Vec::new();
    for task in tasks {
        well.push(task.await.unwrap().is_ok());
    }
    assert_eq!(well, [true, false, false]);
}

#[tokio::test]
async fn who_has_gone_does_not_travel() {
    let (rounds, lets) = (Arc::default(), Arc::new(Semaphore::new(0)));
    let mut tasks = start(&rounds, &lets, &[1, 1, 1]).await;
    let gone = tasks.remove(1);
    gone.abort();
    assert!(gone.await.is_err());
    lets.add_permits(10);
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), 1);
    }
}
