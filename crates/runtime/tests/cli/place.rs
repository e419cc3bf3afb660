//! A folder in which the real binary runs, alone or beside a service.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// What a command printed, and how it ended.
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Outcome {
    /// Standard output, of a command that must have succeeded.
    pub(crate) fn text(&self) -> String {
        assert_eq!(self.code, 0, "{}", self.err);
        String::from_utf8(self.out.clone()).unwrap()
    }

    /// The document of a command that must have succeeded.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    /// Checks the exit code and that the error says each of `words`.
    pub(crate) fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{}", self.err);
        assert!(self.out.is_empty(), "an error goes to standard error");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in: {}", self.err);
        }
        if self.err.starts_with("statehouse: ") {
            assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        }
    }
}

pub(crate) struct Place {
    folder: TempDir,
    service: Option<(Child, String)>,
}

impl Place {
    /// Commands open the database themselves.
    pub(crate) fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            folder,
            service: None,
        }
    }

    /// Commands talk to a service.
    pub(crate) fn served() -> Self {
        Self::served_with("")
    }

    /// Commands talk to a service with this configuration.
    pub(crate) fn served_with(config: &str) -> Self {
        let mut place = Self::embedded();
        if !config.is_empty() {
            place.write("statehouse.toml", config.as_bytes());
        }
        // Free a moment ago; the service says so if somebody took it since.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let child = place
            .command(&["serve", "--listen", &address])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From here on a failed test ends it.
        let (child, address) = place.service.insert((child, address));
        let started = Instant::now();
        while !healthy(address) {
            assert!(child.try_wait().unwrap().is_none(), "the service ended");
            assert!(started.elapsed() < Duration::from_secs(30), "not healthy");
            #[expect(
                clippy::disallowed_methods,
                reason = "the interval of a poll with a deadline"
            )]
            // sleep: the interval of a poll with a deadline.
            std::thread::sleep(Duration::from_millis(5));
        }
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn address(&self) -> &str {
        &self.service.as_ref().unwrap().1
    }

    pub(crate) fn write(&self, file: &str, content: &[u8]) {
        std::fs::write(self.path().join(file), content).unwrap();
    }

    /// The binary, in this folder, with nothing of the environment that could change it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_statehouse"));
        command.env_clear().current_dir(self.path());
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs a command against the service, or embedded where there is none.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, b"")
    }

    /// With this on standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &[u8]) -> Outcome {
        let mut command = self.command(arguments);
        if let Some((_, address)) = &self.service {
            command.env("STATEHOUSE_URL", format!("http://{address}"));
        }
        finish(command, input)
    }

    /// With these variables in its environment.
    pub(crate) fn run_in(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Outcome {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        finish(command, b"")
    }

    /// Runs a command on the database file, also beside a service.
    pub(crate) fn run_beside(&self, arguments: &[&str]) -> Outcome {
        finish(self.command(arguments), b"")
    }

    /// The document that a command prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[&["--json"], arguments].concat()).json()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.service {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

fn finish(mut command: Command, input: &[u8]) -> Outcome {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that reads nothing may have ended.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code().unwrap();
    assert!(code != 101 && !err.contains("panicked"), "{err}");
    Outcome {
        code,
        out: output.stdout,
        err,
    }
}

fn healthy(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 2")
}
