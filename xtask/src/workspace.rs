//! What `cargo metadata` says about the workspace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::process::{self, Result, cargo};

/// The package that makes the `statehouse` binary.
pub(crate) const RUNTIME: &str = "statehouse-runtime";

/// The root of the checkout.
pub(crate) fn root() -> &'static Path {
    let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest_dir.parent().unwrap_or(manifest_dir)
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The answer of `cargo metadata`, as far as we use it.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    /// The dependency graph; absent with `--no-deps`.
    pub(crate) resolve: Option<Resolve>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) repository: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) targets: Vec<Target>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None`: normal; else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
    pub(crate) doctest: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Edge {
    pub(crate) pkg: String,
    pub(crate) dep_kinds: Vec<EdgeKind>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct EdgeKind {
    /// `None`: normal; else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

impl Package {
    pub(crate) fn is_proc_macro(&self) -> bool {
        self.targets.iter().any(|target| target.is("proc-macro"))
    }

    /// The package's folder below the root, such as `crates/adapters/sqlite`.
    pub(crate) fn folder(&self) -> &Path {
        let folder = self.manifest_path.parent().unwrap_or(Path::new(""));
        folder.strip_prefix(root()).unwrap_or(folder)
    }
}

impl Edge {
    pub(crate) fn is_normal(&self) -> bool {
        self.dep_kinds.iter().any(|kind| kind.kind.is_none())
    }

    /// True for an edge of this kind: `dev` or `build`.
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.dep_kinds
            .iter()
            .any(|it| it.kind.as_deref() == Some(kind))
    }
}

impl Target {
    /// True if the target is of this kind: `lib`, `bin`, `example`, `test` …
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|it| it == kind)
    }
}

/// The workspace's own packages, without the dependency graph.
pub(crate) fn members() -> Result<Vec<Package>> {
    Ok(metadata(&["--no-deps"])?.packages)
}

/// `cargo metadata` with these arguments.
pub(crate) fn metadata(arguments: &[&str]) -> Result<Metadata> {
    let fixed = ["metadata", "--format-version", "1"];
    let text = process::output(&mut cargo(fixed.iter().chain(arguments)))?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))
}
