//! Rules about every text file.

use super::tree::{File, Tree};

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const MAX_ARCHITECTURE_LINES: usize = 200;

/// Folders under which people and build machines keep their checkouts.
const CHECKOUT_FOLDERS: &[&str] = &[
    "home",
    "Users",
    "root",
    "work",
    "farm",
    "builds",
    "workspace",
    "__w",
];

/// The only registry, and where the lock file says a crate came from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// ARCHITECTURE.md is there, and short enough to be read.
pub(crate) fn architecture_page(tree: &Tree) -> Vec<String> {
    match tree
        .file(ARCHITECTURE)
        .map(|file| file.text.lines().count())
    {
        None => vec![format!("{ARCHITECTURE} is missing")],
        Some(count) if count < MAX_ARCHITECTURE_LINES => Vec::new(),
        Some(count) => {
            vec![format!(
                "{ARCHITECTURE}: {count} lines, it stays under {MAX_ARCHITECTURE_LINES}"
            )]
        }
    }
}

/// Nothing depends on where somebody's checkout lies.
pub(crate) fn machine_paths(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(folder) = CHECKOUT_FOLDERS
                .iter()
                .find(|folder| names_folder(line, folder))
            {
                found.push(file.at(index, &format!("a path below /{folder} of one machine")));
            }
        }
    }
    found
}

/// True if `line` holds an absolute path below `folder`: `/folder/…` that no other path or URL
/// leads up to.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(&format!("/{folder}/")).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~/}$*".contains(c))
    })
}

/// Crates come from crates.io: no other registry, mirror or index is named.
pub(crate) fn registries(tree: &Tree) -> Vec<String> {
    tree.files.iter().flat_map(foreign_registries).collect()
}

fn foreign_registries(file: &File) -> Vec<String> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let is_config = file.path.contains(".cargo/");
    let foreign = |line: &str| match name {
        "Cargo.lock" => line.starts_with("source = ") && !line.contains(REGISTRY),
        "Cargo.toml" => line.contains("registry") && line.contains('='),
        _ => is_config && (line.starts_with("[source") || line.starts_with("[registr")),
    };
    let lines = file.text.lines().enumerate();
    lines
        .filter(|(_, line)| foreign(line))
        .map(|(i, line)| file.at(i, line.trim()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: fn(&Tree) -> Vec<String>, path: &str, text: &str, expected: &[&str]) {
        let found = rule(&Tree {
            files: vec![File::new(path, text)],
            packages: Vec::new(),
        });
        assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                found.contains(expected),
                "`{found}` should contain `{expected}`"
            );
        }
    }

    #[test]
    fn the_architecture_page_is_short() {
        check(
            architecture_page,
            "README.md",
            "",
            &["ARCHITECTURE.md is missing"],
        );
        check(architecture_page, ARCHITECTURE, &"x\n".repeat(199), &[]);
        check(
            architecture_page,
            ARCHITECTURE,
            &"x\n".repeat(200),
            &["200 lines"],
        );
    }

    #[test]
    fn no_path_of_one_machine() {
        for folder in CHECKOUT_FOLDERS {
            let path = format!("see `/{folder}/me/x`");
            check(machine_paths, "a.md", &path, &[&format!("below /{folder}")]);
            check(
                machine_paths,
                "a.md",
                &format!("https://host/v1/{folder}/x"),
                &[],
            );
            check(
                machine_paths,
                "a.md",
                &format!("../{folder}/x and/{folder}/or"),
                &[],
            );
        }
        check(
            machine_paths,
            "a.rs",
            "/tmp/x /usr/lib/x /var/lib/statehouse/x",
            &[],
        );
    }

    #[test]
    fn crates_come_from_one_registry() {
        let lock = |source: &str| format!("name = \"x\"\nsource = \"{source}\"\n");
        check(registries, "Cargo.lock", &lock(REGISTRY), &[]);
        let mirror = "registry+https://mirror.example/index";
        check(
            registries,
            "Cargo.lock",
            &lock(mirror),
            &["Cargo.lock:2: source"],
        );
        check(
            registries,
            "Cargo.lock",
            &lock("git+https://example.org/x#1"),
            &["Cargo.lock:2"],
        );
        check(
            registries,
            ".cargo/config.toml",
            "[source.crates-io]\nx = 1",
            &["config.toml:1"],
        );
        check(
            registries,
            ".cargo/config.toml",
            "[alias]\nxtask = \"run\"",
            &[],
        );
        check(
            registries,
            "a/Cargo.toml",
            "x = { version = \"1\", registry = \"y\" }",
            &["toml:1"],
        );
        check(registries, "a.md", "source = \"registry of ships\"", &[]);
    }
}
