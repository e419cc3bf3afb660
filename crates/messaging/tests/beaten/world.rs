//! What the tests stand on.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_contracts::{
    Backend, Backoff, Endpoint, Factory, Message, Payload, Scope, StateManager, Topic,
};
use statehouse_layers::guard;
use statehouse_memory::Memory;
use statehouse_messaging::{Incoming, MailboxOptions, Mailboxes, Messenger, PolicyManager};
use statehouse_sqlite::SqliteFactory;
use tempfile::TempDir;

/// Longer than anything takes that works.
pub(crate) const WAIT: Duration = Duration::from_secs(20);

/// Tells the test, started as another process, where its file is.
const CHILD: &str = "BEATEN_CHILD";

pub(crate) fn scope() -> Scope {
    Scope::parse("default", "tester").unwrap()
}

pub(crate) async fn memory() -> Arc<dyn Backend> {
    let endpoint = Endpoint::parse("memory:").unwrap();
    guard(Memory.open(&endpoint).await.unwrap())
}

/// A file that can be opened again, also while it is open.
pub(crate) struct Disk(TempDir);

impl Disk {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("a.db")
    }

    pub(crate) async fn open(&self) -> Arc<dyn Backend> {
        open(&self.path(), "").await
    }

    /// What it takes on the disk, once it is closed.
    pub(crate) fn size(&self) -> u64 {
        let files = self.0.path().read_dir().unwrap();
        let sizes = files.map(|file| file.unwrap().metadata().unwrap().len());
        sizes.sum()
    }
}

/// The file at `path`, with parameters such as `?busy_timeout=50ms`.
pub(crate) async fn open(path: &Path, parameters: &str) -> Arc<dyn Backend> {
    let endpoint = Endpoint::parse(&format!("sqlite:{}{parameters}", path.display())).unwrap();
    guard(SqliteFactory.open(&endpoint).await.unwrap())
}

pub(crate) async fn messenger(backend: &Arc<dyn Backend>) -> Messenger {
    let policies = Arc::new(PolicyManager::default());
    Messenger::open(&**backend, &scope(), policies)
        .await
        .unwrap()
}

pub(crate) async fn mail(backend: &Arc<dyn Backend>, options: MailboxOptions) -> Mailboxes {
    Mailboxes::new(messenger(backend).await, options)
}

pub(crate) async fn state(backend: &Arc<dyn Backend>) -> Arc<dyn StateManager> {
    backend.state(&scope()).await.unwrap()
}

/// Delivers again at once.
pub(crate) fn eager() -> MailboxOptions {
    MailboxOptions {
        backoff: Backoff::NONE,
        ..MailboxOptions::default()
    }
}

/// Delivers again what is not settled within a moment.
pub(crate) fn impatient() -> MailboxOptions {
    MailboxOptions {
        lease: Duration::from_secs(1),
        ..eager()
    }
}

pub(crate) fn text(text: impl Into<String>) -> Payload {
    Payload::text(text)
}

pub(crate) fn message(topic: &str, payload: Payload) -> Message {
    Message::new(Topic::new(topic).unwrap(), payload)
}

pub(crate) async fn send(mail: &Mailboxes, agent: &str, body: &str) {
    mail.send(mail.letter(agent, text(body))).await.unwrap();
}

/// What is there for `agent` now.
pub(crate) async fn take(mail: &Mailboxes, agent: &str) -> Option<Incoming> {
    mail.receive_one(agent, Duration::ZERO).await.unwrap()
}

/// What comes for `agent` sooner or later.
pub(crate) async fn wait_for(mail: &Mailboxes, agent: &str) -> Incoming {
    mail.receive_one(agent, WAIT).await.unwrap().unwrap()
}

pub(crate) fn body(message: &Message) -> &str {
    std::str::from_utf8(message.bytes()).unwrap()
}

/// Waits until so many messages are ready for `agent`.
pub(crate) async fn until_ready(mail: &Mailboxes, agent: &str, ready: u64) {
    let deadline = Instant::now() + WAIT;
    while mail.status(agent).await.unwrap().counts.ready != ready {
        assert!(Instant::now() < deadline, "{ready} of {agent} never ready");
        pause().await;
    }
}

async fn pause() {
    // sleep: between two looks, within a deadline
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// The file of the test, when this is the other process of it.
pub(crate) fn is_child() -> Option<PathBuf> {
    env::var_os(CHILD).map(PathBuf::from)
}

/// Says that the other process has done its part, and waits to be killed.
pub(crate) async fn done_and_waiting(path: &Path) -> ! {
    std::fs::write(path.with_extension("done"), "").unwrap();
    std::future::pending().await
}

/// Another process on the same file, which ends with this.
pub(crate) struct Process(Child);

impl Process {
    /// Starts `test` of this program as another process, until it has done its part.
    pub(crate) async fn start(test: &str, disk: &Disk) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", test])
            .env(CHILD, disk.path())
            .stdout(Stdio::null())
            .spawn();
        let mut process = Self(child.unwrap());
        let (done, deadline) = (disk.path().with_extension("done"), Instant::now() + WAIT);
        while !done.exists() {
            let ended = process.0.try_wait().unwrap();
            assert!(ended.is_none(), "{test} ended by itself: {ended:?}");
            assert!(Instant::now() < deadline, "{test} does not come to its end");
            pause().await;
        }
        process
    }

    /// Kills it: nothing of it runs any more, nothing is closed.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for what has ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
