//! Workers that race.

use std::collections::BTreeMap;

use futures::future::join_all;
use statehouse_contracts::TaskState;

use crate::case::case;
use crate::cases::yard::{Yard, task};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(of_racing_workers_one_gets_each_task),
        case!(racing_pushes_of_one_task_make_one),
        case!(racing_pushes_stay_whole),
        case!(children_that_end_at_once_resume_their_parent_once),
        case!(of_racing_processes_one_gets_each_task).reopens(),
    ]
}

const TASKS: usize = 60;

/// Each worker claims until nothing is left; answers how often each task was claimed.
async fn work(workers: Vec<Yard>) -> Result<BTreeMap<String, u32>, Failure> {
    let tasks: Vec<_> = workers
        .into_iter()
        .map(|yard| {
            tokio::spawn(async move {
                let mut own = Vec::new();
                loop {
                    let claims = yard.claim_now(3).await?;
                    if claims.is_empty() {
                        return Ok::<_, Failure>(own);
                    }
                    ensure(own.len() <= TASKS, "no more is claimed than there is")?;
                    for claim in claims {
                        yard.complete(&claim).await?;
                        own.push(claim.task.id.to_string());
                    }
                }
            })
        })
        .collect();
    let mut seen = BTreeMap::new();
    for worker in join_all(tasks).await {
        for id in worker.map_err(|error| Failure::new(error.to_string()))?? {
            *seen.entry(id).or_default() += 1;
        }
    }
    Ok(seen)
}

fn each_once(seen: &BTreeMap<String, u32>) -> Outcome {
    let expected: BTreeMap<String, u32> = (0..TASKS).map(|n| (format!("{n:02}"), 1)).collect();
    ensure_eq(seen, &expected, "how often each task was claimed")
}

async fn of_racing_workers_one_gets_each_task(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    yard.push((0..TASKS).map(|n| task(&format!("{n:02}"))))
        .await?;
    let mut workers = Vec::new();
    for _ in 0..8 {
        workers.push(Yard::new(&cx).await?);
    }
    each_once(&work(workers).await?)?;
    for n in 0..TASKS {
        let task = yard.get(&format!("{n:02}")).await?;
        ensure_eq(
            (task.state, task.attempt),
            (TaskState::Completed, 1),
            "state and attempt",
        )?;
    }
    Ok(())
}

async fn of_racing_processes_one_gets_each_task(cx: Context) -> Outcome {
    let one = cx.fresh().await?;
    let two = one.beside().await?;
    let mut workers = Vec::new();
    for n in 0..6 {
        let instance = if n % 2 == 0 { &one } else { &two };
        workers.push(Yard::on(&cx, &**instance.backend(), cx.scope()).await?);
    }
    workers[0]
        .push((0..TASKS).map(|n| task(&format!("{n:02}"))))
        .await?;
    each_once(&work(workers).await?)
}

async fn racing_pushes_of_one_task_make_one(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let racers = (0..12).map(|_| {
        let yard = yard.clone();
        tokio::spawn(async move { yard.push([task("a")]).await })
    });
    let mut first = 0;
    for racer in join_all(racers).await {
        let pushed = racer.map_err(|error| Failure::new(error.to_string()))??;
        first += usize::from(!pushed[0].duplicate);
    }
    ensure_eq(first, 1, "how many pushes were the first")?;
    yard.all_are(&["a"]).await?;
    yard.is_empty().await
}

async fn racing_pushes_stay_whole(cx: Context) -> Outcome {
    let yard = Yard::new(&cx).await?;
    let racers = (0..10).map(|n| {
        let yard = yard.clone();
        tokio::spawn(async move {
            yard.push([1, 2, 3].map(|m| task(&format!("{n}.{m}"))))
                .await
        })
    });
    for racer in join_all(racers).await {
        racer.map_err(|error| Failure::new(error.to_string()))??;
    }
    let mut names = Vec::new();
    while let Some(claim) = yard.claim_now(1).await?.pop() {
        names.push(claim.task.id.to_string());
        ensure(names.len() <= 30, "no more is claimed than there is")?;
    }
    ensure_eq(names.len(), 30, "the number of tasks")?;
    for three in names.chunks(3) {
        let push = three[0].trim_end_matches(".3");
        let expected = ["3", "2", "1"].map(|m| format!("{push}.{m}"));
        ensure_eq(three, &expected[..], "the tasks of one push, newest first")?;
    }
    Ok(())
}

async fn children_that_end_at_once_resume_their_parent_once(cx: Context) -> Outcome {
    let yard = Yard::with(&cx, [task("p")]).await?;
    let parent = yard.next_is("p").await?;
    yard.push_below(&parent, (0..12).map(|n| task(&n.to_string())))
        .await?;
    let claims = yard.claim_now(12).await?;
    let racers = claims.into_iter().map(|claim| {
        let yard = yard.clone();
        tokio::spawn(async move { yard.complete(&claim).await })
    });
    for racer in join_all(racers).await {
        racer.map_err(|error| Failure::new(error.to_string()))??;
    }
    let resumed = yard.next_is("p").await?;
    ensure_eq(resumed.outcomes.len(), 12, "the number of outcomes")?;
    yard.is_empty().await?;
    yard.complete(&resumed).await
}
