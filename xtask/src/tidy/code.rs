//! Rules about Rust sources, whichever crate they are in.

use super::tree::{File, Tree};

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 80;

/// The files that may ask which features are on: which adapters there are, and whether the HTTP
/// adapter speaks TLS.
const SWITCHBOARD: &str = "crates/runtime/src/adapters.rs";
const CONNECTOR: &str = "crates/adapters/http/src/connector.rs";

/// Features are asked for in few files: everything else is compiled the same way for everybody.
pub(crate) fn feature_switches(tree: &Tree) -> Vec<String> {
    let switchboards = [SWITCHBOARD, CONNECTOR];
    let files = tree
        .rust()
        .filter(|file| !switchboards.contains(&file.path.as_str()));
    lines(files, |_, _, line| {
        let asks = line.contains("cfg") && line.contains("feature =");
        asks.then(|| format!("only {SWITCHBOARD} asks for features"))
    })
}

/// A file is read from top to bottom in one go.
pub(crate) fn file_length(tree: &Tree) -> Vec<String> {
    let long = |file: &&File| file.text.lines().count() > MAX_FILE_LINES;
    tree.rust()
        .filter(long)
        .map(|file| {
            let count = file.text.lines().count();
            format!("{}: {count} lines, {MAX_FILE_LINES} at most", file.path)
        })
        .collect()
}

/// A function fits on a screen or two.
pub(crate) fn function_length(tree: &Tree) -> Vec<String> {
    tree.rust().flat_map(long_functions).collect()
}

fn long_functions(file: &File) -> Vec<String> {
    let found = file.code.match_indices("fn ").filter_map(|(start, _)| {
        let before = file.code[..start].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            return None;
        }
        let count = function_text(&file.code[start..])?.lines().count();
        let index = file.code[..start].lines().count().saturating_sub(1);
        (count > MAX_FUNCTION_LINES).then(|| {
            file.at(
                index,
                &format!("{count} lines, {MAX_FUNCTION_LINES} at most"),
            )
        })
    });
    found.collect()
}

/// From `fn` to the brace that closes its body; `None` without a body.
fn function_text(code: &str) -> Option<&str> {
    let mut braces = 0;
    for (at, c) in code.char_indices() {
        match c {
            ';' if braces == 0 => return None,
            '{' => braces += 1,
            '}' if braces <= 1 => return Some(&code[..=at]),
            '}' => braces -= 1,
            _ => {}
        }
    }
    None
}

/// A lint is switched off by `expect` with a reason, so that it goes when it is no longer needed.
pub(crate) fn bare_allow(tree: &Tree) -> Vec<String> {
    lines(tree.rust(), |_, _, line| {
        let bare = line.contains("#[allow(") || line.contains("#![allow(");
        bare.then(|| "write #[expect(…, reason = \"…\")]".to_owned())
    })
}

/// What is on main works.
pub(crate) fn unfinished(tree: &Tree) -> Vec<String> {
    lines(tree.rust(), |_, _, line| {
        let hit = ["todo!", "unimplemented!"]
            .into_iter()
            .find(|name| has_word(line, name));
        hit.map(|name| format!("`{name}`"))
    })
}

/// A test waits for what it waits for. Where only time itself will do, a `// sleep: …` comment on
/// the line or the one before says why.
pub(crate) fn sleeping_tests(tree: &Tree) -> Vec<String> {
    lines(tree.rust(), |file, index, line| {
        if !has_word(line, "sleep(") || !file.is_test(index) {
            return None;
        }
        let around = file.text.lines().skip(index.saturating_sub(1)).take(2);
        let excused = around.into_iter().any(|line| line.contains("// sleep: "));
        (!excused).then(|| "poll with a deadline, or say why in a `// sleep: …` comment".to_owned())
    })
}

/// What `check` says about each line of code of these files.
fn lines<'a>(
    files: impl Iterator<Item = &'a File>,
    check: impl Fn(&File, usize, &str) -> Option<String>,
) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (index, line) in file.code.lines().enumerate() {
            found.extend(check(file, index, line).map(|message| file.at(index, &message)));
        }
    }
    found
}

/// True if `word` stands in `line` and is not the end of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks one file against one rule: where it must complain, and what it must let pass.
    #[track_caller]
    fn check(rule: fn(&Tree) -> Vec<String>, path: &str, text: &str, expected: &[&str]) {
        let tree = Tree {
            files: vec![File::new(path, text)],
            packages: Vec::new(),
        };
        let found = rule(&tree);
        assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                found.starts_with(expected),
                "{found} should begin with {expected}"
            );
        }
    }

    #[test]
    fn features_are_asked_for_in_one_file() {
        let asks = "#[cfg(feature = \"sqlite\")]\nmod a;";
        check(
            feature_switches,
            "crates/state/src/lib.rs",
            asks,
            &["crates/state/src/lib.rs:1"],
        );
        check(
            feature_switches,
            "crates/runtime/src/main.rs",
            asks,
            &["crates/runtime/src/main.rs:1"],
        );
        check(feature_switches, SWITCHBOARD, asks, &[]);
        check(feature_switches, CONNECTOR, asks, &[]);
        check(
            feature_switches,
            "a.rs",
            "if cfg!(all(feature = \"x\")) {}",
            &["a.rs:1"],
        );
        check(
            feature_switches,
            "a.rs",
            "#[cfg(test)]\n// cfg(feature = \"x\")",
            &[],
        );
    }

    #[test]
    fn a_file_ends_somewhere() {
        check(file_length, "a.rs", &"x\n".repeat(MAX_FILE_LINES), &[]);
        check(
            file_length,
            "a.rs",
            &"x\n".repeat(MAX_FILE_LINES + 1),
            &["a.rs: 501"],
        );
        check(
            file_length,
            "a.json",
            &"x\n".repeat(MAX_FILE_LINES + 1),
            &[],
        );
    }

    #[test]
    fn a_function_ends_somewhere() {
        let body =
            |lines: usize| format!("mod a {{\n  fn b() {{\n{}  }}\n}}\n", "x;\n".repeat(lines));
        check(function_length, "a.rs", &body(MAX_FUNCTION_LINES - 2), &[]);
        check(
            function_length,
            "a.rs",
            &body(MAX_FUNCTION_LINES - 1),
            &["a.rs:2: 81 lines"],
        );
        let brace_in_text = body(MAX_FUNCTION_LINES - 1).replacen("x;", "f(\"}\");", 1);
        check(
            function_length,
            "a.rs",
            &brace_in_text,
            &["a.rs:2: 81 lines"],
        );
        let declared = format!("trait T {{\nfn a();\n{}}}\n", "type X;\n".repeat(90));
        check(function_length, "a.rs", &declared, &[]);
    }

    #[test]
    fn a_lint_is_expected_not_allowed() {
        check(
            bare_allow,
            "a.rs",
            "#[allow(dead_code)]\nfn a() {}",
            &["a.rs:1"],
        );
        check(
            bare_allow,
            "a.rs",
            "x\n    #![allow(dead_code, reason = \"x\")]",
            &["a.rs:2"],
        );
        check(
            bare_allow,
            "a.rs",
            "// #[allow(dead_code)]\n#[expect(x, reason = \"y\")]",
            &[],
        );
    }

    #[test]
    fn nothing_is_left_for_later() {
        check(
            unfinished,
            "a.rs",
            "fn a() { todo!() }",
            &["a.rs:1: `todo!`"],
        );
        check(
            unfinished,
            "a.rs",
            "\nunimplemented!(\"b\")",
            &["a.rs:2: `unimplemented!`"],
        );
        check(
            unfinished,
            "a.rs",
            "// todo!\nlet x = \"todo!()\"; not_todo!();",
            &[],
        );
    }

    #[test]
    fn tests_do_not_sleep_without_a_reason() {
        let sleeps = "tokio::time::sleep(d).await;";
        check(
            sleeping_tests,
            "crates/a/tests/b.rs",
            sleeps,
            &["crates/a/tests/b.rs:1"],
        );
        check(sleeping_tests, "crates/a/src/lib.rs", sleeps, &[]);
        let module = format!("fn a() {{ sleep(x) }}\n#[cfg(test)]\nmod tests {{ {sleeps} }}");
        check(
            sleeping_tests,
            "crates/a/src/lib.rs",
            &module,
            &["crates/a/src/lib.rs:3"],
        );
        let excused = format!("// sleep: the lease must run out\n{sleeps}\n{sleeps} // sleep: too");
        check(sleeping_tests, "crates/a/tests/b.rs", &excused, &[]);
        check(sleeping_tests, "crates/a/tests/b.rs", "wait_sleep(x)", &[]);
    }
}
