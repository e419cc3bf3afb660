//! Who shares an open file: one writer, one set of readers, any number of handles.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    EngineError, EngineOptions, Schema, inbox::Inbox, readers::Readers, watch::Hub, writer,
};

/// The open file, shared by all handles of this process.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) options: EngineOptions,
    pub(super) inbox: Inbox,
    pub(super) hub: Hub,
    pub(super) readers: Readers,
    users: Mutex<usize>,
    ended: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn new(path: PathBuf, options: EngineOptions) -> Self {
        Self {
            path,
            options,
            inbox: Inbox::default(),
            hub: Hub::default(),
            readers: Readers::default(),
            users: Mutex::new(1),
            ended: watch::Sender::new(false),
        }
    }

    /// Joins the users of the file, unless the last of them has left.
    fn join(&self) -> bool {
        let mut users = self.users.lock();
        let open = *users > 0;
        if open {
            *users += 1;
        }
        open
    }

    fn leave(&self) {
        let mut users = self.users.lock();
        *users -= 1;
        if *users == 0 {
            self.inbox.close();
        }
    }

    /// Says that the writer has ended and the file is closed.
    pub(super) fn mark_ended(&self) {
        self.ended.send_replace(true);
    }

    async fn ended(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }
}

/// One handle of the file; clones of an `Engine` share it.
#[derive(Debug)]
pub(super) struct Handle {
    shared: Arc<Shared>,
    closed: AtomicBool,
}

impl Handle {
    fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            shared,
            closed: AtomicBool::new(false),
        })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.shared.hub
    }

    pub(super) fn nudge_writer(&self) {
        self.shared.inbox.nudge();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn check_open(&self) -> Result<(), EngineError> {
        if self.is_closed() {
            Err(EngineError::Closed)
        } else {
            Ok(())
        }
    }

    /// Leaves the file. True for the first call only.
    pub(super) fn close(&self) -> bool {
        let first = !self.closed.swap(true, Ordering::AcqRel);
        if first {
            self.shared.hub.wake_all();
            self.shared.leave();
        }
        first
    }

    /// Waits until the file is closed, if nobody else uses it.
    pub(super) async fn ended(&self) {
        if *self.shared.users.lock() == 0 {
            self.shared.ended().await;
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// Where a file's open state is found. It is locked while the file is opened, so that two handles
/// never make two writers.
type Slot = Arc<Mutex<Weak<Shared>>>;

/// The files open in this process, by canonical path.
static OPEN: LazyLock<Mutex<HashMap<PathBuf, Slot>>> = LazyLock::new(Mutex::default);

/// The slot of a path. Slots of files closed meanwhile are dropped on the way.
fn slot_of(path: &Path) -> Slot {
    let mut open = OPEN.lock();
    open.retain(|_, slot| {
        // Somebody who is opening the file holds a second reference.
        Arc::strong_count(slot) > 1 || slot.lock().strong_count() > 0
    });
    Arc::clone(open.entry(path.to_owned()).or_default())
}

/// Opens the file, or joins those who have it open. Blocks; call it off the async threads.
pub(super) fn open(
    path: &Path,
    options: &EngineOptions,
    schema: Schema,
    runtime: &tokio::runtime::Handle,
) -> Result<Arc<Handle>, EngineError> {
    let path = super::open::canonical(path)?;
    let slot = slot_of(&path);
    let mut open = slot.lock();
    if let Some(shared) = open.upgrade() {
        if shared.join() {
            let handle = Handle::new(shared);
            options.check_same(&handle.shared)?;
            return Ok(handle);
        }
        runtime.block_on(shared.ended());
    }
    let shared = writer::start(path, options.clone(), schema)?;
    *open = Arc::downgrade(&shared);
    Ok(Handle::new(shared))
}
