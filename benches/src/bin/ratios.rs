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
    scenarios::{self, Settings},
    table::Section,
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
    let page = page(&settings, &sections, &load)?;
    fs::write(&file, &page).map_err(|error| format!("{file}: {error}"))?;
    io::stdout().write_all(page.as_bytes())?;
    Ok(())
}

fn page(settings: &Settings, sections: &[Section], load: &str) -> Result<String> {
    let syncs = machine::sync_wait(1_000)?;
    let [median, tail] = [0.5, 0.99].map(|share| syncs.percentile(share));
    let disk = format!("`fdatasync` of 4 KiB: p50 {median:.0} µs, p99 {tail:.0} µs");
    let machine: Vec<String> = machine::describe()
        .into_iter()
        .chain([
            disk,
            format!("load average before {load}, after {}", machine::load()),
            format!(
                "{} rounds of {} ms per side, sides in turns; a value is the median, in brackets \
                 the least and the largest round; a ratio is that of each round's pair",
                settings.rounds,
                settings.time.as_millis()
            ),
        ])
        .map(|line| format!("- {line}\n"))
        .collect();
    let missed: Vec<String> = sections
        .iter()
        .flat_map(|section| &section.rows)
        .filter(|row| row.held() == Some(false))
        .map(|row| format!("- {}\n", row.what))
        .collect();
    let verdict = if missed.is_empty() {
        "Everything that must hold was held.\n".to_owned()
    } else {
        format!("Missed in this run:\n\n{}", missed.concat())
    };
    let sections: Vec<String> = sections.iter().map(Section::markdown).collect();
    Ok(format!(
        "# Results\n\nWritten by `{COMMAND}`. Figures drift from machine to machine and with what \
         else runs; the ratios are what to keep.\n\n{}\n{verdict}\n{}",
        machine.concat(),
        sections.join("\n")
    ))
}
