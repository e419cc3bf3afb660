//! Compares the adapters of servers with their client libraries in one sitting, and writes the
//! table of results. Redis must be installed; RocketMQ runs where `TEST_ROCKETMQ_URL` says, as
//! `cargo xtask services up rocketmq` tells it.
//!
//! ```sh
//! cargo run --release -p statehouse-benches --features servers --bin overhead [file]
//! ```
//!
//! While working on the adapter of Redis, `--only <part of a row's name> [rounds]` runs some of its
//! rows alone, and writes no file.

mod compare;
mod depth;
mod dragonfly;
mod ours;
mod raw_redis;
mod raw_rocketmq;
mod rocketmq;

use std::{
    env, fs,
    io::{self, Write},
};

use statehouse_benches::{Result, machine, report::page, scenarios::Settings};

const COMMAND: &str = "cargo run --release -p statehouse-benches --features servers --bin overhead";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [only, what, rounds @ ..] if only == "--only" => look(what, rounds.first()).await,
        [] => all("benches/OVERHEAD.md").await,
        [file] => all(file).await,
        _ => Err("give the file to write, or --only <part of a row's name> [rounds]".into()),
    }
}

/// Runs everything, and writes the page of results to `file`.
async fn all(file: &str) -> Result<()> {
    let (load, settings) = (machine::load(), Settings::full());
    let rocketmq = env::var("TEST_ROCKETMQ_URL").map_err(|_| {
        "TEST_ROCKETMQ_URL is not set; run `cargo xtask services up rocketmq` and set what it prints"
    })?;
    let redis = dragonfly::run(&settings, "").await?;
    let depth = depth::run(&settings).await?;
    let sections = [
        redis.ok_or("redis-server is not installed")?,
        depth.ok_or("redis-server is not installed")?,
        rocketmq::run(&settings, &rocketmq).await?,
    ];
    let page = page(COMMAND, &settings, &sections, &load)?;
    fs::write(file, &page).map_err(|error| format!("{file}: {error}"))?;
    io::stdout().write_all(page.as_bytes())?;
    Ok(())
}

/// Runs the rows of the Dragonfly adapter whose names contain `what`.
async fn look(what: &str, rounds: Option<&String>) -> Result<()> {
    let full = Settings::full();
    let settings = Settings {
        rounds: rounds.map_or(Ok(full.rounds), |rounds| rounds.parse())?,
        ..full
    };
    let section = dragonfly::run(&settings, what).await?;
    let section = section.ok_or("redis-server is not installed")?;
    io::stdout().write_all(section.markdown().as_bytes())?;
    Ok(())
}
