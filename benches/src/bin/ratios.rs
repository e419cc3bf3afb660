//! Runs every comparison in one sitting and writes the table of results.
//!
//! ```sh
//! cargo run --release -p statehouse-benches --bin ratios [file [scenario...]]
//! ```

use std::{
    env, fs,
    io::{self, Write},
    time::Instant,
};

use statehouse_benches::{
    Result, machine,
    report::page,
    scenarios::{self, NAMES, Settings},
};

const COMMAND: &str = "cargo run --release -p statehouse-benches --bin ratios";

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let file = arguments.next().unwrap_or("benches/RESULTS.md".to_owned());
    let wanted: Vec<String> = arguments.collect();
    let names: Vec<&str> = match wanted.is_empty() {
        true => NAMES.to_vec(),
        false => wanted.iter().map(String::as_str).collect(),
    };
    let (begun, load, settings) = (Instant::now(), machine::load(), Settings::full());
    let sections = scenarios::run(&names, &settings, |section| {
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
