//! The tasks of a namespace: where they stand, and how that changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{OpId, Pushed, StackDepth, StackName, TaskId, TaskState};
use tokio::sync::Notify;

use crate::config::Config;
use crate::tasks::entry::{Entry, Running, Stand};
use crate::time::Time;
use crate::window::Window;

/// One stack: the places of its tasks.
#[derive(Debug, Default)]
pub(crate) struct Stack {
    /// Rings for one worker when a task is ready.
    pub(crate) bell: Arc<Notify>,
    pub(crate) all: BTreeSet<u64>,
    pub(crate) ready: BTreeSet<u64>,
    pub(crate) depth: StackDepth,
}

impl Stack {
    fn count(&mut self, stand: &Stand) -> Option<&mut u64> {
        match stand {
            Stand::Ready => Some(&mut self.depth.ready),
            Stand::Delayed(_) => Some(&mut self.depth.delayed),
            Stand::Running(_) => Some(&mut self.depth.running),
            Stand::Suspended => Some(&mut self.depth.suspended),
            Stand::Finished { .. } => None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.depth == StackDepth::default()
    }
}

/// The tasks of a namespace.
///
/// Every operation begins with [`advance`](Tasks::advance), so that it finds leases that have run
/// out and delays that have passed dealt with.
#[derive(Debug)]
pub(crate) struct Tasks {
    retention: Duration,
    pub(super) nonce: u64,
    pub(super) tasks: BTreeMap<u64, Box<Entry>>,
    pub(super) ids: HashMap<TaskId, u64>,
    pub(super) stacks: BTreeMap<StackName, Stack>,
    /// When delays pass and leases end.
    timers: BTreeSet<(Time, u64)>,
    /// When finished tasks are forgotten.
    forgets: BTreeSet<(Time, u64)>,
    pub(super) pushes: Window<OpId, ([u8; 32], Vec<Pushed>)>,
    pub(super) places: u64,
    pub(super) claims: u64,
}

impl Tasks {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            retention: config.task_retention,
            nonce: fastrand::u64(..),
            tasks: BTreeMap::new(),
            ids: HashMap::new(),
            stacks: BTreeMap::new(),
            timers: BTreeSet::new(),
            forgets: BTreeSet::new(),
            pushes: Window::new(config.op_window, config.window_entries),
            places: 0,
            claims: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// When something next happens by itself.
    pub(crate) fn next_due(&self) -> Option<Time> {
        let timer = self.timers.first();
        let forget = self.forgets.first();
        timer.into_iter().chain(forget).map(|(due, _)| *due).min()
    }

    /// Lets happen what is due.
    pub(crate) fn advance(&mut self, now: Time) {
        while let Some((due, place)) = self.timers.first().copied()
            && due <= now
        {
            self.timers.pop_first();
            self.ring(place, now);
        }
        while let Some((due, place)) = self.forgets.first().copied()
            && due <= now
        {
            self.forgets.pop_first();
            self.forget(place);
        }
        self.pushes.advance(now);
    }

    fn ring(&mut self, place: u64, now: Time) {
        let Some(entry) = self.tasks.get_mut(&place) else {
            return;
        };
        match &entry.stand {
            Stand::Delayed(_) => self.stand(place, Stand::Ready),
            Stand::Running(_) => {
                entry.failed("lease expired".to_owned(), now.timestamp());
                self.retry(place, Duration::ZERO, now);
            }
            _ => {}
        }
    }

    fn forget(&mut self, place: u64) {
        let Some(entry) = self.tasks.remove(&place) else {
            return;
        };
        self.ids.remove(&entry.new.id);
        if let Some(stack) = self.stacks.get_mut(&entry.stack) {
            stack.all.remove(&place);
            // Somebody may wait for its bell.
            if stack.all.is_empty() && Arc::strong_count(&stack.bell) == 1 {
                self.stacks.remove(&entry.stack);
            }
        }
    }

    /// Puts a new task into its stack.
    pub(super) fn insert(&mut self, entry: Entry) -> u64 {
        self.places += 1;
        let place = self.places;
        let (delay, stack) = (entry.stand.clone(), entry.stack.clone());
        self.ids.insert(entry.new.id.clone(), place);
        self.stacks.entry(stack).or_default().all.insert(place);
        let nowhere = Stand::Finished {
            state: TaskState::Cancelled,
            at: entry.created_at,
        };
        let entry = Entry {
            stand: nowhere,
            ..entry
        };
        self.tasks.insert(place, Box::new(entry));
        self.stand(place, delay);
        place
    }

    /// Moves a task to where it stands from now on, with all indexes, counts and timers.
    pub(super) fn stand(&mut self, place: u64, stand: Stand) {
        let Some(entry) = self.tasks.get_mut(&place) else {
            return;
        };
        let stack = self.stacks.entry(entry.stack.clone()).or_default();
        if let Some(count) = stack.count(&entry.stand) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = stack.count(&stand) {
            *count += 1;
        }
        stack.ready.remove(&place);
        if let Some(due) = timer(&entry.stand) {
            self.timers.remove(&(due, place));
        }
        if let Some(due) = timer(&stand) {
            self.timers.insert((due, place));
        }
        if matches!(stand, Stand::Ready) {
            stack.ready.insert(place);
            stack.bell.notify_one();
        }
        entry.stand = stand;
    }

    /// Lets a task whose attempt failed have another, or fail for good.
    pub(super) fn retry(&mut self, place: u64, wait: Duration, now: Time) {
        let Some(entry) = self.tasks.get_mut(&place) else {
            return;
        };
        entry.resumes = false;
        if entry.attempt >= entry.new.max_attempts {
            self.finish(place, TaskState::Failed, now);
        } else if wait.is_zero() {
            self.stand(place, Stand::Ready);
        } else {
            self.stand(place, Stand::Delayed(now.after(wait)));
        }
    }

    /// Ends a task. Its parent goes on when this was the last of its children.
    pub(super) fn finish(&mut self, place: u64, state: TaskState, now: Time) {
        let at = now.timestamp();
        self.stand(place, Stand::Finished { state, at });
        let Some(entry) = self.tasks.get(&place) else {
            return;
        };
        let until = now.after(self.retention);
        for child in &entry.children {
            // Their parent awaited them; now their own retention counts.
            let finished = match self.tasks.get(child).map(|child| &child.stand) {
                Some(Stand::Finished { at, .. }) => Time::of(*at),
                _ => continue,
            };
            self.forgets
                .insert((finished.after(self.retention), *child));
        }
        match entry.parent.as_ref().map(|(parent, _)| *parent) {
            Some(parent) if self.is_unfinished(parent) => self.child_finished(parent),
            _ => {
                self.forgets.insert((until, place));
            }
        }
    }

    fn is_unfinished(&self, place: u64) -> bool {
        self.tasks
            .get(&place)
            .is_some_and(|task| !task.is_finished())
    }

    fn child_finished(&mut self, parent: u64) {
        if let Some(entry) = self.tasks.get_mut(&parent) {
            entry.open_children = entry.open_children.saturating_sub(1);
        }
        self.resume(parent);
    }

    /// Makes a suspended task ready when no child is open.
    pub(super) fn resume(&mut self, place: u64) {
        let Some(entry) = self.tasks.get_mut(&place) else {
            return;
        };
        if matches!(entry.stand, Stand::Suspended) && entry.open_children == 0 {
            entry.resumes = true;
            self.stand(place, Stand::Ready);
        }
    }

    /// Begins a claim of the newest ready task of a stack.
    pub(super) fn start(&mut self, stack: &StackName, running: Running) -> Option<u64> {
        let place = *self.stacks.get(stack)?.ready.last()?;
        let entry = self.tasks.get_mut(&place)?;
        entry.gone_on();
        let resumed = std::mem::take(&mut entry.resumes);
        entry.attempt = entry.attempt.saturating_add(u32::from(!resumed));
        self.stand(place, Stand::Running(Running { resumed, ..running }));
        Some(place)
    }
}

fn timer(stand: &Stand) -> Option<Time> {
    match stand {
        Stand::Delayed(until) => Some(*until),
        Stand::Running(running) => Some(running.until),
        _ => None,
    }
}
