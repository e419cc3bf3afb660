//! A supervisor asks two workers, who share the questions, and tells everybody when it is done.
//!
//! ```sh
//! cargo run -p statehouse-messaging --example supervisor
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use futures::future::try_join_all;
use statehouse_contracts::{Endpoint, Error, Factory, Result};
use statehouse_messaging::{Agent, json_payload};

const WAIT: Duration = Duration::from_secs(10);

/// Answers questions until the supervisor says that it is done.
async fn work(agent: Agent) -> Result<()> {
    let mut done = agent.subscribe("work.done")?;
    loop {
        tokio::select! {
            _ = done.recv() => break,
            asked = agent.receive(WAIT) => {
                let Some(asked) = asked? else { break };
                let number: u64 = asked.json()?;
                println!("{}: {number} squared", agent.name());
                agent.reply(&asked, json_payload(&(number * number))?).await?;
            }
        }
    }
    agent.close().await
}

#[tokio::main]
async fn main() -> Result<()> {
    let backend = statehouse_memory::Memory
        .open(&Endpoint::parse("memory:")?)
        .await?;
    let names = ["worker-1", "worker-2"];
    let mut workers = Vec::new();
    for name in names {
        let agent = Agent::open(&*backend, "default", name).await?;
        workers.push(tokio::spawn(work(agent)));
    }

    let supervisor = Agent::open(&*backend, "default", "supervisor").await?;
    let questions = (1..=10_u64).zip(names.iter().cycle());
    let asked = questions.map(|(number, worker)| {
        let supervisor = &supervisor;
        async move {
            let answer = supervisor.ask(worker, json_payload(&number)?).await?;
            Ok::<_, Error>(answer)
        }
    });
    let mut sum = 0;
    for answer in try_join_all(asked).await? {
        let text = String::from_utf8_lossy(answer.bytes()).into_owned();
        sum += text.parse::<u64>().unwrap_or_default();
    }
    println!("supervisor: the sum of the squares is {sum}");
    assert_eq!(sum, 385);

    supervisor
        .publish("work.done", json_payload("thank you")?)
        .await?;
    for worker in workers {
        worker
            .await
            .map_err(|_| Error::internal("a worker panicked"))??;
    }
    supervisor.close().await?;
    backend.close().await
}
