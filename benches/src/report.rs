//! The page of results.

use crate::{Result, machine, scenarios::Settings, table::Section};

/// The page of what `command` measured, where the load average was `load` when it began.
///
/// # Errors
/// When the disk cannot be measured.
pub fn page(
    command: &str,
    settings: &Settings,
    sections: &[Section],
    load: &str,
) -> Result<String> {
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
        "# Results\n\nWritten by `{command}`. Figures drift from machine to machine and with what \
         else runs; the ratios are what to keep.\n\n{}\n{verdict}\n{}",
        machine.concat(),
        sections.join("\n")
    ))
}
