//! Running other programs: echo, failure as text, deadlines, whole process groups.

use std::env;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::workspace;

/// What went wrong, for a person to read.
pub(crate) type Result<T = ()> = std::result::Result<T, String>;

/// `cargo`, the one that runs us, in the workspace's root.
pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace::root());
    command
}

/// Runs to the end with our own output; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result {
    eprintln!("$ {}", display(command));
    let status = command
        .status()
        .map_err(|error| cannot_start(command, &error))?;
    succeeded(command, status)
}

/// Runs to the end and returns what it wrote to its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| cannot_start(command, &error))?;
    succeeded(command, output.status)?;
    String::from_utf8(output.stdout).map_err(|_| format!("`{}` wrote no UTF-8", display(command)))
}

/// As [`run`], but the program and all it started end after `limit`.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result {
    let mut group = Group::start(command)?;
    match group.wait(limit)? {
        Some(status) => succeeded(command, status),
        None => Err(format!("`{}` still runs after {limit:?}", display(command))),
    }
}

/// A program with a process group of its own, which ends with this value.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    ended: bool,
}

impl Group {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        eprintln!("$ {}", display(command));
        let spawned = command.process_group(0).stdin(Stdio::null()).spawn();
        let child = spawned.map_err(|error| cannot_start(command, &error))?;
        Ok(Self {
            child,
            ended: false,
        })
    }

    /// How it ended, or `None` if it still runs when `limit` has passed.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        poll_until(limit, || {
            let status = self
                .child
                .try_wait()
                .map_err(|error| format!("cannot wait: {error}"))?;
            self.ended |= status.is_some();
            Ok(status)
        })
    }

    /// Asks the group to end (SIGTERM) and waits for it.
    pub(crate) fn stop(mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal("TERM");
        self.wait(limit)?
            .ok_or_else(|| format!("it still runs {limit:?} after SIGTERM"))
    }

    fn signal(&self, name: &str) {
        let script = format!("kill -s {name} -- -{}", self.child.id());
        // The group may be gone by now: then there is nothing left to do.
        let _ = Command::new("sh")
            .args(["-c", &script])
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.ended {
            self.signal("KILL");
            let _ = self.child.wait();
        }
    }
}

/// Asks `probe` again and again until it has an answer or `limit` has passed.
pub(crate) fn poll_until<T>(
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = probe()? {
            return Ok(Some(answer));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pause of a poll that has a deadline"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// True if the program starts and succeeds; what it writes is dropped.
pub(crate) fn works(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// What it writes to its standard output, if it starts and succeeds.
pub(crate) fn quiet_output(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}

pub(crate) fn display(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    let words = std::iter::once(name).chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("cannot start `{}`: {error}", display(command))
}

fn succeeded(command: &Command, status: ExitStatus) -> Result {
    if status.success() {
        return Ok(());
    }
    Err(format!("`{}` failed: {status}", display(command)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failure_names_the_command_and_its_exit_code() {
        let message = run(&mut shell("exit 7")).expect_err("it fails");
        assert!(
            message.contains("sh -c exit 7") && message.contains('7'),
            "{message}"
        );
    }

    #[test]
    fn a_program_beyond_its_limit_ends_with_its_children() {
        let begun = Instant::now();
        let mut command = shell("tail -f /dev/null & wait");
        let message = run_within(&mut command, Duration::from_millis(100)).expect_err("too long");
        assert!(message.contains("still runs after 100ms"), "{message}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn stop_lets_a_program_end_by_itself() {
        let mut command = shell("trap 'exit 5' TERM; echo ready; while :; do :; done");
        let mut group = Group::start(command.stdout(Stdio::piped())).expect("starts");
        let mut ready = [0; 6];
        let stdout = group.child.stdout.as_mut().expect("piped");
        std::io::Read::read_exact(stdout, &mut ready).expect("says ready");
        let status = group.stop(Duration::from_secs(10)).expect("stops");
        assert_eq!(status.code(), Some(5));
    }
}
