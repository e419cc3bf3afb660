//! Parents and children, cancelling, and how long finished tasks are kept.

use std::{sync::Arc, time::Duration};

use statehouse_contracts::{ChildOutcome, ErrorKind, FailRetry, NewTask, TaskStackExt, TaskState};

use crate::common::{BRIEF, Bench, PATIENCE, id, request, task};

fn told(outcomes: &[ChildOutcome]) -> Vec<String> {
    outcomes
        .iter()
        .map(|outcome| {
            let says = match (&outcome.result, &outcome.error) {
                (Some((result, _)), _) => String::from_utf8_lossy(result).into_owned(),
                (None, Some(error)) => error.clone(),
                (None, None) => "nothing".to_owned(),
            };
            format!("{} {:?} {says}", outcome.id, outcome.state)
        })
        .collect()
}

#[tokio::test]
async fn a_parent_waits_for_its_children_and_gets_their_outcomes() {
    let bench = Bench::new().await;
    bench.push("s", &["old", "parent", "new"]).await;
    let new = bench.claim("s").await;
    let parent = bench.claim("s").await;
    let children = vec![task("c1"), task("c2"), task("c3")];
    bench
        .push_under("kids", children, Some(&parent.lease))
        .await
        .unwrap();
    assert_eq!(bench.state("parent").await, TaskState::Suspended);
    assert_eq!(bench.depth("s").await, [1, 0, 1, 1]);

    let c3 = bench.claim("kids").await;
    assert_eq!(
        (c3.task.depth, c3.task.parent.clone()),
        (1, Some(id("parent")))
    );
    bench.complete(&c3, "three").await;
    let c2 = bench.claim("kids").await;
    assert_eq!(bench.fail(&c2, FailRetry::Never).await, TaskState::Failed);
    assert_eq!(bench.state("parent").await, TaskState::Suspended);
    assert_eq!(bench.tasks.cancel(&id("c1")).await.unwrap(), 1);

    // Ready at its old place: above the old task.
    let resumed = bench.claim("s").await;
    assert_eq!(
        (resumed.task.id.as_str(), resumed.task.attempt),
        ("parent", 1)
    );
    let expected = [
        "c1 Cancelled nothing",
        "c2 Failed no luck",
        "c3 Completed three",
    ];
    assert_eq!(told(&resumed.outcomes), expected);

    bench
        .push_under("kids", vec![task("c4")], Some(&resumed.lease))
        .await
        .unwrap();
    let c4 = bench.claim("kids").await;
    bench.complete(&c4, "four").await;
    let last = bench.claim("s").await;
    assert_eq!(told(&last.outcomes)[3], "c4 Completed four");
    assert_eq!(last.task.attempt, 1);
    bench.complete(&last, "all").await;
    bench.complete(&new, "new").await;
    assert_eq!(bench.now("s").await.as_deref(), Some("old"));
    assert_eq!(bench.depth("kids").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn pushing_children_again_after_a_failure_waits_only_for_new_ones() {
    let bench = Bench::new().await;
    bench.push("s", &["parent"]).await;
    let parent = bench.claim("s").await;
    bench
        .push_under("s", vec![task("c")], Some(&parent.lease))
        .await
        .unwrap();
    let child = bench.claim("s").await;
    bench.complete(&child, "done").await;
    let resumed = bench.claim("s").await;
    let again = bench
        .push_under("s", vec![task("c")], Some(&resumed.lease))
        .await
        .unwrap();
    assert!(again[0].duplicate);
    let resumed = bench.claim("s").await;
    assert_eq!(told(&resumed.outcomes), ["c Completed done"]);
    assert_eq!(resumed.task.attempt, 1);
}

#[tokio::test]
async fn a_resumed_attempt_counts_when_it_fails_and_not_when_released() {
    let bench = Bench::new().await;
    bench.push("s", &["parent"]).await;
    let parent = bench.claim("s").await;
    bench
        .push_under("s", vec![task("c")], Some(&parent.lease))
        .await
        .unwrap();
    bench.tasks.cancel(&id("c")).await.unwrap();
    let resumed = bench.claim("s").await;
    bench.tasks.release(&resumed.lease).await.unwrap();
    let resumed = bench.claim("s").await;
    assert_eq!(resumed.task.attempt, 1);
    bench.fail(&resumed, FailRetry::Backoff).await;
    let second = bench.claim("s").await;
    assert_eq!(second.task.attempt, 2);
    assert_eq!(told(&second.outcomes), ["c Cancelled nothing"]);
}

#[tokio::test]
async fn cancel_ends_the_subtree_and_tells_who_works_on_it() {
    let bench = Bench::new().await;
    bench.push("s", &["root"]).await;
    let root = bench.claim("s").await;
    bench
        .push_under("s", vec![task("mid"), task("leaf")], Some(&root.lease))
        .await
        .unwrap();
    let leaf = bench.claim("s").await;
    let mid = bench.claim("s").await;
    bench
        .push_under("t", vec![task("deep")], Some(&mid.lease))
        .await
        .unwrap();
    let deep = bench.claim("t").await;
    bench.complete(&leaf, "done").await;
    assert_eq!(bench.tasks.cancel(&id("mid")).await.unwrap(), 2);
    for error in [
        bench.tasks.release(&deep.lease).await.unwrap_err(),
        bench
            .push_under("t", vec![task("x")], Some(&deep.lease))
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
    let root = bench.claim("s").await;
    assert_eq!(
        told(&root.outcomes),
        ["mid Cancelled nothing", "leaf Completed done"]
    );
    assert_eq!(bench.tasks.cancel(&id("root")).await.unwrap(), 1);
    assert_eq!(bench.tasks.cancel(&id("root")).await.unwrap(), 0);
    let unknown = bench.tasks.cancel(&id("nobody")).await;
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(bench.tasks.stacks().await.unwrap(), []);
}

#[tokio::test]
async fn a_child_whose_lease_ends_for_good_resumes_its_waiting_parent() {
    let bench = Bench::new().await;
    bench.push("s", &["parent"]).await;
    let parent = bench.claim("s").await;
    let once = NewTask {
        max_attempts: 1,
        ..task("c")
    };
    bench
        .push_under("t", vec![once], Some(&parent.lease))
        .await
        .unwrap();
    let tasks = bench.tasks.clone();
    let waiting = tokio::spawn(async move { tasks.claim(request("s", PATIENCE)).await });
    bench.claim_for("t", BRIEF).await;
    let claims = waiting.await.unwrap().unwrap();
    assert_eq!(told(&claims[0].outcomes), ["c Failed lease expired"]);
}

#[tokio::test]
async fn nesting_has_an_end() {
    let bench = Bench::new().await;
    bench.push("s", &["0"]).await;
    for depth in 1..=64 {
        let parent = bench.claim("s").await;
        let child = vec![task(&depth.to_string())];
        bench
            .push_under("s", child, Some(&parent.lease))
            .await
            .unwrap();
    }
    let deepest = bench.claim("s").await;
    let refused = bench
        .push_under("s", vec![task("65")], Some(&deepest.lease))
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument);
    bench.complete(&deepest, "done").await;
    assert_eq!(bench.claim("s").await.task.id.as_str(), "63");
}

#[tokio::test]
async fn finished_tasks_are_forgotten_but_not_the_children_of_an_unfinished_parent() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let bench = Bench::open(directory, "?task_retention=0s").await;
    bench.push("s", &["parent"]).await;
    let parent = bench.claim("s").await;
    bench
        .push_under("s", vec![task("c")], Some(&parent.lease))
        .await
        .unwrap();
    let child = bench.claim("s").await;
    bench.complete(&child, "done").await;
    bench.push("t", &["alone"]).await;
    let alone = bench.claim("t").await;
    bench.complete(&alone, "done").await;
    until_gone(&bench, "alone").await;
    assert_eq!(bench.state("c").await, TaskState::Completed);
    let resumed = bench.claim("s").await;
    assert_eq!(told(&resumed.outcomes), ["c Completed done"]);
    bench.complete(&resumed, "all").await;
    until_gone(&bench, "parent").await;
    assert_eq!(bench.tasks.get(&id("c")).await.unwrap(), None);
}

async fn until_gone(bench: &Bench, name: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while bench.tasks.get(&id(name)).await.unwrap().is_some() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{name} must be forgotten"
        );
        // sleep: the interval of a poll with a deadline
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
