use super::*;
use crate::workspace::{Target, root};

fn package(folder: &str, name: &str) -> Package {
    let manifest_path = root().join(folder).join("Cargo.toml");
    Package {
        name: name.to_owned(),
        manifest_path,
        ..Package::default()
    }
}

fn depending(folder: &str, name: &str, on: &[(&str, Option<&str>)]) -> Package {
    let dependencies = on.iter().map(|(name, kind)| Dependency {
        name: (*name).to_owned(),
        kind: kind.map(str::to_owned),
    });
    Package {
        dependencies: dependencies.collect(),
        ..package(folder, name)
    }
}

fn tree(files: &[(&str, &str)], packages: Vec<Package>) -> Tree {
    Tree {
        files: files
            .iter()
            .map(|(path, text)| File::new(path, text))
            .collect(),
        packages,
    }
}

#[track_caller]
fn check(rule: fn(&Tree) -> Vec<String>, tree: Tree, expected: &[&str]) {
    let found = rule(&tree);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            found.contains(expected),
            "`{found}` should contain `{expected}`"
        );
    }
}

#[test]
fn a_crate_is_called_as_its_folder() {
    check(
        names,
        tree(&[], vec![package("crates/state", "statehouse-state")]),
        &[],
    );
    check(names, tree(&[], vec![package("xtask", "xtask")]), &[]);
    let wrong = package("crates/adapters/sqlite", "statehouse-sql");
    check(names, tree(&[], vec![wrong]), &["not `statehouse-sqlite`"]);
    let stranger = [("crates/lost/Cargo.toml", "[package]")];
    check(
        names,
        tree(&stranger, Vec::new()),
        &["crates/lost: no member"],
    );
}

#[test]
fn an_adapter_depends_on_what_all_adapters_share() {
    let table: &[(&str, Option<&str>, &[&str])] = &[
        ("statehouse-contracts", None, &[]),
        ("statehouse-conformance", Some("dev"), &[]),
        ("statehouse-integration-tests", Some("dev"), &[]),
        (
            "statehouse-integration-tests",
            None,
            &["depends on statehouse-integration-tests"],
        ),
        ("rusqlite", None, &[]),
        ("statehouse-content", None, &[]),
        ("statehouse-wire", None, &[]),
        ("statehouse-runtime", Some("dev"), &[]),
        (
            "statehouse-runtime",
            None,
            &["depends on statehouse-runtime"],
        ),
        (
            "statehouse-conformance",
            None,
            &["depends on statehouse-conformance"],
        ),
        ("statehouse-memory", None, &["depends on statehouse-memory"]),
        (
            "statehouse-memory",
            Some("dev"),
            &["depends on statehouse-memory"],
        ),
        (
            "statehouse-layers",
            Some("dev"),
            &["depends on statehouse-layers"],
        ),
    ];
    for (on, kind, expected) in table {
        let adapter = depending("crates/adapters/a", "statehouse-a", &[(on, *kind)]);
        check(adapter_dependencies, tree(&[], vec![adapter]), expected);
    }
    let service = depending(
        "crates/state",
        "statehouse-state",
        &[("statehouse-layers", None)],
    );
    check(adapter_dependencies, tree(&[], vec![service]), &[]);
}

#[test]
fn only_the_runtime_names_adapters() {
    let adapter = ("crates/adapters/a/src/lib.rs", "");
    let table: &[(&str, &str, Option<&str>, &[&str])] = &[
        (
            "crates/state",
            "statehouse-state",
            None,
            &["statehouse-state depends on statehouse-a"],
        ),
        ("crates/state", "statehouse-state", Some("dev"), &[]),
        ("crates/runtime", RUNTIME, None, &[]),
        ("benches", "statehouse-benches", None, &[]),
    ];
    for (folder, name, kind, expected) in table {
        let package = depending(folder, name, &[("statehouse-a", *kind)]);
        check(
            adapters_named_by_runtime_alone,
            tree(&[adapter], vec![package]),
            expected,
        );
    }
    let main = ("crates/runtime/src/main.rs", "\nuse statehouse_a::A;");
    check(
        adapters_named_by_runtime_alone,
        tree(&[adapter, main], vec![]),
        &["main.rs:2: only"],
    );
    let switchboard = ("crates/runtime/src/adapters.rs", "use statehouse_a::A;");
    check(
        adapters_named_by_runtime_alone,
        tree(&[adapter, switchboard], vec![]),
        &[],
    );
}

#[test]
fn an_adapter_has_a_feature() {
    let with = |features: &[(&str, &[&str])]| {
        let features = features.iter().map(|(name, items)| {
            (
                (*name).to_owned(),
                items.iter().map(|item| (*item).to_owned()).collect(),
            )
        });
        let runtime = Package {
            features: features.collect(),
            ..package("crates/runtime", RUNTIME)
        };
        tree(&[("crates/adapters/a/src/lib.rs", "")], vec![runtime])
    };
    check(
        adapter_features,
        with(&[("a", &["dep:statehouse-a"]), ("full", &["a"])]),
        &[],
    );
    check(
        adapter_features,
        with(&[("a", &["dep:statehouse-a"])]),
        &["`full` must enable `a`"],
    );
    check(
        adapter_features,
        with(&[("a", &[]), ("full", &["a"])]),
        &["feature `a` must enable"],
    );
    check(adapter_features, tree(&[], Vec::new()), &["no package"]);
}

#[test]
fn an_adapter_has_the_files_of_every_adapter() {
    let whole = [
        "README.md",
        "src/lib.rs",
        "src/config.rs",
        "tests/conformance.rs",
    ];
    let paths: Vec<String> = whole
        .iter()
        .map(|file| format!("{ADAPTERS}a/{file}"))
        .collect();
    let mut files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "")).collect();
    check(adapter_files, tree(&files, Vec::new()), &[]);
    check(
        adapter_files,
        tree(&files[1..], Vec::new()),
        &["a/README.md is missing"],
    );

    let producer = "impl Producer for A {}";
    files.push(("crates/adapters/a/src/producer.rs", producer));
    files.push((
        "crates/adapters/a/src/state/read.rs",
        "impl StateManager for A {}",
    ));
    check(adapter_files, tree(&files, Vec::new()), &[]);
    files.push((
        "crates/adapters/a/src/both.rs",
        "\nimpl<T> Producer for A<T> {}",
    ));
    check(
        adapter_files,
        tree(&files, Vec::new()),
        &["both.rs:2: `Producer` belongs in"],
    );
}

#[test]
fn internal_crates_stand_once_in_the_workspace() {
    let table: &[(&str, &[&str])] = &[
        ("[dependencies]\nstatehouse-a.workspace = true", &[]),
        (
            "[dependencies]\nstatehouse-a = { workspace = true, optional = true }",
            &[],
        ),
        ("[dependencies]\nserde = \"1\"", &[]),
        (
            "[dependencies]\nstatehouse-a = { path = \"../a\" }",
            &["[dependencies] statehouse-a"],
        ),
        (
            "[dev-dependencies]\nstatehouse-a = \"0.1\"",
            &["[dev-dependencies] statehouse-a"],
        ),
    ];
    for (manifest, expected) in table {
        check(
            internal_dependencies,
            tree(&[("crates/b/Cargo.toml", manifest)], vec![]),
            expected,
        );
    }
}

#[test]
fn lints_are_inherited() {
    let with = |text| tree(&[("crates/b/Cargo.toml", text)], Vec::new());
    check(inherited_lints, with("[lints]\nworkspace = true"), &[]);
    check(inherited_lints, with("lints.workspace = true"), &[]);
    check(
        inherited_lints,
        with("[lints.rust]\nunsafe_code = \"warn\""),
        &["crates/b/Cargo.toml"],
    );
    check(
        inherited_lints,
        with("[package]\nname = \"b\""),
        &["crates/b/Cargo.toml"],
    );
}

#[test]
fn a_library_has_examples_or_says_so() {
    let with = |doctest, text| {
        let lib = Target {
            doctest,
            kind: vec!["lib".to_owned()],
            ..Target::default()
        };
        let package = Package {
            targets: vec![lib],
            ..package("crates/b", "statehouse-b")
        };
        tree(&[("crates/b/src/lib.rs", text)], vec![package])
    };
    check(
        doctests,
        with(true, "//! ```\n//! let x = 1;\n//! ```"),
        &[],
    );
    check(
        doctests,
        with(true, "    /// ```rust,no_run\n    /// ```"),
        &[],
    );
    check(doctests, with(false, "//! prose"), &[]);
    check(
        doctests,
        with(true, "//! prose"),
        &["statehouse-b: no examples"],
    );
    check(
        doctests,
        with(true, "//! ```json\n//! {}\n//! ```"),
        &["statehouse-b: no examples"],
    );
}
