//! Many tasks and many workers.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use statehouse_contracts::{ClaimRequest, TaskStackExt};

use crate::common::{Bench, LONG, request, stack, task};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_task_goes_to_one_of_many_waiting_workers() {
    let bench = Bench::new().await;
    let workers: Vec<_> = (0..50)
        .map(|_| {
            let tasks = bench.tasks.clone();
            tokio::spawn(async move {
                let claims = tasks.claim(request("s", LONG)).await.unwrap();
                claims[0].task.id.to_string()
            })
        })
        .collect();
    for n in 0..50 {
        bench
            .tasks
            .push_one(&stack("s"), task(&n.to_string()))
            .await
            .unwrap();
    }
    let mut seen = HashSet::new();
    for worker in workers {
        assert!(
            seen.insert(worker.await.unwrap()),
            "a task was handed out twice"
        );
    }
    assert_eq!(bench.depth("s").await, [0, 0, 50, 0]);
}

/// The median time of a claim and its release.
async fn claim_time(bench: &Bench) -> Duration {
    let mut times = Vec::new();
    for _ in 0..60 {
        let begun = Instant::now();
        let one = ClaimRequest {
            max: 1,
            ..request("s", Duration::ZERO)
        };
        let claims = bench.tasks.claim(one).await.unwrap();
        times.push(begun.elapsed());
        bench.tasks.release(&claims[0].lease).await.unwrap();
    }
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test]
async fn a_claim_takes_no_longer_with_many_pending() {
    let bench = Bench::new().await;
    let mut pushed = 0;
    let mut fill = async |until: usize| {
        while pushed < until {
            let tasks = (pushed..pushed + 500)
                .map(|n| task(&n.to_string()))
                .collect();
            bench.push_under("s", tasks, None).await.unwrap();
            pushed += 500;
        }
    };
    fill(500).await;
    let few = claim_time(&bench).await;
    fill(50_000).await;
    let many = claim_time(&bench).await;
    // A scan would take a hundred times as long; a busy machine takes a few times as long.
    assert!(
        many < 8 * few + Duration::from_millis(2),
        "{few:?}, then {many:?}"
    );
    assert_eq!(bench.depth("s").await, [50_000, 0, 0, 0]);
}
