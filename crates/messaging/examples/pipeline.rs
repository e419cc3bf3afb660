//! Three agents in a row pass a large dataset along. It travels by reference; none of them notices.
//!
//! ```sh
//! cargo run -p statehouse-messaging --example pipeline
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use statehouse_contracts::{Endpoint, Error, Factory, Result};
use statehouse_messaging::{Agent, json_payload};

const WAIT: Duration = Duration::from_secs(10);

/// Hands on what `work` makes of the next message.
async fn stage(agent: Agent, next: &str, work: impl Fn(Vec<u64>) -> Vec<u64>) -> Result<()> {
    let got = agent.receive(WAIT).await?;
    let got = got.ok_or_else(|| Error::not_found("no message in time"))?;
    let way = got.reference().map_or("inline", |_| "by reference");
    println!(
        "{}: {} bytes, {way}",
        agent.name(),
        got.message().bytes().len()
    );
    let made = work(got.json()?);
    agent.send(next, json_payload(&made)?).await?;
    // Only now: should this process die before, the message comes again.
    agent.done(&got).await?;
    agent.close().await
}

#[tokio::main]
async fn main() -> Result<()> {
    let backend = statehouse_memory::Memory
        .open(&Endpoint::parse("memory:")?)
        .await?;
    let open = async |name| Agent::open(&*backend, "default", name).await;
    let (reader, squarer, adder) = (
        open("reader").await?,
        open("squarer").await?,
        open("adder").await?,
    );

    let dataset: Vec<u64> = (0..100_000).collect();
    reader.send("squarer", json_payload(&dataset)?).await?;
    stage(squarer, "adder", |all| all.iter().map(|n| n * n).collect()).await?;
    stage(adder, "reader", |all| vec![all.iter().sum()]).await?;

    let sum = reader.receive(WAIT).await?;
    let sum = sum.ok_or_else(|| Error::not_found("no message in time"))?;
    println!(
        "reader: the sum of the squares is {}",
        sum.json::<Vec<u64>>()?[0]
    );
    assert_eq!(sum.json::<Vec<u64>>()?, [333_328_333_350_000]);
    reader.done(&sum).await?;
    reader.close().await?;
    backend.close().await
}
