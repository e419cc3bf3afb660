//! Who travels with whom, and what comes back to whom.

use tokio::sync::Semaphore;

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

/// Calls with these weights, in this order, each in a task of its own.
async fn start(
    rounds: &Arc<Rounds<Slow>>,
    lets: &Arc<Semaphore>,
    weights: &[usize],
) -> Vec<tokio::task::JoinHandle<Result<usize>>> {
    let mut tasks = Vec::new();
    for weight in weights.iter().copied() {
        let call = Slow {
            weight,
            lets: Arc::clone(lets),
            fails: weight == 0,
        };
        let rounds = Arc::clone(rounds);
        tasks.push(tokio::spawn(async move { rounds.call("lane", call).await }));
        // The first sets out before the second calls.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
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
        tokio::task::yield_now().await;
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

/// As [`Slow`], and two travel abreast.
struct Abreast(Slow);

impl Call for Abreast {
    type Lane = &'static str;
    type Answer = usize;

    const MOST: usize = 1000;
    const ABREAST: usize = 2;

    fn weight(&self) -> usize {
        1
    }

    async fn make(calls: Vec<Self>) -> Result<Vec<usize>> {
        Slow::make(calls.into_iter().map(|call| call.0).collect()).await
    }
}

#[tokio::test]
async fn many_who_wait_travel_in_two_halves() {
    let (rounds, lets) = (Arc::new(Rounds::default()), Arc::new(Semaphore::new(0)));
    let mut tasks = Vec::new();
    for _ in 0..1 + 2 * ENOUGH {
        let call = Abreast(Slow {
            weight: 1,
            lets: Arc::clone(&lets),
            fails: false,
        });
        let rounds = Arc::clone(&rounds);
        tasks.push(tokio::spawn(async move { rounds.call("lane", call).await }));
    }
    // They all call before the first comes back.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    lets.add_permits(3);
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap().unwrap());
    }
    assert_eq!(answers[0], 1);
    assert!(answers[1..].iter().all(|travelled| *travelled == ENOUGH));
    while !rounds.lanes.lock().is_empty() {
        tokio::task::yield_now().await;
    }
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
