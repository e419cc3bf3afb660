//! Compares the adapters of servers with their client libraries in one sitting, and writes the
//! table of results. Redis must be installed; RocketMQ runs where `TEST_ROCKETMQ_URL` says, as
//! `cargo xtask services up rocketmq` tells it.
//!
//! ```sh
//! cargo run --release -p statehouse-benches --features servers --bin overhead [file]
//! ```

mod compare;
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
    let file = env::args()
        .nth(1)
        .unwrap_or("benches/OVERHEAD.md".to_owned());
    let (load, settings) = (machine::load(), Settings::full());
    let rocketmq = env::var("TEST_ROCKETMQ_URL").map_err(|_| {
        "TEST_ROCKETMQ_URL is not set; run `cargo xtask services up rocketmq` and set what it prints"
    })?;
    let redis = dragonfly::run(&settings).await?;
    let sections = [
        redis.ok_or("redis-server is not installed")?,
        rocketmq::run(&settings, &rocketmq).await?,
    ];
    let page = page(COMMAND, &settings, &sections, &load)?;
    fs::write(&file, &page).map_err(|error| format!("{file}: {error}"))?;
    io::stdout().write_all(page.as_bytes())?;
    Ok(())
}
