//! The steps that call cargo.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Outcome;
use crate::images;
use crate::process::{self, Result, cargo};
use crate::readme::{self, TEST_COMMAND};
use crate::workspace::{self, Package};

/// Names the folder with recorded agent runs.
const TRAJECTORIES: &str = "STATEHOUSE_TRAJECTORIES";

const EXAMPLE_LIMIT: Duration = Duration::from_secs(5 * 60);
const REPLAY_LIMIT: Duration = Duration::from_secs(20 * 60);

pub(super) fn fmt() -> Result<Outcome> {
    run(&["fmt", "--all", "--check"])
}

pub(super) fn clippy() -> Result<Outcome> {
    run(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ])
}

pub(super) fn docs() -> Result<Outcome> {
    let mut command = cargo(["doc", "--workspace", "--no-deps", "--all-features"]);
    process::run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Outcome::Passed)
}

/// README's test command, so that the page cannot say something else than what passes. A test that
/// fails hides no other.
pub(super) fn test() -> Result<Outcome> {
    let mut words: Vec<&str> = TEST_COMMAND.split(' ').skip(1).collect();
    words.push("--no-fail-fast");
    run(&words)
}

/// Every package with features: without any, and with each alone.
pub(super) fn features() -> Result<Outcome> {
    for package in workspace::members()? {
        for set in feature_sets(&package) {
            let fixed = [
                "clippy",
                "--package",
                &package.name,
                "--no-default-features",
            ];
            let mut command = cargo(fixed);
            if !set.is_empty() {
                command.args(["--features", &set]);
            }
            process::run(command.args(["--", "-D", "warnings"]))?;
        }
    }
    Ok(Outcome::Passed)
}

fn feature_sets(package: &Package) -> Vec<String> {
    if package.features.is_empty() {
        return Vec::new();
    }
    std::iter::once(String::new())
        .chain(package.features.keys().cloned())
        .collect()
}

pub(super) fn deny() -> Result<Outcome> {
    if let Some(missing) = no_cargo_deny()? {
        return Ok(missing);
    }
    run(&[
        "deny",
        "--workspace",
        "check",
        "bans",
        "licenses",
        "sources",
    ])
}

/// Needs the network: the list of advisories is a repository of its own.
pub(super) fn advisories() -> Result<Outcome> {
    if let Some(missing) = no_cargo_deny()? {
        return Ok(missing);
    }
    if !process::works(&mut cargo(["deny", "fetch", "db"])) {
        let why = "the advisory database cannot be fetched (`cargo deny fetch db` says why)";
        return Ok(Outcome::Skipped(why.to_owned()));
    }
    run(&["deny", "--workspace", "check", "advisories"])
}

fn no_cargo_deny() -> Result<Option<Outcome>> {
    if process::works(&mut cargo(["deny", "--version"])) {
        return Ok(None);
    }
    let missing = "cargo-deny is not installed (cargo install cargo-deny --locked)";
    skipped_by_a_person(missing.to_owned()).map(Some)
}

/// A person may go without the tool, CI may not.
fn skipped_by_a_person(missing: String) -> Result<Outcome> {
    if env::var("CI").is_ok_and(|value| value == "true") {
        Err(missing)
    } else {
        Ok(Outcome::Skipped(missing))
    }
}

/// Without Docker, tests on servers are ignored.
pub(super) fn images() -> Result<Outcome> {
    if let Err(missing) = images::docker_answers() {
        return skipped_by_a_person(missing);
    }
    let absent = images::get_all()?;
    if absent.is_empty() {
        return Ok(Outcome::Passed);
    }
    let what = absent.join("; ");
    Ok(Outcome::Partly(format!("{what}: there are no tests on it")))
}

/// Each example ends by itself, in a folder of its own.
pub(super) fn examples() -> Result<Outcome> {
    for package in workspace::members()? {
        let found = package.targets.iter().filter(|target| target.is("example"));
        for example in found {
            let folder = workspace::target_dir()
                .join("examples-run")
                .join(&example.name);
            empty_folder(&folder)?;
            let words = [
                "run",
                "--quiet",
                "--package",
                &package.name,
                "--example",
                &example.name,
            ];
            let mut command = cargo(words);
            command
                .current_dir(&folder)
                .env("CARGO_TARGET_DIR", workspace::target_dir());
            process::run_within(&mut command, EXAMPLE_LIMIT)?;
        }
    }
    Ok(Outcome::Passed)
}

fn empty_folder(folder: &Path) -> Result {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

/// Replays every recorded run, twice: the second time nothing may be left to do. The command
/// itself checks that what it reads back equals what it read.
pub(super) fn replay() -> Result<Outcome> {
    let Some(folder) = env::var_os(TRAJECTORIES).map(PathBuf::from) else {
        return Ok(Outcome::Skipped(format!(
            "{TRAJECTORIES} names no folder with recorded runs"
        )));
    };
    let files = recorded_runs(&folder)?;
    let mut arguments = vec!["replay"];
    arguments.extend(files.iter().map(String::as_str));
    let mut command = readme::binary(&arguments)?;
    process::run_within(&mut command, REPLAY_LIMIT)?;
    process::run_within(&mut command, REPLAY_LIMIT)?;
    Ok(Outcome::Passed)
}

fn recorded_runs(folder: &Path) -> Result<Vec<String>> {
    let unusable = |error| format!("{TRAJECTORIES}={}: {error}", folder.display());
    let absolute = folder.canonicalize().map_err(unusable)?;
    let entries = fs::read_dir(absolute)
        .map_err(unusable)?
        .filter_map(|entry| entry.ok());
    let paths = entries.map(|entry| entry.path().to_string_lossy().into_owned());
    let mut files: Vec<String> = paths.filter(|path| path.ends_with(".traj")).collect();
    files.sort();
    if files.is_empty() {
        return Err(format!(
            "{TRAJECTORIES}={}: no file ends in .traj",
            folder.display()
        ));
    }
    Ok(files)
}

fn run(arguments: &[&str]) -> Result<Outcome> {
    process::run(&mut cargo(arguments))?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_alone_and_none() {
        let mut package = Package::default();
        assert!(feature_sets(&package).is_empty());
        for name in ["sqlite", "memory"] {
            package.features.insert(name.to_owned(), Vec::new());
        }
        assert_eq!(feature_sets(&package), ["", "memory", "sqlite"]);
    }

    #[test]
    fn a_folder_without_recorded_runs_is_an_error() {
        let here = workspace::root().join("xtask");
        let message = recorded_runs(&here).expect_err("no runs");
        assert!(message.contains("no file ends in .traj"), "{message}");
        let message = recorded_runs(&here.join("nowhere")).expect_err("no folder");
        assert!(message.contains("nowhere"), "{message}");
    }
}
