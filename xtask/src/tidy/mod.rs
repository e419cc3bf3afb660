//! The house rules that no compiler checks. Each rule is one function from the tree to what breaks
//! it, with a test that shows it catching something.

mod code;
mod crates;
mod mask;
mod page;
mod text;
mod tree;

use crate::process::Result;

use tree::Tree;

/// A rule's name, and what it finds: one line for each violation.
type Rule = (&'static str, fn(&Tree) -> Vec<String>);

const RULES: &[Rule] = &[
    ("crate names", crates::names),
    ("adapter dependencies", crates::adapter_dependencies),
    (
        "adapters named by the runtime alone",
        crates::adapters_named_by_runtime_alone,
    ),
    ("adapter features", crates::adapter_features),
    ("adapter files", crates::adapter_files),
    ("internal dependencies", crates::internal_dependencies),
    ("lints", crates::inherited_lints),
    ("doctests", crates::doctests),
    ("feature switches", code::feature_switches),
    ("file length", code::file_length),
    ("function length", code::function_length),
    ("bare allow", code::bare_allow),
    ("unfinished code", code::unfinished),
    ("sleeping tests", code::sleeping_tests),
    ("architecture page", text::architecture_page),
    ("machine paths", text::machine_paths),
    ("registries", text::registries),
];

const README_RULES: &[Rule] = &[
    ("README commands", page::commands),
    ("README adapter table", page::adapter_table),
];

/// `cargo xtask tidy`
pub(crate) fn main() -> Result {
    let tree = Tree::read()?;
    let found: Vec<String> = RULES
        .iter()
        .chain(README_RULES)
        .flat_map(|rule| broken(rule, &tree))
        .collect();
    if found.is_empty() {
        eprintln!(
            "tidy: {} files, {} rules",
            tree.files.len(),
            RULES.len() + README_RULES.len()
        );
        return Ok(());
    }
    Err(format!("tidy found {}:\n{}", found.len(), found.join("\n")))
}

fn broken((name, rule): &Rule, tree: &Tree) -> Vec<String> {
    rule(tree)
        .into_iter()
        .map(|what| format!("  [{name}] {what}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_kept(rules: &[Rule]) {
        let tree = Tree::read().expect("the tree can be read");
        assert!(tree.files.len() > 10, "an empty tree keeps every rule");
        let found: Vec<String> = rules.iter().flat_map(|rule| broken(rule, &tree)).collect();
        assert!(found.is_empty(), "\n{}", found.join("\n"));
    }

    #[test]
    fn the_tree_is_tidy() {
        assert_kept(RULES);
    }

    #[test]
    fn the_readme_is_tidy() {
        assert_kept(README_RULES);
    }
}
