//! Pushing, repeats of it, and looking at what was pushed.

use statehouse_contracts::{
    ErrorKind, NewTask, OpId, PageCursor, Push, TaskQuery, TaskStackExt, TaskState,
};

use crate::common::{BRIEF, Bench, LONG, id, request, stack, task};

#[tokio::test]
async fn the_newest_comes_first_and_peek_agrees() {
    let bench = Bench::new().await;
    bench.push("s", &["a", "b"]).await;
    bench.push("s", &["c"]).await;
    let peeked = bench.tasks.peek(&stack("s"), 9).await.unwrap();
    let ids: Vec<_> = peeked.iter().map(|task| task.id.as_str()).collect();
    assert_eq!(ids, ["c", "b", "a"]);
    assert_eq!(bench.depth("s").await, [3, 0, 0, 0]);
    for expected in ["c", "b", "a"] {
        let claim = bench.claim("s").await;
        assert_eq!(claim.task.id.as_str(), expected);
        assert_eq!(
            (claim.task.attempt, &claim.task.payload[..]),
            (1, expected.as_bytes())
        );
        assert_eq!(claim.task.created_by.as_str(), "tester");
        assert_eq!(claim.task.worker.unwrap().as_str(), "w");
    }
    assert_eq!(bench.now("s").await, None);
    assert_eq!(bench.depth("s").await, [0, 0, 3, 0]);
    assert_eq!(bench.tasks.stacks().await.unwrap(), [stack("s")]);
}

#[tokio::test]
async fn an_id_is_accepted_once() {
    let bench = Bench::new().await;
    bench.push("s", &["a"]).await;
    let again = bench.tasks.push_one(&stack("s"), task("a")).await.unwrap();
    assert!(again.duplicate);
    let other = NewTask {
        payload: "other".into(),
        ..task("a")
    };
    let refused = bench.push_under("s", vec![task("b"), other], None).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
    let elsewhere = bench.tasks.push_one(&stack("t"), task("a")).await;
    assert_eq!(elsewhere.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(bench.tasks.get(&id("b")).await.unwrap(), None);
    assert_eq!(bench.depth("s").await, [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_repeated_op_id_answers_as_at_first() {
    let bench = Bench::new().await;
    let push = |tasks| Push {
        stack: stack("s"),
        tasks,
        parent: None,
        op_id: Some(OpId::new("once").unwrap()),
    };
    let first = bench
        .tasks
        .push(push(vec![task("a"), task("b")]))
        .await
        .unwrap();
    let again = bench
        .tasks
        .push(push(vec![task("a"), task("b")]))
        .await
        .unwrap();
    assert_eq!(first, again);
    assert!(!again[0].duplicate);
    let other = bench.tasks.push(push(vec![task("c")])).await;
    assert_eq!(other.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(bench.depth("s").await, [2, 0, 0, 0]);
}

#[tokio::test]
async fn pages_of_a_list_hold_each_task_once_newest_first() {
    let bench = Bench::new().await;
    for n in 0..7 {
        bench.push(["s", "t"][n % 2], &[&format!("{n}")]).await;
    }
    let claim = bench.claim("s").await;
    bench.complete(&claim, "done").await;
    let pages = async |query: TaskQuery| {
        let (mut ids, mut query) = (String::new(), query);
        loop {
            let page = bench.tasks.list(query.clone()).await.unwrap();
            assert!(query.limit == 0 || page.items.len() <= query.limit);
            ids.extend(page.items.iter().map(|task| task.id.to_string()));
            query.after = page.next;
            if query.after.is_none() {
                return ids;
            }
        }
    };
    for limit in [0, 1, 2, 3, 100] {
        let all = TaskQuery {
            limit,
            ..TaskQuery::default()
        };
        assert_eq!(pages(all.clone()).await, "6543210");
        let of_stack = TaskQuery {
            stack: Some(stack("s")),
            ..all.clone()
        };
        assert_eq!(pages(of_stack.clone()).await, "6420");
        let ready = TaskQuery {
            state: Some(TaskState::Ready),
            ..of_stack
        };
        assert_eq!(pages(ready).await, "420");
        let completed = TaskQuery {
            state: Some(TaskState::Completed),
            ..all
        };
        assert_eq!(pages(completed).await, "6");
    }
    let query = TaskQuery {
        after: Some(PageCursor("x".to_owned())),
        ..TaskQuery::default()
    };
    let error = bench.tasks.list(query).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn a_delayed_task_is_ready_in_time_and_wakes_who_waits() {
    let bench = Bench::new().await;
    let waiting = tokio::spawn({
        let tasks = bench.tasks.clone();
        async move { tasks.claim(request("s", LONG)).await }
    });
    let begun = std::time::Instant::now();
    let delayed = NewTask {
        delay: BRIEF,
        ..task("a")
    };
    bench.push_under("s", vec![delayed], None).await.unwrap();
    assert!(bench.get("a").await.due_at.is_some());
    let claims = waiting.await.unwrap().unwrap();
    assert_eq!(claims[0].task.id.as_str(), "a");
    assert!(begun.elapsed() >= BRIEF);
    assert_eq!(bench.depth("s").await, [0, 0, 1, 0]);
}

#[tokio::test]
async fn what_is_beyond_a_limit_is_refused() {
    let bench = Bench::new().await;
    let large = NewTask {
        payload: vec![0; (1 << 20) + 1].into(),
        ..task("a")
    };
    let none = NewTask {
        max_attempts: 0,
        ..task("a")
    };
    for tasks in [vec![large], vec![none], vec![task("a"), task("a")]] {
        let error = bench.push_under("s", tasks, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(bench.push_under("s", Vec::new(), None).await.unwrap(), []);
    assert_eq!(bench.tasks.stacks().await.unwrap(), []);
}
