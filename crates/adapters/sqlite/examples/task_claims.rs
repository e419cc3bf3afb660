//! How long a claim takes with few and with many tasks pending, and how many tasks a second go
//! through push, claim and complete.
//!
//! ```text
//! cargo run --release -p statehouse-sqlite --example task_claims [most pending]
//! ```

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use statehouse_contracts::{
    Bytes, Claim, ClaimRequest, ContentType, Endpoint, Factory, Kind, NewTask, Push, Result, Scope,
    StackName, TaskStack, TaskStackExt, WorkerName,
};
use statehouse_sqlite::SqliteFactory;

/// Claims that are timed at each size.
const TIMED: usize = 400;

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let most = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 1_000_000,
    };
    let directory = tempfile::tempdir()?;
    let url = format!("sqlite:{}", directory.path().join("tasks.db").display());
    let backend = SqliteFactory.open(&Endpoint::parse(&url)?).await?;
    let scope = Scope::parse("default", "bench")?;
    let tasks = backend.tasks(&scope).await?;
    through(&tasks, 64, 2_000).await?;
    let (mut pending, mut size) = (0, 1_000);
    while size <= most {
        while pending < size {
            tasks.push(batch("many", 1_000)?).await?;
            pending += 1_000;
        }
        let [p50, p99] = claims(tasks.as_ref()).await?;
        println!("{size:>9} pending: a claim takes p50 {p50:?}, p99 {p99:?}");
        size *= 10;
    }
    backend.close().await?;
    Ok(())
}

fn batch(stack: &str, number: usize) -> Result<Push> {
    let kind = Kind::new("bench")?;
    let task = |_| {
        NewTask::new(
            kind.clone(),
            Bytes::from(vec![b'x'; 200]),
            ContentType::BYTES,
        )
    };
    Ok(Push {
        stack: StackName::new(stack)?,
        tasks: (0..number).map(task).collect(),
        parent: None,
        op_id: None,
    })
}

async fn claim(tasks: &dyn TaskStack, stack: &str, wait: Duration) -> Result<Vec<Claim>> {
    tasks
        .claim(ClaimRequest {
            stack: StackName::new(stack)?,
            worker: WorkerName::new("w")?,
            max: 1,
            lease: Duration::from_secs(60),
            wait,
        })
        .await
}

/// The median and the 99th percentile of a claim alone; what was claimed is given back.
async fn claims(tasks: &dyn TaskStack) -> Result<[Duration; 2]> {
    let mut times = Vec::with_capacity(TIMED);
    for _ in 0..TIMED {
        let begun = Instant::now();
        let claims = claim(tasks, "many", Duration::ZERO).await?;
        times.push(begun.elapsed());
        for claim in claims {
            tasks.release(&claim.lease).await?;
        }
    }
    times.sort_unstable();
    Ok([times[TIMED / 2], times[TIMED * 99 / 100]])
}

/// Pushes, claims and completes tasks, each by `workers` at once.
async fn through(
    tasks: &Arc<dyn TaskStack>,
    workers: usize,
    number: usize,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let running: Vec<tokio::task::JoinHandle<Result<()>>> = (0..workers)
        .map(|_| {
            let tasks = Arc::clone(tasks);
            tokio::spawn(async move {
                for _ in 0..number / workers {
                    tasks.push(batch("few", 1)?).await?;
                    for claim in claim(tasks.as_ref(), "few", Duration::from_secs(5)).await? {
                        let (result, content_type) = (Bytes::new(), ContentType::BYTES);
                        tasks.complete(&claim.lease, result, content_type).await?;
                    }
                }
                Result::<()>::Ok(())
            })
        })
        .collect();
    for worker in running {
        worker.await??;
    }
    let rate = number as f64 / begun.elapsed().as_secs_f64();
    println!("{workers} workers: {rate:.0} tasks a second pushed, claimed and completed");
    Ok(())
}
