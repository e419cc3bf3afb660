//! Where and when it was measured.

use std::{
    fs,
    io::Write,
    time::{Duration, Instant},
};

use crate::{Result, load::micros, stats::Waits, store};

/// What the system says of the machine, as lines of a list; what it does not tell is left out.
pub fn describe() -> Vec<String> {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".to_owned());
    let kernel = line("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_else(|| "unknown".to_owned());
    vec![
        format!("{cpus} CPUs ({model}), {memory} of memory"),
        format!("kernel {kernel}, {}", std::env::consts::OS),
    ]
}

/// The load averages of 1, 5 and 15 minutes.
pub fn load() -> String {
    let averages = line("/proc/loadavg").unwrap_or_default();
    averages.split(' ').take(3).collect::<Vec<_>>().join(", ")
}

/// What an append of 4 KiB and its `fdatasync` take.
///
/// # Errors
/// Those of the file.
pub fn sync_wait(count: usize) -> Result<Waits> {
    let folder = store::folder()?;
    let mut file = fs::File::create(folder.path().join("sync"))?;
    let mut waits = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        file.write_all(&[b'x'; 4096])?;
        file.sync_data()?;
        waits.push(micros(begun.elapsed()));
    }
    Ok(Waits::of(waits))
}

/// Processor time that this process has had, where the system tells.
pub fn processor_time() -> Duration {
    const PER_TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: u32 = stat
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u32>().ok())
        .sum();
    PER_TICK * ticks
}

fn line(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
