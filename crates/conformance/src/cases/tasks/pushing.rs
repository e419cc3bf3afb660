//! Pushing.

use statehouse_contracts::{
    ContentType, ErrorKind, NewTask, OpId, Push, StackDepth, TaskId, TaskStackExt, TaskState,
};

use crate::case::case;
use crate::cases::yard::{Yard, stack, task, task_of};
use crate::{Case, Context, Outcome, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_pushed_task_is_ready),
        case!(a_push_answers_for_each_task),
        case!(an_empty_push_does_nothing),
        case!(a_repeated_task_is_a_duplicate),
        case!(a_duplicate_beside_a_new_task_leaves_that),
        case!(a_finished_task_stays_a_duplicate),
        case!(an_id_with_another_stack_kind_or_payload_is_a_conflict),
        case!(a_conflict_refuses_the_whole_push),
        case!(one_id_twice_in_a_push_is_refused),
        case!(a_repeated_op_id_answers_the_first_result),
        case!(a_repeated_op_id_answers_the_first_ids),
        case!(an_op_id_with_another_push_is_a_conflict),
        case!(a_failed_push_leaves_no_op_id_behind),
        case!(an_id_is_of_its_namespace_only),
        case!(any_id_is_a_task_of_its_own),
    ]
}

async fn a_pushed_task_is_ready(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    yard.push([task_of("a", 7)]).await?;
    let task = yard.get("a").await?;
    ensure_eq(
        (task.state, task.attempt),
        (TaskState::Ready, 0),
        "state and attempt",
    )?;
    ensure_eq(
        (task.max_attempts, task.depth),
        (7, 0),
        "max_attempts and depth",
    )?;
    ensure_eq(
        (&task.payload[..], task.content_type),
        (&b"a"[..], ContentType::TEXT),
        "payload",
    )?;
    ensure_eq(
        (task.kind.as_str(), &task.stack),
        ("work", &yard.stack),
        "kind and stack",
    )?;
    ensure_eq(&task.created_by, &cx.scope().principal, "created_by")?;
    ensure_eq(
        (task.parent, task.worker),
        (None, None),
        "parent and worker",
    )?;
    ensure_eq(
        (task.finished_at, task.result),
        (None, None),
        "finished_at and result",
    )
}

async fn a_push_answers_for_each_task(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let pushed = yard.push(["a", "b", "c"].map(task)).await?;
    let told: Vec<_> = pushed
        .iter()
        .map(|p| (p.id.as_str(), p.duplicate))
        .collect();
    ensure_eq(
        told,
        [("a", false), ("b", false), ("c", false)],
        "the answers",
    )
}

async fn an_empty_push_does_nothing(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    ensure_eq(yard.push([]).await?.len(), 0, "the number of answers")?;
    ensure_eq(
        yard.tasks.depth(&yard.stack).await?,
        StackDepth::default(),
        "the depth",
    )?;
    ensure_eq(yard.tasks.stacks().await?.len(), 0, "the number of stacks")
}

async fn a_repeated_task_is_a_duplicate(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a"), task("b")]).await?;
    let again = yard.tasks.push_one(&yard.stack, task("a")).await?;
    ensure_eq(again.duplicate, true, "duplicate of a repeat")?;
    yard.all_are(&["b", "a"]).await?;
    yard.is_empty().await
}

async fn a_duplicate_beside_a_new_task_leaves_that(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let pushed = yard.push(["b", "a", "c"].map(task)).await?;
    let duplicates: Vec<bool> = pushed.iter().map(|p| p.duplicate).collect();
    ensure_eq(duplicates, [false, true, false], "which are duplicates")?;
    yard.all_are(&["c", "b", "a"]).await
}

async fn a_finished_task_stays_a_duplicate(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    yard.all_are(&["a"]).await?;
    ensure_eq(
        yard.push([task("a")]).await?[0].duplicate,
        true,
        "duplicate of a repeat",
    )?;
    yard.stays_empty().await?;
    yard.stands("a", TaskState::Completed).await
}

async fn an_id_with_another_stack_kind_or_payload_is_a_conflict(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let kind = NewTask {
        kind: "other".parse()?,
        ..task("a")
    };
    let payload = NewTask {
        payload: "other".into(),
        ..task("a")
    };
    for other in [kind, payload] {
        let pushed = yard.tasks.push_one(&yard.stack, other).await;
        expect_kind(pushed, ErrorKind::Conflict)?;
    }
    let elsewhere = yard.tasks.push_one(&stack("other"), task("a")).await;
    expect_kind(elsewhere, ErrorKind::Conflict)?;
    yard.all_are(&["a"]).await?;
    yard.is_empty().await
}

async fn a_conflict_refuses_the_whole_push(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let other = NewTask {
        payload: "other".into(),
        ..task("a")
    };
    let push = yard.batch([task("b"), other, task("c")]);
    expect_kind(yard.tasks.push(push).await, ErrorKind::Conflict)?;
    yard.all_are(&["a"]).await?;
    yard.is_empty().await
}

async fn one_id_twice_in_a_push_is_refused(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let push = yard.batch([task("a"), task("b"), task("a")]);
    expect_kind(yard.tasks.push(push).await, ErrorKind::InvalidArgument)?;
    yard.is_empty().await
}

async fn a_repeated_op_id_answers_the_first_result(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let push = Push {
        op_id: Some(OpId::random()),
        ..yard.batch(["a", "b"].map(task))
    };
    let first = yard.tasks.push(push.clone()).await?;
    yard.all_are(&["b", "a"]).await?;
    ensure_eq(
        yard.tasks.push(push).await?,
        first,
        "the answer to the repeat",
    )?;
    yard.is_empty().await
}

async fn a_repeated_op_id_answers_the_first_ids(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let push = Push {
        op_id: Some(OpId::random()),
        ..yard.batch([task("a")])
    };
    let mut again = push.clone();
    again.tasks[0].id = TaskId::random();
    let first = yard.tasks.push(push).await?;
    ensure_eq(
        yard.tasks.push(again).await?,
        first,
        "the answer to a repeat with a new id",
    )?;
    yard.all_are(&["a"]).await?;
    yard.is_empty().await
}

async fn an_op_id_with_another_push_is_a_conflict(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let push = Push {
        op_id: Some(OpId::random()),
        ..yard.batch([task("a")])
    };
    yard.tasks.push(push.clone()).await?;
    let payload = NewTask {
        payload: "other".into(),
        ..task("b")
    };
    let kind = NewTask {
        kind: "other".parse()?,
        ..task("b")
    };
    for tasks in [vec![payload], vec![kind], vec![task("a"), task("b")]] {
        let other = Push {
            tasks,
            ..push.clone()
        };
        expect_kind(yard.tasks.push(other).await, ErrorKind::Conflict)?;
    }
    let elsewhere = Push {
        stack: stack("other"),
        ..push
    };
    expect_kind(yard.tasks.push(elsewhere).await, ErrorKind::Conflict)?;
    yard.all_are(&["a"]).await?;
    yard.is_empty().await
}

async fn a_failed_push_leaves_no_op_id_behind(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let op_id = Some(OpId::random());
    let other = NewTask {
        payload: "other".into(),
        ..task("a")
    };
    let failing = Push {
        op_id: op_id.clone(),
        ..yard.batch([other])
    };
    expect_kind(yard.tasks.push(failing).await, ErrorKind::Conflict)?;
    let good = Push {
        op_id,
        ..yard.batch([task("b")])
    };
    ensure_eq(
        yard.tasks.push(good).await?[0].duplicate,
        false,
        "duplicate after a failure",
    )?;
    yard.all_are(&["b", "a"]).await
}

async fn an_id_is_of_its_namespace_only(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let there = Yard::on(&cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    there.is_empty().await?;
    ensure_eq(
        there.tasks.get(&task("a").id).await?,
        None,
        "the task from there",
    )?;
    ensure_eq(
        there.tasks.stacks().await?.len(),
        0,
        "the stacks from there",
    )?;
    let cancelled = there.tasks.cancel(&task("a").id).await;
    expect_kind(cancelled, ErrorKind::NotFound)?;
    let other = NewTask {
        payload: "other".into(),
        ..task("a")
    };
    ensure_eq(
        there.push([other]).await?[0].duplicate,
        false,
        "duplicate in another namespace",
    )?;
    there.all_are(&["a"]).await?;
    yard.stands("a", TaskState::Ready).await
}

async fn any_id_is_a_task_of_its_own(cx: Context) -> Outcome {
    let names = [
        "a", "A", "a ", "a/b", "%", "*", "'\"", "é", "e\u{301}", "🦀", "null",
    ];
    let yard = Yard::new(&cx).await?;
    yard.push(names.map(task)).await?;
    for name in names {
        ensure_eq(
            &yard.get(name).await?.payload[..],
            name.as_bytes(),
            "the payload",
        )?;
    }
    let newest_first: Vec<&str> = names.into_iter().rev().collect();
    yard.all_are(&newest_first).await
}
