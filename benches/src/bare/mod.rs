//! Bare rusqlite: the least code that does the same work with the same durability.
//!
//! Writes go to one thread that runs whatever waits in one transaction (group commit, WAL,
//! `synchronous=FULL`); reads go to another, as they must in an asynchronous program. There are no
//! namespaces, no preconditions, no change notifications, and errors end the thread.

mod queue;
mod references;
mod state;

use std::{path::Path, sync::mpsc, thread};

use rusqlite::Connection;
use tokio::sync::oneshot;

pub use self::{
    queue::{BareQueue, Ids},
    references::BareReferences,
    state::BareState,
};
use crate::Result;

const PRAGMAS: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;";

/// One thing the writer does.
trait Call: Send + 'static {
    /// Runs inside the transaction. What it returns answers the caller, after the commit.
    fn run(self, connection: &Connection) -> rusqlite::Result<Answer>;
}

type Answer = Box<dyn FnOnce() + Send>;

fn answer<T: Send + 'static>(reply: oneshot::Sender<T>, value: T) -> Answer {
    // A caller that is gone needs no answer.
    Box::new(move || drop(reply.send(value)))
}

/// Opens the file with its tables and starts its writer, which ends with the last sender.
fn writer<C: Call>(path: &Path, tables: &str) -> Result<mpsc::Sender<C>> {
    let connection = Connection::open(path)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(PRAGMAS)?;
    connection.execute_batch(tables)?;
    let (calls, inbox) = mpsc::channel();
    thread::Builder::new()
        .name("bare-writer".to_owned())
        .spawn(move || write(&connection, &inbox))?;
    Ok(calls)
}

fn write<C: Call>(connection: &Connection, inbox: &mpsc::Receiver<C>) -> rusqlite::Result<()> {
    let mut answers = Vec::new();
    while let Ok(first) = inbox.recv() {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        let mut next = Some(first);
        while let Some(call) = next {
            answers.push(call.run(connection)?);
            next = inbox.try_recv().ok();
        }
        connection.prepare_cached("COMMIT")?.execute(())?;
        answers.drain(..).for_each(|answer| answer());
    }
    Ok(())
}

/// A read and where its answer goes.
type Read = Box<dyn FnOnce(&Connection) + Send>;

/// One thread with a connection for reads.
#[derive(Clone, Debug)]
struct Reader(mpsc::Sender<Read>);

impl Reader {
    fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        let (reads, inbox) = mpsc::channel::<Read>();
        thread::Builder::new()
            .name("bare-reader".to_owned())
            .spawn(move || {
                while let Ok(read) = inbox.recv() {
                    read(&connection);
                }
            })?;
        Ok(Self(reads))
    }

    async fn read<T, F>(&self, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            // A caller that is gone needs no answer.
            drop(reply.send(read(connection)));
        });
        self.0.send(read).map_err(|_| "the bare reader has ended")?;
        Ok(answer.await??)
    }
}
