//! What a resumed parent learns of its children.

use statehouse_contracts::{ContentType, FailRetry, TaskStackExt};

use crate::case::case;
use crate::cases::yard::{Yard, ended, task, task_of};
use crate::{Case, Context, Outcome, ensure_eq};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(outcomes_come_in_the_order_pushed),
        case!(an_outcome_carries_its_result),
        case!(an_outcome_carries_its_last_error),
        case!(a_failed_child_does_not_fail_its_parent),
        case!(a_child_whose_lease_ran_out_is_a_failed_outcome),
        case!(a_cancelled_child_is_an_outcome),
        case!(outcomes_are_of_all_pushes_in_order),
        case!(a_retried_parent_gets_its_outcomes_again),
        case!(outcomes_are_of_children_not_of_grandchildren),
    ]
}

async fn outcomes_come_in_the_order_pushed(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("p")]).await?;
    let parent = yard.next_is("p").await?;
    yard.push_below(&parent, ["a", "b", "c"].map(task)).await?;
    let mut claims = yard.claim_now(3).await?;
    claims.rotate_left(1);
    for claim in &claims {
        yard.complete(claim).await?;
    }
    let resumed = yard.next_is("p").await?;
    let told: Vec<String> = resumed.outcomes.iter().map(ended).collect();
    ensure_eq(
        told,
        ["a completed", "b completed", "c completed"],
        "the outcomes",
    )
}

async fn an_outcome_carries_its_result(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("p")]).await?;
    let parent = yard.next_is("p").await?;
    yard.push_below(&parent, [task("a")]).await?;
    let child = yard.next_is("a").await?;
    let result: bytes::Bytes = (0..=255).collect();
    yard.tasks
        .complete(&child.lease, result.clone(), ContentType::JSON)
        .await?;
    let outcomes = yard.next_is("p").await?.outcomes;
    let results: Vec<_> = outcomes.into_iter().map(|o| (o.result, o.error)).collect();
    ensure_eq(
        results,
        [(Some((result, ContentType::JSON)), None)],
        "results and errors",
    )
}

async fn an_outcome_carries_its_last_error(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("p")]).await?;
    let parent = yard.next_is("p").await?;
    yard.push_below(&parent, [task_of("a", 2)]).await?;
    for error in ["first", "second"] {
        let child = yard.next_is("a").await?;
        yard.fail(&child, error, FailRetry::Backoff).await?;
    }
    let outcomes = yard.next_is("p").await?.outcomes;
    let told: Vec<_> = outcomes
        .iter()
        .map(|o| (ended(o), o.error.as_deref()))
        .collect();
    ensure_eq(
        told,
        [("a failed".to_owned(), Some("second"))],
        "the outcomes",
    )
}

async fn a_failed_child_does_not_fail_its_parent(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("p")]).await?;
    let parent = yard.next_is("p").await?;
    yard.push_below(&parent, ["a", "b"].map(task)).await?;
    let child = yard.next_is("b").await?;
    yard.fail(&child, "no", FailRetry::Never).await?;
    yard.all_are(&["a"]).await?;
    let resumed = yard.next_is("p").await?;
    let told: Vec<String> = resumed.outcomes.iter().map(ended).collect();
    ensure_eq(told, ["a completed", "b failed"], "the outcomes")?;
    yard.complete(&resumed).await
}

async fn a_child_whose_lease_ran_out_is_a_failed_outcome(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("p")]).await?;
    let parent = yard.next_is("p").await?;
    yard.at("children")
        .push_below(&parent, [task_of("a", 1)])
        .await?;
    yard.at("children").next_briefly("a").await?;
    let resumed = yard
        .next_within(yard.timing.short_lease + yard.timing.redelivery)
        .await?;
    let told: Vec<_> = resumed
        .outcomes
        .iter()
        .map(|o| (ended(o), o.error.as_deref()))
        .collect();
    ensure_eq(
        told,
        [("a failed".to_owned(), Some("lease expired"))],
        "the outcomes",
    )
}

async fn a_cancelled_child_is_an_outcome(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("p")]).await?;
    let parent = yard.next_is("p").await?;
    yard.push_below(&parent, [task("a")]).await?;
    ensure_eq(
        yard.tasks.cancel(&task("a").id).await?,
        1,
        "how many were cancelled",
    )?;
    let outcomes = yard.next_is("p").await?.outcomes;
    ensure_eq(outcomes.len(), 1, "the number of outcomes")?;
    ensure_eq(
        (ended(&outcomes[0]), &outcomes[0].result),
        ("a cancelled".to_owned(), &None),
        "it",
    )
}

async fn outcomes_are_of_all_pushes_in_order(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("p")]).await?;
    let mut parent = yard.next_is("p").await?;
    let mut expected = Vec::new();
    for batch in [["z", "y"], ["b", "a"], ["n", "m"]] {
        yard.push_below(&parent, batch.map(task)).await?;
        let newest = yard.next_is(batch[1]).await?;
        yard.fail(&newest, "no", FailRetry::Never).await?;
        yard.all_are(&[batch[0]]).await?;
        parent = yard.next_is("p").await?;
        expected.push(format!("{} completed", batch[0]));
        expected.push(format!("{} failed", batch[1]));
        let told: Vec<String> = parent.outcomes.iter().map(ended).collect();
        ensure_eq(&told, &expected, "the outcomes")?;
    }
    Ok(())
}

async fn a_retried_parent_gets_its_outcomes_again(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("p")]).await?;
    let parent = yard.next_is("p").await?;
    yard.push_below(&parent, [task("a")]).await?;
    yard.all_are(&["a"]).await?;
    let resumed = yard.next_is("p").await?;
    yard.fail(&resumed, "no", FailRetry::Backoff).await?;
    let again = yard.next_is("p").await?;
    ensure_eq(again.task.attempt, 2, "the attempt")?;
    ensure_eq(again.outcomes, resumed.outcomes, "the outcomes")
}

async fn outcomes_are_of_children_not_of_grandchildren(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("p")]).await?;
    let parent = yard.next_is("p").await?;
    yard.push_below(&parent, [task("a")]).await?;
    let child = yard.next_is("a").await?;
    yard.push_below(&child, [task("b")]).await?;
    yard.all_are(&["b"]).await?;
    let child = yard.next_is("a").await?;
    let told: Vec<String> = child.outcomes.iter().map(ended).collect();
    ensure_eq(told, ["b completed"], "the outcomes of the child")?;
    yard.complete(&child).await?;
    let outcomes = yard.next_is("p").await?.outcomes;
    let told: Vec<String> = outcomes.iter().map(ended).collect();
    ensure_eq(told, ["a completed"], "the outcomes of the parent")
}
