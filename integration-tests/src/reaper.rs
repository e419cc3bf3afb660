//! Removes a container when the process that started it is gone, however it ended.

use std::process::{Child, ChildStdin, Command, Stdio};

use statehouse_contracts::{Error, Result};

/// Waits for the end of its input, which is the end of whoever holds the other side.
const SCRIPT: &str = "trap '' HUP INT TERM; cat; exec docker rm --force --volumes \"$0\"";

/// A process beside ours that outlives it by one command.
#[derive(Debug)]
pub(crate) struct Reaper {
    child: Child,
    input: Option<ChildStdin>,
}

impl Reaper {
    /// Watches over the container called `name`.
    pub(crate) fn watch(name: &str) -> Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, name]);
        detach(&mut command);
        let spawned = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child =
            spawned.map_err(|error| Error::internal(format!("cannot start sh: {error}")))?;
        let input = child.stdin.take();
        Ok(Self { child, input })
    }
}

/// A process group of its own: an interrupt from the terminal is for the tests.
fn detach(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(not(unix))]
    let _ = command;
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.input.take());
        // So that the container is gone when its server is.
        let _ = self.child.wait();
    }
}
