//! Rules about README.md that need nothing to be built. `cargo xtask ci readme` runs its commands.

use super::tree::Tree;
use crate::readme::{self, TEST_COMMAND};

const TABLE_BEGIN: &str = "<!-- adapters:begin -->";
const TABLE_END: &str = "<!-- adapters:end -->";

/// The first fenced block runs the main job, the second passes the tests, a session follows.
pub(crate) fn commands(tree: &Tree) -> Vec<String> {
    let Some(file) = tree.file("README.md") else {
        return vec!["README.md is missing".to_owned()];
    };
    let blocks = readme::blocks(&file.text);
    let mut found = Vec::new();
    if blocks.is_empty() {
        found.push("README.md: no fenced block that runs the main job".to_owned());
    }
    if blocks
        .get(1)
        .is_none_or(|block| block.text.trim() != TEST_COMMAND)
    {
        found.push(format!(
            "README.md: the second fenced block must be `{TEST_COMMAND}`"
        ));
    }
    if readme::session(&blocks).is_empty() {
        found.push("README.md: no session (a ```console block with lines `$ command`)".to_owned());
    }
    found
}

/// The adapter table has a row for each adapter, and none for anything else.
pub(crate) fn adapter_table(tree: &Tree) -> Vec<String> {
    let Some(file) = tree.file("README.md") else {
        return vec!["README.md is missing".to_owned()];
    };
    let Some(table) = readme::between(&file.text, TABLE_BEGIN, TABLE_END) else {
        return vec![format!(
            "README.md: no adapter table between {TABLE_BEGIN} and {TABLE_END}"
        )];
    };
    let rows: Vec<&str> = table.lines().filter_map(first_cell).skip(2).collect();
    let adapters = tree.adapters();
    let missing = adapters.iter().filter(|name| !rows.contains(name));
    let strange = rows.iter().filter(|name| !adapters.contains(name));
    missing
        .map(|name| format!("README.md: no row for `{name}` in the adapter table"))
        .chain(strange.map(|name| format!("README.md: row `{name}` is no adapter")))
        .collect()
}

/// The first word of a table row's first cell, without backquotes or a link's brackets.
fn first_cell(line: &str) -> Option<&str> {
    let cell = line.trim().strip_prefix('|')?.split('|').next()?;
    let cell = cell.trim().trim_start_matches(['[', '`']);
    Some(cell.split(['`', ']', ' ', '(']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::tree::File;
    use super::*;

    #[track_caller]
    fn check(rule: fn(&Tree) -> Vec<String>, files: &[(&str, &str)], expected: &[&str]) {
        let files = files
            .iter()
            .map(|(path, text)| File::new(path, text))
            .collect();
        let found = rule(&Tree {
            files,
            packages: Vec::new(),
        });
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                found.contains(expected),
                "`{found}` should contain `{expected}`"
            );
        }
    }

    #[test]
    fn the_readme_begins_with_its_commands() {
        let run = "```sh\ncargo run --release -- serve\n```\n";
        let test = "```sh\ncargo test --workspace\n```\n";
        let session = "```console\n$ statehouse doctor\n```\n";
        let readme = |parts: &[&str]| parts.concat();
        let table: &[(&[&str], &[&str])] = &[
            (&[run, test, session], &[]),
            (&[run, test], &["no session"]),
            (
                &[run, session, test],
                &["second fenced block", "no session"],
            ),
            (&[test], &["second fenced block", "no session"]),
            (
                &[],
                &["runs the main job", "second fenced block", "no session"],
            ),
        ];
        for (parts, expected) in table {
            check(commands, &[("README.md", &readme(parts))], expected);
        }
        check(commands, &[], &["README.md is missing"]);
    }

    #[test]
    fn the_adapter_table_has_every_adapter() {
        let adapters = [
            ("crates/adapters/memory/src/lib.rs", ""),
            ("crates/adapters/sqlite/a", ""),
        ];
        let with = |rows: &str| {
            format!("{TABLE_BEGIN}\n| adapter | state |\n|---|---|\n{rows}{TABLE_END}\n")
        };
        let whole = with("| memory | yes |\n| [`sqlite`](x) (default) | yes |\n");
        let short = with("| memory | yes |\n");
        let long = with("| memory | yes |\n| `sqlite` | yes |\n| oracle | no |\n");
        let table: &[(&str, &[&str])] = &[
            (&whole, &[]),
            (&short, &["no row for `sqlite`"]),
            (&long, &["`oracle` is no adapter"]),
            ("| memory |", &["no adapter table"]),
        ];
        for (text, expected) in table {
            check(
                adapter_table,
                &[adapters[0], adapters[1], ("README.md", text)],
                expected,
            );
        }
        check(adapter_table, &[], &["README.md is missing"]);
    }
}
