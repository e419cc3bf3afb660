//! The tree the rules look at: every text file of the checkout, and cargo's view of the packages.

use std::fs;
use std::path::Path;

use super::mask;
use crate::process::Result;
use crate::workspace::{self, Package};

/// Folders and files that are built, not written.
const SKIPPED: &[&str] = &[".git", "target", "node_modules"];

/// A checkout.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
    pub(crate) packages: Vec<Package>,
}

/// A text file.
#[derive(Debug)]
pub(crate) struct File {
    /// Below the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// For Rust: the text with comments and the insides of literals blanked; else empty.
    pub(crate) code: String,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") {
            mask::code(text)
        } else {
            String::new()
        };
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
        }
    }

    /// `path:line: message`, with the line counted from 1.
    pub(crate) fn at(&self, index: usize, message: &str) -> String {
        format!("{}:{}: {message}", self.path, index + 1)
    }

    /// True for code that only tests run: test folders, test files, and the `#[cfg(test)]` module
    /// that ends a file.
    pub(crate) fn is_test(&self, index: usize) -> bool {
        let whole = self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.starts_with("integration-tests/")
            || self.path.starts_with("crates/conformance/");
        whole
            || self
                .code
                .lines()
                .take(index + 1)
                .any(|line| line.trim() == "#[cfg(test)]")
    }
}

impl Tree {
    pub(crate) fn read() -> Result<Self> {
        let mut files = Vec::new();
        collect(workspace::root(), "", &mut files).map_err(|error| format!("reading: {error}"))?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self {
            files,
            packages: workspace::members()?,
        })
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The names of the folders in `crates/adapters`, in order.
    pub(crate) fn adapters(&self) -> Vec<&str> {
        let below = self
            .files
            .iter()
            .filter_map(|file| file.path.strip_prefix("crates/adapters/"));
        let mut names: Vec<&str> = below
            .filter_map(|path| path.split_once('/'))
            .map(|(name, _)| name)
            .collect();
        names.dedup();
        names
    }
}

fn collect(dir: &Path, prefix: &str, files: &mut Vec<File>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() {
            // Databases, pictures: not UTF-8, and no rule is about them.
            if let Ok(text) = fs::read_to_string(entry.path()) {
                files.push(File::new(&path, &text));
            }
        }
    }
    Ok(())
}
