//! Leases: their end, their tokens, and giving them back.

use std::{sync::Arc, time::Duration};

use statehouse_contracts::{
    Bytes, ClaimRequest, ContentType, ErrorKind, FailRetry, LeaseToken, NewTask, TaskSettle,
    TaskStackExt, TaskState,
};

use crate::common::{BRIEF, Bench, LONG, PATIENCE, id, request, task};

#[tokio::test]
async fn an_expired_lease_gives_the_task_back_until_it_has_failed() {
    let bench = Bench::new().await;
    let two = NewTask {
        max_attempts: 2,
        ..task("a")
    };
    bench.push_under("s", vec![two], None).await.unwrap();
    let first = bench.claim_for("s", BRIEF).await;
    let second = bench.claim_for("s", BRIEF).await;
    assert_eq!((first.task.attempt, second.task.attempt), (1, 2));
    assert_eq!(second.task.errors[0].error, "lease expired");
    let late = bench
        .tasks
        .complete(&first.lease, Bytes::new(), ContentType::TEXT)
        .await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::LeaseLost);
    bench.until("a", TaskState::Failed).await;
    assert_eq!(bench.get("a").await.errors.len(), 2);
    assert_eq!(bench.depth("s").await, [0, 0, 0, 0]);
    assert_eq!(bench.tasks.stacks().await.unwrap(), []);
}

#[tokio::test]
async fn a_repeated_settle_by_its_own_token_is_ok() {
    let bench = Bench::new().await;
    bench.push("s", &["a"]).await;
    let failed = bench.claim("s").await;
    let wait = FailRetry::After(LONG);
    assert_eq!(bench.fail(&failed, wait).await, TaskState::Delayed);
    assert_eq!(bench.fail(&failed, wait).await, TaskState::Delayed);
    assert_eq!(bench.get("a").await.errors.len(), 1);
    let complete = bench
        .tasks
        .complete(&failed.lease, Bytes::new(), ContentType::TEXT)
        .await;
    assert_eq!(complete.unwrap_err().kind(), ErrorKind::LeaseLost);

    bench.push("s", &["b"]).await;
    let claim = bench.claim("s").await;
    assert_eq!(
        bench.fail(&claim, FailRetry::Backoff).await,
        TaskState::Ready
    );
    let next = bench.claim("s").await;
    assert_eq!(next.task.attempt, 2);
    assert_eq!(
        bench.fail(&claim, FailRetry::Backoff).await,
        TaskState::Running
    );
    bench.complete(&next, "done").await;
    bench.complete(&next, "done").await;
    let (result, _) = bench.get("b").await.result.unwrap();
    assert_eq!(result, "done");
    assert_eq!(bench.now("s").await, None);
}

#[tokio::test]
async fn an_extension_replaces_the_token_and_a_release_counts_no_attempt() {
    let bench = Bench::new().await;
    bench.push("s", &["a"]).await;
    let claim = bench.claim_for("s", BRIEF).await;
    let lease = bench.tasks.extend(&claim.lease, LONG).await.unwrap();
    let stale = bench.tasks.release(&claim.lease).await;
    assert_eq!(stale.unwrap_err().kind(), ErrorKind::LeaseLost);
    // sleep: the old lease must be over, were it not extended
    tokio::time::sleep(2 * BRIEF).await;
    assert_eq!(bench.state("a").await, TaskState::Running);
    bench.tasks.release(&lease).await.unwrap();
    assert_eq!(bench.claim("s").await.task.attempt, 1);
}

#[tokio::test]
async fn a_claim_whose_caller_gave_up_counts_no_attempt() {
    let bench = Bench::new().await;
    bench.push("s", &["a"]).await;
    for _ in 0..20 {
        // Polled once, so that the claim is on its way, and then dropped.
        tokio::select! {
            biased;
            claims = bench.tasks.claim(request("s", Duration::ZERO)) => {
                // On a busy machine the answer may be there at once.
                for claim in claims.unwrap() {
                    bench.tasks.release(&claim.lease).await.unwrap();
                }
            }
            () = std::future::ready(()) => {}
        }
    }
    let claim = bench.claim("s").await;
    assert_eq!((claim.task.id.as_str(), claim.task.attempt), ("a", 1));
}

#[tokio::test]
async fn each_settle_of_a_batch_has_its_own_answer() {
    let bench = Bench::new().await;
    bench.push("s", &["a", "b"]).await;
    let (b, a) = (bench.claim("s").await, bench.claim("s").await);
    let release = |token: &LeaseToken| TaskSettle::Release {
        token: token.clone(),
    };
    let unknown = LeaseToken::new("nonsense").unwrap();
    let batch = vec![
        release(&a.lease.token),
        release(&unknown),
        TaskSettle::Extend {
            token: a.lease.token.clone(),
            lease: Duration::from_secs(1),
        },
        release(&b.lease.token),
    ];
    let answers = bench.tasks.settle(batch).await.unwrap();
    let kinds: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().err().map(|error| error.kind()))
        .collect();
    let expected = [
        None,
        Some(ErrorKind::InvalidArgument),
        Some(ErrorKind::LeaseLost),
        None,
    ];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn another_process_takes_over_and_is_woken() {
    let bench = Bench::new().await;
    let other = Bench::open(Arc::clone(&bench.directory), "").await;
    let waiting = tokio::spawn(async move { other.claim("s").await.task.id });
    bench.push("s", &["a"]).await;
    assert_eq!(waiting.await.unwrap(), id("a"));
}

#[tokio::test]
async fn attempts_and_leases_survive_the_end_of_the_process() {
    let bench = Bench::new().await;
    bench.push("s", &["a"]).await;
    let claim = bench.claim("s").await;
    bench.backend.close().await.unwrap();
    let bench = Bench::open(Arc::clone(&bench.directory), "").await;
    assert_eq!(bench.state("a").await, TaskState::Running);
    bench.complete(&claim, "elsewhere").await;
    assert_eq!(bench.state("a").await, TaskState::Completed);
}

#[tokio::test]
async fn closing_ends_a_wait() {
    let bench = Bench::new().await;
    let tasks = bench.tasks.clone();
    let waiting = tokio::spawn(async move { tasks.claim(request("s", PATIENCE)).await });
    // sleep: lets the claim begin to wait; one that has not gets the same answer
    tokio::time::sleep(Duration::from_millis(20)).await;
    bench.tasks.close().await.unwrap();
    assert_eq!(
        waiting.await.unwrap().unwrap_err().kind(),
        ErrorKind::Closed
    );
    bench.tasks.close().await.unwrap();
}

#[tokio::test]
async fn a_lease_outside_the_limits_is_refused() {
    let bench = Bench::new().await;
    for lease in [Duration::ZERO, Duration::from_secs(1 << 40)] {
        let request = ClaimRequest {
            lease,
            ..request("s", Duration::ZERO)
        };
        let error = bench.tasks.claim(request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}
