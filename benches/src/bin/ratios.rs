//! Runs every comparison in one sitting and writes the table of results.
//!
//! ```sh
//! cargo run --release -p statehouse-benches --bin ratios [file]
//! ```

use std::{
    env, fs,
    io::{self, Write},
    time::Instant,
};

use statehouse_benches::{
    Result, machine,
    report::page,
    scenarios::{self, Settings},
};

const COMMAND: &str = "cargo run --release -p statehouse-benches --bin ratios";

#[tokio::main]
async fn main() -> Result<()> {
    let file = env::args()
        .nth(1)
        .unwrap_or("benches/RESULTS.md".to_owned());
    let (begun, load, settings) = (Instant::now(), machine::load(), Settings::full());
    let sections = scenarios::all(&settings, |section| {
        // Progress for whoever looks; it may go nowhere.
        let _ = writeln!(
            io::stderr(),
            "{:>4} s\n{}",
            begun.elapsed().as_secs(),
            section.markdown()
        );
    })
    .await?;
    let page = page(COMMAND, &settings, &sections, &load)?;
    fs::write(&file, &page).map_err(|error| format!("{file}: {error}"))?;
    io::stdout().write_all(page.as_bytes())?;
    Ok(())
}
