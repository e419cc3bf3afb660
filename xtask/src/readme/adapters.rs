//! README's table of adapters, from what their conformance suites have written down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::process::Result;
use crate::workspace;

const BEGIN: &str = "<!-- adapters:begin -->";
const END: &str = "<!-- adapters:end -->";
/// The adapter without configuration; it comes first.
const DEFAULT: &str = "sqlite";
/// The adapter of a running service, which keeps things as safe as its own backends do.
const SERVICE: &str = "http";
/// Set when the table is to be written anew.
const UPDATE: &str = "UPDATE_DOCS";

/// A whole run of the suite on one server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verified {
    adapter: String,
    server: String,
    schemes: Vec<String>,
    messages: bool,
    state: bool,
    tasks: bool,
    references: bool,
    survives: String,
    cases: u64,
}

/// Compares the table with the page, or writes it into the page.
pub(crate) fn check() -> Result {
    let root = workspace::root();
    let table = table(&runs(&root.join("crates/adapters"))?);
    let path = root.join("README.md");
    let page = fs::read_to_string(&path).map_err(|error| format!("README.md: {error}"))?;
    let current = with_table(&page, &table)?;
    if current == page {
        return Ok(());
    }
    if std::env::var_os(UPDATE).is_none() {
        return Err(format!(
            "README.md's table of adapters is not what their suites have shown; write it with \
             {UPDATE}=1 cargo xtask adapters"
        ));
    }
    fs::write(&path, current).map_err(|error| format!("README.md: {error}"))
}

fn with_table(page: &str, table: &str) -> Result<String> {
    let missing = || format!("README.md: no adapter table between {BEGIN} and {END}");
    let (before, rest) = page.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

/// Each adapter, with the runs that are written down in its folder.
fn runs(adapters: &Path) -> Result<BTreeMap<String, Vec<Verified>>> {
    let mut all = BTreeMap::new();
    for folder in entries(adapters)? {
        let name = folder.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let files = entries(&folder.join("verified")).unwrap_or_default();
        let runs: Result<Vec<Verified>> = files.iter().map(|file| read(file, &name)).collect();
        all.insert(name, runs?);
    }
    Ok(all)
}

fn entries(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let failed = |error| format!("{}: {error}", folder.display());
    let listed = fs::read_dir(folder).map_err(failed)?;
    let mut paths: Vec<_> = listed
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    Ok(paths)
}

fn read(file: &Path, adapter: &str) -> Result<Verified> {
    let wrong = |what: String| format!("{}: {what}", file.display());
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let run: Verified = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if run.adapter != adapter || run.cases == 0 {
        return Err(wrong(format!("it is no run of {adapter}'s suite")));
    }
    Ok(run)
}

fn table(adapters: &BTreeMap<String, Vec<Verified>>) -> String {
    let mut text = String::from(
        "| adapter | URL | messages | state | tasks | references | survives | verified on |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let mut names: Vec<&String> = adapters.keys().collect();
    names.sort_by_key(|name| (name.as_str() != DEFAULT, name.as_str()));
    for name in names {
        text.push_str(&row(name, &adapters[name]));
    }
    text
}

fn row(name: &str, runs: &[Verified]) -> String {
    let mark = if name == DEFAULT { " (default)" } else { "" };
    let Some(first) = runs.first() else {
        return format!("| `{name}`{mark} | `{name}:` | | | | | | not yet |\n");
    };
    let urls: Vec<String> = first
        .schemes
        .iter()
        .map(|scheme| format!("`{scheme}:`"))
        .collect();
    let role = |has: fn(&Verified) -> bool| if runs.iter().all(has) { "yes" } else { "–" };
    let survives: BTreeSet<&str> = match name {
        SERVICE => BTreeSet::from(["as its backends"]),
        _ => runs.iter().map(|run| run.survives.as_str()).collect(),
    };
    let servers: Vec<&str> = runs.iter().map(|run| run.server.as_str()).collect();
    let roles = [
        role(|run| run.messages),
        role(|run| run.state),
        role(|run| run.tasks),
        role(|run| run.references),
    ];
    format!(
        "| `{name}`{mark} | {} | {} | {} | {} |\n",
        urls.join(" "),
        roles.join(" | "),
        survives.into_iter().collect::<Vec<_>>().join(" or "),
        servers.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(adapter: &str, server: &str, survives: &str) -> Verified {
        Verified {
            adapter: adapter.to_owned(),
            server: server.to_owned(),
            schemes: vec![adapter.to_owned()],
            messages: true,
            state: adapter != "queue",
            tasks: true,
            references: true,
            survives: survives.to_owned(),
            cases: 1,
        }
    }

    #[test]
    fn a_row_says_what_all_servers_have_shown() {
        let adapters = BTreeMap::from([
            ("memory".to_owned(), Vec::new()),
            (
                "queue".to_owned(),
                vec![
                    run("queue", "A 1", "nothing"),
                    run("queue", "B 2", "a fire"),
                ],
            ),
            (
                "sqlite".to_owned(),
                vec![run("sqlite", "SQLite 3", "a loss")],
            ),
        ]);
        let table = table(&adapters);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| `sqlite` (default) | `sqlite:` | yes | yes | yes | yes | a loss | SQLite 3 |",
                "| `memory` | `memory:` | | | | | | not yet |",
                "| `queue` | `queue:` | yes | – | yes | yes | a fire or nothing | A 1, B 2 |",
            ]
        );
    }

    #[test]
    fn the_table_stands_between_its_marks() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let new = with_table(&page, "new\n").expect("marks");
        assert_eq!(new, format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert!(with_table("a", "new\n").is_err());
    }

    #[test]
    fn what_is_written_down_can_be_read() {
        let adapters = runs(&workspace::root().join("crates/adapters")).expect("readable files");
        assert!(adapters.contains_key(DEFAULT));
        assert!(read(Path::new("README.md"), DEFAULT).is_err());
    }
}
