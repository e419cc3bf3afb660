//! Looking at tasks and stacks.

use std::time::Duration;

use statehouse_contracts::{
    ErrorKind, FailRetry, NewTask, PageCursor, StackDepth, TaskQuery, TaskState,
};

use crate::case::case;
use crate::cases::shelf::MOST_PAGES;
use crate::cases::yard::{Yard, ids, task, task_id};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind, fail};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(an_unknown_task_is_none),
        case!(a_peek_shows_what_is_claimed_next),
        case!(a_peek_changes_nothing),
        case!(a_list_is_newest_first),
        case!(a_list_may_be_of_one_stack),
        case!(a_list_may_be_of_one_state),
        case!(a_list_may_be_of_one_parent),
        case!(the_pages_of_a_list_join),
        case!(a_cursor_that_is_none_is_refused),
        case!(a_depth_counts_by_state),
        case!(the_depth_of_an_unknown_stack_is_zero),
        case!(stacks_with_unfinished_tasks_are_listed_by_name),
        case!(an_outcome_is_kept_until_its_parent_is_finished),
    ]
}

async fn list(yard: &Yard, mut query: TaskQuery) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for _ in 0..MOST_PAGES {
        let page = yard.tasks.list(query.clone()).await?;
        let fits = query.limit == 0 || page.items.len() <= query.limit;
        ensure(fits, "a page holds at most the limit")?;
        all.extend(ids(&page.items));
        query.after = page.next;
        if query.after.is_none() {
            return Ok(all);
        }
    }
    fail("the pages come to no end")
}

async fn an_unknown_task_is_none(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    ensure_eq(
        yard.tasks.get(&task_id("unknown")).await?,
        None,
        "an unknown task",
    )
}

/// `d` runs, `c` waits for its backoff, `b` is delayed; `e`, `a` and `0` are ready.
async fn mixed(cx: &Context) -> Result<Yard, Failure> {
    let yard = Yard::with(cx, ["0", "a"].map(task)).await?;
    let hour = Duration::from_secs(3600);
    let delayed = NewTask {
        delay: hour,
        ..task("b")
    };
    yard.push([delayed, task("c")]).await?;
    let claim = yard.next_is("c").await?;
    yard.fail(&claim, "no", FailRetry::After(hour)).await?;
    yard.push([task("d")]).await?;
    yard.next_is("d").await?;
    yard.push([task("e")]).await?;
    Ok(yard)
}

async fn a_peek_shows_what_is_claimed_next(cx: Context) -> Outcome {
    let yard = mixed(&cx).await?;
    ensure_eq(
        ids(&yard.tasks.peek(&yard.stack, 10).await?),
        ["e", "a", "0"],
        "what is next",
    )?;
    ensure_eq(
        ids(&yard.tasks.peek(&yard.stack, 2).await?),
        ["e", "a"],
        "the next two",
    )?;
    ensure_eq(
        yard.tasks.peek(&yard.at("unknown").stack, 2).await?.len(),
        0,
        "of an unknown stack",
    )?;
    yard.all_are(&["e", "a", "0"]).await
}

async fn a_peek_changes_nothing(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let before = yard.get("a").await?;
    for _ in 0..2 {
        ensure_eq(
            yard.tasks.peek(&yard.stack, 1).await?,
            [before.clone()],
            "what is next",
        )?;
    }
    ensure_eq(yard.next_is("a").await?.task.attempt, 1, "the attempt")
}

async fn a_list_is_newest_first(cx: Context) -> Outcome {
    let yard = mixed(&cx).await?;
    let all = list(&yard, TaskQuery::default()).await?;
    ensure_eq(all, ["e", "d", "c", "b", "a", "0"], "all tasks")
}

async fn a_list_may_be_of_one_stack(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    let other = yard.at("other");
    other.push(["b", "c"].map(task)).await?;
    yard.push([task("d")]).await?;
    let of = |yard: &Yard| TaskQuery {
        stack: Some(yard.stack.clone()),
        ..TaskQuery::default()
    };
    ensure_eq(
        list(&yard, of(&yard)).await?,
        ["d", "a"],
        "of the one stack",
    )?;
    ensure_eq(list(&yard, of(&other)).await?, ["c", "b"], "of the other")?;
    ensure_eq(
        list(&yard, TaskQuery::default()).await?,
        ["d", "c", "b", "a"],
        "of both",
    )
}

async fn a_list_may_be_of_one_state(cx: Context) -> Outcome {
    let yard = mixed(&cx).await?;
    let table: [(TaskState, &[&str]); 5] = [
        (TaskState::Ready, &["e", "a", "0"]),
        (TaskState::Delayed, &["c", "b"]),
        (TaskState::Running, &["d"]),
        (TaskState::Suspended, &[]),
        (TaskState::Completed, &[]),
    ];
    for (state, expected) in table {
        let query = TaskQuery {
            state: Some(state),
            ..TaskQuery::default()
        };
        ensure_eq(
            list(&yard, query).await?,
            expected,
            &format!("the tasks {state:?}"),
        )?;
    }
    Ok(())
}

async fn a_list_may_be_of_one_parent(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, ["q", "p"].map(task)).await?;
    for (parent, children) in [("p", ["a", "b"]), ("q", ["c", "d"])] {
        let claim = yard.next_is(parent).await?;
        yard.at("children")
            .push_below(&claim, children.map(task))
            .await?;
    }
    let query = TaskQuery {
        parent: Some(task_id("p")),
        ..TaskQuery::default()
    };
    ensure_eq(
        list(&yard, query).await?,
        ["b", "a"],
        "the children of one parent",
    )
}

async fn the_pages_of_a_list_join(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let names: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    yard.push(names.iter().map(|name| task(name))).await?;
    yard.all_are(&["8"]).await?;
    let newest_first: Vec<String> = names.into_iter().rev().collect();
    for limit in [1, 2, 9, 0] {
        let query = TaskQuery {
            limit,
            ..TaskQuery::default()
        };
        ensure_eq(
            list(&yard, query).await?,
            newest_first.clone(),
            &format!("pages of {limit}"),
        )?;
    }
    Ok(())
}

async fn a_cursor_that_is_none_is_refused(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("a")]).await?;
    for nonsense in ["", "nonsense", "🦀"] {
        let query = TaskQuery {
            after: Some(PageCursor(nonsense.into())),
            ..TaskQuery::default()
        };
        expect_kind(yard.tasks.list(query).await, ErrorKind::InvalidArgument)?;
    }
    Ok(())
}

async fn a_depth_counts_by_state(cx: Context) -> Outcome {
    let yard = mixed(&cx).await?;
    let claim = yard.next_is("e").await?;
    yard.at("children")
        .push_below(&claim, [task("child")])
        .await?;
    let expected = StackDepth {
        ready: 2,
        delayed: 2,
        running: 1,
        suspended: 1,
    };
    ensure_eq(yard.tasks.depth(&yard.stack).await?, expected, "the depth")?;
    yard.at("children").all_are(&["child"]).await?;
    yard.all_are(&["e", "a", "0"]).await?;
    let rest = StackDepth {
        delayed: 2,
        running: 1,
        ..StackDepth::default()
    };
    ensure_eq(
        yard.tasks.depth(&yard.stack).await?,
        rest,
        "the depth of the rest",
    )
}

async fn the_depth_of_an_unknown_stack_is_zero(cx: Context) -> Outcome {
    let yard = mixed(&cx).await?;
    let depth = yard.tasks.depth(&yard.at("unknown").stack).await?;
    ensure_eq(depth, StackDepth::default(), "the depth")
}

async fn stacks_with_unfinished_tasks_are_listed_by_name(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    for name in ["b", "a", "C", "done"] {
        yard.at(name).push([task(name)]).await?;
    }
    yard.at("a").next_is("a").await?;
    yard.at("done").all_are(&["done"]).await?;
    let stacks = yard.tasks.stacks().await?;
    let names: Vec<&str> = stacks.iter().map(|stack| stack.as_str()).collect();
    ensure_eq(names, ["C", "a", "b"], "the stacks")
}

async fn an_outcome_is_kept_until_its_parent_is_finished(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("p")]).await?;
    let parent = yard.next_is("p").await?;
    yard.push_below(&parent, [task("a")]).await?;
    yard.all_are(&["a"]).await?;
    let child = yard.get("a").await?;
    ensure_eq(child.state, TaskState::Completed, "where the child stands")?;
    ensure(child.result.is_some(), "its result is kept")
}
