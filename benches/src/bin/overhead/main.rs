//! Compares the adapters of servers with their client libraries in one sitting, and writes the
//! table of results.
//!
//! ```sh
//! cargo run --release -p statehouse-benches --features servers --bin overhead [file]
//! ```

mod compare;
mod ours;
mod raw;

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
    let section = compare::run(&settings).await?;
    let section = section.ok_or("redis-server is not installed")?;
    let page = page(COMMAND, &settings, &[section], &load)?;
    fs::write(&file, &page).map_err(|error| format!("{file}: {error}"))?;
    io::stdout().write_all(page.as_bytes())?;
    Ok(())
}
