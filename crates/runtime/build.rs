//! Tells the binary which commit and which features it was built from: `statehouse --version`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rustc-env=STATEHOUSE_COMMIT={}", commit());
    println!("cargo::rustc-env=STATEHOUSE_FEATURES={}", features());
    println!("cargo::rerun-if-env-changed=STATEHOUSE_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    for file in files_that_name_the_commit() {
        println!("cargo::rerun-if-changed={}", file.display());
    }
}

/// The commit, or what a packager who builds outside git says it is.
fn commit() -> String {
    env::var("STATEHOUSE_COMMIT")
        .ok()
        .filter(|commit| !commit.is_empty())
        .or_else(|| git(&["rev-parse", "--short", "HEAD"]))
        .unwrap_or_else(|| "unknown".to_owned())
}

/// The enabled features, sorted and joined by commas, without the `default` group.
fn features() -> String {
    let mut names: Vec<String> = env::vars()
        .filter_map(|(key, _)| key.strip_prefix("CARGO_FEATURE_").map(str::to_owned))
        .map(|name| name.to_lowercase().replace('_', "-"))
        .filter(|name| name != "default")
        .collect();
    names.sort();
    names.join(",")
}

/// What changes when another commit is checked out. Files that do not exist are left out: cargo
/// would run this script on every build.
fn files_that_name_the_commit() -> Vec<PathBuf> {
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    ["HEAD", "packed-refs"]
        .into_iter()
        .chain(branch.as_deref())
        .filter_map(|name| git(&["rev-parse", "--git-path", name]))
        .map(|path| Path::new(&path).to_owned())
        .filter(|path| path.exists())
        .collect()
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
