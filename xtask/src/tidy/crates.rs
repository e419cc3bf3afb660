//! Rules about packages: names, who may depend on whom, what an adapter's folder holds.

use super::tree::{File, Tree};
use crate::workspace::{Dependency, Package, RUNTIME};

const PREFIX: &str = "statehouse-";
const ADAPTERS: &str = "crates/adapters/";

/// These prove the whole system, so they may use any adapter; nothing depends on them.
const PROOFS: &[&str] = &["statehouse-benches", "statehouse-integration-tests"];

/// What an adapter's folder always holds.
const ADAPTER_FILES: &[&str] = &[
    "README.md",
    "src/lib.rs",
    "src/config.rs",
    "tests/conformance.rs",
];

/// The contracts, and the file (or folder) an adapter implements each of them in.
const ROLES: &[(&str, &str)] = &[
    ("Producer", "producer"),
    ("Consumer", "consumer"),
    ("StateManager", "state"),
    ("TaskStack", "tasks"),
    ("ReferenceStore", "reference"),
];

/// A crate in folder `x` is `statehouse-x`, and every crate is a member of the workspace.
pub(crate) fn names(tree: &Tree) -> Vec<String> {
    let misnamed = tree
        .packages
        .iter()
        .filter(|package| package.name != "xtask")
        .filter_map(|p| {
            let expected = format!("{PREFIX}{}", last_word(&folder(p)));
            (p.name != expected).then(|| format!("{}: `{}`, not `{expected}`", folder(p), p.name))
        });
    let strangers =
        manifests(tree).filter(|(dir, _)| !tree.packages.iter().any(|p| folder(p) == *dir));
    misnamed
        .chain(strangers.map(|(dir, _)| format!("{dir}: no member of the workspace")))
        .collect()
}

/// An adapter knows the contracts, what adapters share (how content is stored) or speak (the HTTP
/// API's documents) and, in tests, the conformance suite, real servers and the service; never another
/// adapter.
pub(crate) fn adapter_dependencies(tree: &Tree) -> Vec<String> {
    let adapters = tree.packages.iter().filter(|package| is_adapter(package));
    let edges =
        adapters.flat_map(|package| package.dependencies.iter().map(move |dep| (package, dep)));
    edges
        .filter(|(_, dep)| dep.name.starts_with(PREFIX) && !adapter_may_use(dep))
        .map(|(package, dep)| {
            format!(
                "{} depends on {}: contracts, content and wire only; in tests conformance, integration-tests and runtime",
                package.name, dep.name
            )
        })
        .collect()
}

fn adapter_may_use(dependency: &Dependency) -> bool {
    match dependency.name.as_str() {
        "statehouse-contracts" | "statehouse-content" | "statehouse-wire" => true,
        "statehouse-conformance" | "statehouse-integration-tests" | RUNTIME => {
            dependency.kind.as_deref() == Some("dev")
        }
        _ => false,
    }
}

/// Everything but the runtime is written over the contracts; tests may use an adapter.
pub(crate) fn adapters_named_by_runtime_alone(tree: &Tree) -> Vec<String> {
    let crates: Vec<String> = tree
        .adapters()
        .iter()
        .map(|name| format!("{PREFIX}{name}"))
        .collect();
    let others = tree.packages.iter().filter(|package| {
        !is_adapter(package) && package.name != RUNTIME && !PROOFS.contains(&package.name.as_str())
    });
    let edges =
        others.flat_map(|package| package.dependencies.iter().map(move |dep| (package, dep)));
    let mut found: Vec<String> = edges
        .filter(|(_, dep)| dep.kind.is_none() && crates.contains(&dep.name))
        .map(|(package, dep)| format!("{} depends on {}", package.name, dep.name))
        .collect();
    for name in &crates {
        found.extend(named_in_runtime(tree, &name.replace('-', "_")));
    }
    found
}

/// Within the runtime, one file knows which adapters there are.
fn named_in_runtime(tree: &Tree, name: &str) -> Vec<String> {
    let files = tree
        .rust()
        .filter(|file| file.path.starts_with("crates/runtime/src/"));
    let others = files.filter(|file| file.path != "crates/runtime/src/adapters.rs");
    let lines = others.flat_map(|file| {
        file.code
            .lines()
            .enumerate()
            .map(move |(i, l)| (file, i, l))
    });
    lines
        .filter(|(_, _, line)| line.contains(name))
        .map(|(file, index, _)| file.at(index, &format!("only adapters.rs names `{name}`")))
        .collect()
}

/// Folder = crate suffix = feature of the runtime, and `full` has them all.
pub(crate) fn adapter_features(tree: &Tree) -> Vec<String> {
    let Some(runtime) = tree.packages.iter().find(|package| package.name == RUNTIME) else {
        return vec![format!("no package `{RUNTIME}`")];
    };
    let has = |feature: &str, item: &str| {
        runtime
            .features
            .get(feature)
            .is_some_and(|items| items.iter().any(|it| it == item))
    };
    let mut found = Vec::new();
    for name in tree.adapters() {
        let switched = format!("dep:{PREFIX}{name}");
        if !has(name, &switched) {
            found.push(format!(
                "crates/runtime: feature `{name}` must enable `{switched}`"
            ));
        }
        if !has("full", name) {
            found.push(format!(
                "crates/runtime: feature `full` must enable `{name}`"
            ));
        }
    }
    found
}

/// The same file names in every adapter: a missing role is a missing file.
pub(crate) fn adapter_files(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for name in tree.adapters() {
        let base = format!("{ADAPTERS}{name}/");
        let missing = ADAPTER_FILES
            .iter()
            .filter(|file| tree.file(&format!("{base}{file}")).is_none());
        found.extend(missing.map(|file| format!("{base}{file} is missing")));
        let sources = tree
            .rust()
            .filter(|file| file.path.starts_with(&format!("{base}src/")));
        found.extend(sources.flat_map(|file| misplaced_roles(file, &base)));
    }
    found
}

fn misplaced_roles(file: &File, base: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (role, name) in ROLES {
        let home = [format!("{base}src/{name}.rs"), format!("{base}src/{name}/")];
        if home.iter().any(|home| file.path.starts_with(home)) {
            continue;
        }
        let implements = format!(" {role} for ");
        let lines = file.code.lines().enumerate();
        let hits = lines
            .filter(|(i, l)| l.starts_with("impl") && l.contains(&implements) && !file.is_test(*i));
        found.extend(hits.map(|(i, _)| file.at(i, &format!("`{role}` belongs in src/{name}.rs"))));
    }
    found
}

/// Our own crates stand once in the workspace's dependencies; a member only names them.
pub(crate) fn internal_dependencies(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (dir, manifest) in manifests(tree) {
        for (section, table) in dependency_tables(&manifest) {
            let internal = table.iter().filter(|(name, _)| name.starts_with(PREFIX));
            let own = internal.filter(|(_, value)| !is_true(value.get("workspace")));
            found.extend(own.map(|(name, _)| {
                format!("{dir}/Cargo.toml: [{section}] {name} must say `workspace = true`")
            }));
        }
    }
    found
}

fn dependency_tables(manifest: &toml::Table) -> Vec<(&'static str, &toml::Table)> {
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    let table = |section| {
        manifest
            .get(section)
            .and_then(toml::Value::as_table)
            .map(|t| (section, t))
    };
    sections.into_iter().filter_map(table).collect()
}

/// One set of lints, for everybody.
pub(crate) fn inherited_lints(tree: &Tree) -> Vec<String> {
    let inherits =
        |manifest: &toml::Table| is_true(manifest.get("lints").and_then(|l| l.get("workspace")));
    let without = manifests(tree).filter(|(_, manifest)| !inherits(manifest));
    without
        .map(|(dir, _)| format!("{dir}/Cargo.toml: no `[lints] workspace = true`"))
        .collect()
}

/// A library has examples that run, or says `doctest = false`: an empty run costs time, and says
/// "0 passed" as if something had been tried.
pub(crate) fn doctests(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for package in &tree.packages {
        let sources = format!("{}/src/", folder(package));
        let tested = package.targets.iter().any(|target| target.doctest);
        let mut files = tree.rust().filter(|file| file.path.starts_with(&sources));
        if tested && !files.any(|file| has_example(&file.text)) {
            found.push(format!(
                "{}: no examples in its docs: [lib] doctest = false",
                package.name
            ));
        }
    }
    found
}

fn has_example(text: &str) -> bool {
    let docs = text.lines().map(str::trim_start).filter_map(|line| {
        line.strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"))
            .map(str::trim)
    });
    let fences = docs.filter_map(|line| line.strip_prefix("```"));
    let runs = ["", "rust", "should_panic", "no_run", "compile_fail"];
    // Fences come in pairs; the first of each says what the block is.
    fences
        .step_by(2)
        .any(|info| info.split(',').all(|word| runs.contains(&word.trim())))
}

/// The members' manifests, with the folder each is in.
fn manifests(tree: &Tree) -> impl Iterator<Item = (&str, toml::Table)> {
    tree.files.iter().filter_map(|file| {
        let dir = file.path.strip_suffix("/Cargo.toml")?;
        Some((dir, file.text.parse().ok()?))
    })
}

fn is_true(value: Option<&toml::Value>) -> bool {
    value.and_then(toml::Value::as_bool) == Some(true)
}

fn is_adapter(package: &Package) -> bool {
    folder(package).starts_with(ADAPTERS)
}

fn folder(package: &Package) -> String {
    package.folder().to_string_lossy().into_owned()
}

fn last_word(folder: &str) -> &str {
    folder.rsplit('/').next().unwrap_or(folder)
}

#[cfg(test)]
mod tests;
