//! A session as pasted into a page: lines `$ command`, each with the output it gave. In the output
//! `…` stands for whatever differs between runs; a line that is only `…` for any number of lines.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::Block;
use crate::process::{self, Result};
use crate::workspace;

const ELLIPSIS: &str = "…";

/// Ends the output of one command in what the shell writes; the exit code follows.
const MARK: char = '\u{1e}';

/// A command and what the page shows below it.
#[derive(Debug, PartialEq)]
pub(crate) struct Exchange {
    command: String,
    /// Empty: the page shows no output, and any will do.
    expected: Vec<String>,
}

/// The commands of every `console` block after the page's two first blocks, in order.
pub(crate) fn session(blocks: &[Block]) -> Vec<Exchange> {
    blocks
        .iter()
        .skip(2)
        .filter(|block| block.language == "console")
        .flat_map(exchanges)
        .collect()
}

fn exchanges(block: &Block) -> Vec<Exchange> {
    let mut found: Vec<Exchange> = Vec::new();
    let mut continued = false;
    for line in block.text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            found.push(Exchange {
                command: command.to_owned(),
                expected: Vec::new(),
            });
            continued = command.ends_with('\\');
        } else if let Some(exchange) = found.last_mut() {
            if continued {
                exchange.command.push('\n');
                exchange
                    .command
                    .push_str(line.strip_prefix("> ").unwrap_or(line));
                continued = line.ends_with('\\');
            } else {
                exchange.expected.push(line.trim_end().to_owned());
            }
        }
    }
    for exchange in &mut found {
        while exchange.expected.last().is_some_and(String::is_empty) {
            exchange.expected.pop();
        }
    }
    found
}

/// Types the commands into one shell, one after the other, and compares what it writes.
pub(crate) fn play(exchanges: &[Exchange], shell: &mut Command, limit: Duration) -> Result {
    let file = workspace::target_dir().join("readme-session");
    let unusable = |error| format!("{}: {error}", file.display());
    let script: String = exchanges.iter().map(typed).collect();
    fs::write(
        &file,
        format!("exec > '{0}.out' 2>&1\n{script}", file.display()),
    )
    .map_err(unusable)?;
    let ended = process::run_within(shell.arg(&file), limit);
    let written = fs::read(file.with_extension("out")).map_err(unusable)?;
    compare(exchanges, &String::from_utf8_lossy(&written))?;
    ended
}

fn typed(exchange: &Exchange) -> String {
    format!("{}\nprintf '\\n\\036%d\\n' \"$?\"\n", exchange.command)
}

fn compare(exchanges: &[Exchange], written: &str) -> Result {
    let mut rest = written;
    for exchange in exchanges {
        let failed = |what: &str, output: &str| {
            Err(format!(
                "README.md: `{}` {what}; it wrote:\n{output}",
                exchange.command
            ))
        };
        let Some((output, after)) = rest.split_once(MARK) else {
            return failed("does not end", rest);
        };
        let (code, after) = after.split_once('\n').unwrap_or((after, ""));
        if code != "0" {
            return failed(&format!("exits with {code}"), output);
        }
        let lines: Vec<&str> = output.trim_end().lines().map(str::trim_end).collect();
        if !exchange.expected.is_empty() && !lines_match(&exchange.expected, &lines) {
            let shown = exchange.expected.join("\n");
            return failed(&format!("should write:\n{shown}\n"), output);
        }
        rest = after;
    }
    Ok(())
}

fn lines_match(expected: &[String], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((any, rest)) if any.trim() == ELLIPSIS => {
            (0..=lines.len()).any(|skipped| lines_match(rest, &lines[skipped..]))
        }
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, lines)| line_matches(first, line) && lines_match(rest, lines)),
    }
}

fn line_matches(expected: &str, line: &str) -> bool {
    let Some((head, rest)) = expected.split_once(ELLIPSIS) else {
        return expected == line;
    };
    let Some(mut line) = line.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split(ELLIPSIS).collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match line.find(part) {
            Some(at) => line = &line[at + part.len()..],
            None => return false,
        }
    }
    line.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::super::blocks;
    use super::*;

    fn exchange(command: &str, expected: &[&str]) -> Exchange {
        let expected = expected.iter().map(|line| (*line).to_owned()).collect();
        Exchange {
            command: command.to_owned(),
            expected,
        }
    }

    #[test]
    fn a_session_is_commands_and_their_output() {
        let page = "```sh\n$ x\n```\n```console\n$ y\n```\n```sh\n$ z\n```\n```console\n$ a \\\n>   --b\nout\n\n$ c\n```\n\
                    ```console\n$ d\nx\ny\n```\n";
        let expected = [
            exchange("a \\\n  --b", &["out"]),
            exchange("c", &[]),
            exchange("d", &["x", "y"]),
        ];
        assert_eq!(session(&blocks(page)), expected);
    }

    #[test]
    fn an_ellipsis_stands_for_what_differs() {
        let table: &[(&[&str], &[&str], bool)] = &[
            (&["a"], &["a"], true),
            (&["a"], &["a", "b"], false),
            (&["a"], &["b"], false),
            (&["v=…"], &["v=17"], true),
            (&["a … b … c"], &["a 1 b 2 c"], true),
            (&["a … b … c"], &["a 1 c"], false),
            (&["…x"], &["yx"], true),
            (&["a…a"], &["a"], false),
            (&["a", "…", "c"], &["a", "1", "2", "c"], true),
            (&["a", "…", "c"], &["a", "c"], true),
            (&["a", "…", "c"], &["a", "1"], false),
        ];
        for (expected, lines, fits) in table {
            let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(
                lines_match(&expected, lines),
                *fits,
                "{expected:?} {lines:?}"
            );
        }
    }

    #[test]
    fn a_played_session_must_give_what_the_page_shows() {
        let play = |exchanges: &[Exchange]| {
            let script: String = exchanges.iter().map(typed).collect();
            let written = process::output(Command::new("sh").args(["-c", &script]))?;
            compare(exchanges, &written)
        };
        let good = [
            exchange("x=1; printf 'a\\nb'", &["a", "b"]),
            exchange("echo $x", &["1"]),
        ];
        assert_eq!(play(&good), Ok(()));
        let message = play(&[exchange("echo a", &["b"])]).expect_err("other output");
        assert!(message.contains("`echo a` should write:\nb"), "{message}");
        let message = play(&[exchange("false", &[])]).expect_err("exit code");
        assert!(message.contains("`false` exits with 1"), "{message}");
        let message = play(&[exchange("exit 0", &[])]).expect_err("the shell is gone");
        assert!(message.contains("`exit 0` does not end"), "{message}");
    }
}
