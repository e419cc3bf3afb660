//! README.md's commands: its first fenced block starts the service, and its sessions (`console`
//! blocks) are typed into that service and must answer what the page shows.

mod adapters;
mod session;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Group, Result, cargo, poll_until};
use crate::workspace;

pub(crate) use adapters::check as check_adapter_table;
pub(crate) use session::session;

/// README's second block, and what CI runs last.
pub(crate) const TEST_COMMAND: &str = "cargo test --workspace";

/// Where the service listens without configuration.
const DEFAULT_ADDRESS: &str = "127.0.0.1:7717";

/// The first start includes a release build from nothing.
const START_LIMIT: Duration = Duration::from_secs(30 * 60);
const HEALTHY_LIMIT: Duration = Duration::from_secs(10);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const SESSION_LIMIT: Duration = Duration::from_secs(5 * 60);

/// A fenced block of a Markdown page.
#[derive(Debug, PartialEq)]
pub(crate) struct Block {
    /// The first word after the opening fence.
    pub(crate) language: String,
    pub(crate) text: String,
}

/// The page's fenced blocks, in order.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                let language = info
                    .split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                open = Some(Block {
                    language,
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// What stands between two markers.
pub(crate) fn between<'a>(page: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(begin)?;
    Some(rest.split_once(end)?.0)
}

/// Runs README's first block, waits until the service answers, types the sessions, stops it.
pub(crate) fn run() -> Result {
    let page = fs::read_to_string(workspace::root().join("README.md"))
        .map_err(|error| format!("README.md: {error}"))?;
    let blocks = blocks(&page);
    let serve = blocks
        .first()
        .ok_or("README.md has no fenced block that runs the main job")?;
    let exchanges = session(&blocks);
    if exchanges.is_empty() {
        return Err("README.md has no session: a ```console block with lines `$ command`".into());
    }
    if TcpStream::connect(DEFAULT_ADDRESS).is_ok() {
        return Err(format!(
            "something listens on {DEFAULT_ADDRESS} already: stop it first"
        ));
    }

    let home = fresh_home()?;
    let mut service = Group::start(&mut shell(&serve.text, &home))?;
    wait_until_healthy(&mut service)?;
    let played = session::play(&exchanges, &mut shell("", &home), SESSION_LIMIT);
    let stopped = service.stop(STOP_LIMIT);
    played?;
    let status = stopped.map_err(|error| format!("README's first block: {error}"))?;
    if !status.success() {
        return Err(format!(
            "README's first block ends with {status} after SIGTERM"
        ));
    }
    Ok(())
}

/// Runs the binary that README's first block starts, in a folder like the one it was started in.
pub(crate) fn binary(arguments: &[&str]) -> Result<Command> {
    let mut command = cargo(["run", "--quiet", "--release", "--"]);
    command
        .args(arguments)
        .current_dir(fresh_home()?)
        .env("CARGO_TARGET_DIR", workspace::target_dir());
    Ok(command)
}

/// A folder that looks like the checkout, in which no database of an earlier run lies.
fn fresh_home() -> Result<PathBuf> {
    let home = workspace::target_dir().join("readme");
    make_home(&home).map_err(|error| format!("{}: {error}", home.display()))?;
    Ok(home)
}

fn make_home(home: &Path) -> std::io::Result<()> {
    if home.exists() {
        fs::remove_dir_all(home)?;
    }
    fs::create_dir_all(home)?;
    for entry in fs::read_dir(workspace::root())? {
        let entry = entry?;
        let name = entry.file_name();
        let is_database = name.to_string_lossy().contains(".db");
        if name != "target" && name != ".git" && !is_database {
            symlink(entry.path(), home.join(name))?;
        }
    }
    Ok(())
}

/// A shell in `home` that becomes the script's only command, if it is one, and finds the binary on its path, as after `cargo install`.
fn shell(script: &str, home: &Path) -> Command {
    let target = workspace::target_dir();
    let mut path = target.join("release").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new("bash");
    if !script.is_empty() {
        command.args(["-c", script.trim()]);
    }
    command
        .current_dir(home)
        .env("CARGO_TARGET_DIR", target)
        .env("PATH", path);
    command
}

fn wait_until_healthy(service: &mut Group) -> Result {
    let listens = || TcpStream::connect(DEFAULT_ADDRESS).is_ok();
    wait_until(service, START_LIMIT, listens)?
        .ok_or_else(|| format!("nothing listens on {DEFAULT_ADDRESS} after {START_LIMIT:?}"))?;
    wait_until(service, HEALTHY_LIMIT, is_healthy)?
        .ok_or_else(|| format!("http://{DEFAULT_ADDRESS}/healthz does not answer 204"))
}

fn wait_until(service: &mut Group, limit: Duration, ready: fn() -> bool) -> Result<Option<()>> {
    poll_until(limit, || match service.wait(Duration::ZERO)? {
        Some(status) => Err(format!(
            "README's first block ended before it served: {status}"
        )),
        None => Ok(ready().then_some(())),
    })
}

/// True if `/healthz` answers 204.
fn is_healthy() -> bool {
    let ask = || -> std::io::Result<String> {
        let address: SocketAddr = DEFAULT_ADDRESS.parse().map_err(std::io::Error::other)?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.split(' ').nth(1) == Some("204"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_what_stands_between_fences() {
        let page = "# T\n```sh\na\nb\n```\ntext\n\n```console x\n$ c\n```\n```\nd\n```\n```open\n";
        let block = |language: &str, text: &str| Block {
            language: language.into(),
            text: text.into(),
        };
        assert_eq!(
            blocks(page),
            [
                block("sh", "a\nb\n"),
                block("console", "$ c\n"),
                block("", "d\n")
            ]
        );
        assert_eq!(blocks("no fence"), []);
    }

    #[test]
    fn between_finds_what_two_markers_enclose() {
        assert_eq!(between("a<x>b</x>c", "<x>", "</x>"), Some("b"));
        assert_eq!(between("a</x>b<x>c", "<x>", "</x>"), None);
    }
}
