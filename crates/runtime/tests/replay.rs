//! Replays of recorded runs by the real binary: they read back equal, add nothing the second time,
//! go on after a kill, and tell when what is stored is no longer what was recorded.

#![expect(clippy::unwrap_used, reason = "a failed call fails the test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The samples, and the recorded runs of the folder that `STATEHOUSE_TRAJECTORIES` names.
fn recordings() -> Vec<PathBuf> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../replay/samples");
    let recorded = std::env::var_os("STATEHOUSE_TRAJECTORIES").map(PathBuf::from);
    let folders = std::iter::once(samples).chain(recorded);
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|e| e == "traj" || e == "jsonl")
    });
    files.sort();
    assert!(files.len() >= 2);
    files
}

fn statehouse(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_statehouse"));
    command
        .env_clear()
        .current_dir(folder.path())
        .args(arguments);
    command.stdin(Stdio::null());
    command
}

fn run(folder: &TempDir, arguments: &[&str]) -> String {
    let output = statehouse(folder, arguments).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

fn replay(folder: &TempDir, flags: &[&str], files: &[PathBuf]) -> Output {
    let mut command = statehouse(folder, &["--json", "replay"]);
    command.args(flags).args(files).output().unwrap()
}

/// The report of a replay that must have read everything back equal.
fn equal(folder: &TempDir, flags: &[&str], files: &[PathBuf]) -> Value {
    let output = replay(folder, flags, files);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for run in report["runs"].as_array().unwrap() {
        assert_eq!(run["difference"], Value::Null);
    }
    assert_eq!(report["event_problems"], Value::Array(Vec::new()));
    report
}

fn assert_nothing_added(report: &Value) {
    for (name, count) in report["total"].as_object().unwrap() {
        assert_eq!(count, 0, "{name}");
    }
}

#[test]
fn a_second_replay_adds_nothing() {
    let (folder, files) = (tempfile::tempdir().unwrap(), recordings());
    let first = equal(&folder, &[], &files);
    for name in ["states", "versions", "events", "tasks", "inline_bytes"] {
        assert!(first["total"][name].as_u64().unwrap() > 0, "{name}");
    }
    assert_nothing_added(&equal(&folder, &[], &files));
}

#[test]
fn each_of_five_agents_writes_as_much_as_one() {
    let (one, five) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let samples = recordings();
    let alone = equal(&one, &[], &samples);
    let together = equal(&five, &["--agents", "5", "--speed", "1000"], &samples);
    let runs = |report: &Value| report["runs"].as_array().unwrap().len();
    assert_eq!(runs(&together), 5 * runs(&alone));
    for name in ["states", "versions", "events", "tasks", "references"] {
        let count = |report: &Value| report["total"][name].as_u64().unwrap();
        assert_eq!(count(&together), 5 * count(&alone), "{name}");
    }
    assert_nothing_added(&equal(&five, &["--agents", "5"], &samples));
}

#[test]
fn a_killed_replay_goes_on_where_it_was() {
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = recordings();
    let flags = ["--agents", "40"];
    let all = equal(&whole, &flags, &files);
    let mut command = statehouse(&killed, &["replay", "--agents", "40"]);
    let command = command.args(&files).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    // The log of the database grows with the first steps.
    let wal = killed.path().join("statehouse.db-wal");
    while std::fs::metadata(&wal).map_or(0, |file| file.len()) < 400_000 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before the kill"
        );
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "it does not write"
        );
        #[expect(
            clippy::disallowed_methods,
            reason = "the interval of a poll with a deadline"
        )]
        // sleep: the interval of a poll with a deadline.
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let rest = equal(&killed, &flags, &files);
    let versions = |report: &Value| report["total"]["versions"].as_u64().unwrap();
    let (all, rest) = (versions(&all), versions(&rest));
    assert!(0 < rest && rest < all, "it adds {rest} of {all} versions");
    assert_nothing_added(&equal(&killed, &flags, &files));
}

#[test]
fn a_changed_store_is_told() {
    let files = recordings();
    for (kind, content, said) in [
        (
            "task",
            r#"{"step":0,"recorded":{"action":"other"}}"#,
            "is not step",
        ),
        ("task", "no JSON", "is not step"),
        ("conversation", "no JSON", "message"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let first = equal(&folder, &[], &files);
        let run_id = first["runs"][0]["run"].as_str().unwrap();
        let key = format!("{kind}/{run_id}");
        run(&folder, &["state", "put", &key, content]);
        let again = replay(&folder, &[], &files);
        let err = String::from_utf8(again.stderr).unwrap();
        assert_eq!(again.status.code(), Some(10), "{err}");
        assert!(err.contains(said), "{err}");
        let report: Value = serde_json::from_slice(&again.stdout).unwrap();
        let differing = report["runs"].as_array().unwrap().iter();
        let differing = differing.filter(|run| run["difference"] != Value::Null);
        assert_eq!(differing.count(), 1);
    }
}
