//! Recorded agent runs, read without losing anything.
//!
//! Two formats: SWE-agent's `.traj` JSON, and the JSON Lines of `docs/replay-format.md`. Every step
//! and message keeps the exact bytes it was recorded as, so that what was stored can be compared
//! with what was read.
//!
//! A `.traj` knows no subtasks, so each step becomes one: the run's task opens a subtask, does the
//! step in it and closes it. Its messages are placed by the assistant's turns: what precedes the
//! first turn comes before the first step, and the n-th turn with what follows it belongs to the
//! n-th step. Turns of a demonstration (`is_demo`) are not counted.

mod drive;
mod events;
mod fields;
mod jsonl;
mod names;
mod nest;
mod run;
mod stored;
mod tally;
#[cfg(test)]
mod tests;
mod traj;
mod verify;
mod write;

use std::fs;
use std::io::ErrorKind as Io;
use std::path::Path;

use statehouse_contracts::{Bytes, Error, ErrorKind, Result};

pub use drive::{ReplayOptions, Stage, replay};
pub use run::{ChatMessage, Content, Event, Run, Step, Subtask};
pub use tally::{Report, RunReport, Tally};

/// The largest recording that is read, in bytes. It is held in memory whole.
pub const LARGEST: u64 = 256 << 20;

/// Reads the runs of a recording: one from a `.traj`, one or more from a `.jsonl`.
///
/// The format follows from the name (`.traj`, `.json`; `.jsonl`, `.ndjson`), else from the content.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) when there is no such file,
/// [`PermissionDenied`](ErrorKind::PermissionDenied) when it may not be read, and
/// [`InvalidArgument`](ErrorKind::InvalidArgument) when it is a directory, empty, too large, not
/// UTF-8, cut off or of another shape: the message names the line, or the step and field.
pub fn read(path: &Path) -> Result<Vec<Run>> {
    parse(path, load(path)?)
}

/// Reads the runs of a recording's `content`. `path` names it and chooses the format.
///
/// # Errors
/// [`InvalidArgument`](ErrorKind::InvalidArgument), as [`read`].
pub fn parse(path: &Path, content: Bytes) -> Result<Vec<Run>> {
    let wrong = |text: String| Error::invalid(format!("{}: {text}", path.display()));
    let text = std::str::from_utf8(&content).map_err(|error| {
        let at = error.valid_up_to();
        let line = 1 + content[..at].iter().filter(|byte| **byte == b'\n').count();
        wrong(format!("line {line} is not UTF-8 text (byte {at})"))
    })?;
    if text.trim().is_empty() {
        return Err(wrong(
            "the file is empty; expected a recorded run".to_owned(),
        ));
    }
    let runs = if is_lines(path, text) {
        jsonl::parse(path, &content, text)
    } else {
        traj::parse(path, &content, text).map(|run| vec![run])
    };
    runs.map_err(wrong)
}

fn load(path: &Path) -> Result<Bytes> {
    let shown = path.display();
    let cannot = |error: std::io::Error| {
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::PermissionDenied => ErrorKind::PermissionDenied,
            _ => ErrorKind::InvalidArgument,
        };
        Error::new(kind, format!("{shown} cannot be read: {error}"))
    };
    let found = fs::metadata(path).map_err(cannot)?;
    if found.is_dir() {
        return Err(Error::invalid(format!(
            "{shown} is a directory; name its files, such as {shown}/*.traj"
        )));
    }
    if found.len() > LARGEST {
        return Err(Error::invalid(format!(
            "{shown} has {} bytes; a recording has at most {LARGEST}",
            found.len()
        )));
    }
    Ok(Bytes::from(fs::read(path).map_err(cannot)?))
}

/// Whether the recording is JSON Lines.
fn is_lines(path: &Path, text: &str) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    match extension.to_ascii_lowercase().as_str() {
        "jsonl" | "ndjson" => true,
        "traj" | "json" => false,
        _ => {
            let first = text.trim_start().lines().next().unwrap_or_default();
            fields::object(first).is_ok_and(|event| event.contains_key("type"))
        }
    }
}
