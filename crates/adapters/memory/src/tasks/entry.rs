//! One task.

use bytes::Bytes;
use jiff::Timestamp;
use statehouse_contracts::{
    AttemptError, ChildOutcome, ContentType, NewTask, Principal, StackName, Task, TaskId,
    TaskState, WorkerName,
};

use crate::time::Time;

/// How many failed attempts are kept with a task.
const MAX_ERRORS: usize = 10;

/// How a claim ended, for those who repeat its settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    Fail,
    Release,
    Cancel,
}

/// A claim that holds.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) number: u64,
    pub(crate) until: Time,
    pub(crate) worker: WorkerName,
    /// Whether it resumed the task, which counts no attempt.
    pub(crate) resumed: bool,
}

/// Where a task stands.
#[derive(Clone, Debug)]
pub(crate) enum Stand {
    Ready,
    Delayed(Time),
    Running(Running),
    Suspended,
    Finished { state: TaskState, at: Timestamp },
}

/// A task. Its place, by which it is found, is also its age: later tasks have larger places.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) new: NewTask,
    pub(crate) stack: StackName,
    pub(crate) stand: Stand,
    pub(crate) attempt: u32,
    /// Whether its next claim only goes on after its children.
    pub(crate) resumes: bool,
    pub(crate) parent: Option<(u64, TaskId)>,
    pub(crate) depth: u32,
    pub(crate) children: Vec<u64>,
    /// How many of its children have not finished.
    pub(crate) open_children: usize,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: Principal,
    pub(crate) result: Option<(Bytes, ContentType)>,
    pub(crate) errors: Vec<AttemptError>,
    /// How its claims ended that were settled.
    pub(crate) ends: Vec<(u64, End)>,
}

impl Entry {
    pub(crate) fn state(&self) -> TaskState {
        match &self.stand {
            Stand::Ready => TaskState::Ready,
            Stand::Delayed(_) => TaskState::Delayed,
            Stand::Running(_) => TaskState::Running,
            Stand::Suspended => TaskState::Suspended,
            Stand::Finished { state, .. } => *state,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.stand, Stand::Finished { .. })
    }

    /// The claim of this number, if it holds.
    pub(crate) fn running(&self, number: u64) -> Option<&Running> {
        match &self.stand {
            Stand::Running(running) if running.number == number => Some(running),
            _ => None,
        }
    }

    pub(crate) fn end_of(&self, number: u64) -> Option<End> {
        let end = self.ends.iter().rev().find(|(of, _)| *of == number);
        end.map(|(_, end)| *end)
    }

    pub(crate) fn ended(&mut self, number: u64, end: End) {
        self.ends.push((number, end));
    }

    /// Forgets a release: by the next claim the task has gone on.
    pub(crate) fn gone_on(&mut self) {
        self.ends.retain(|(_, end)| *end != End::Release);
    }

    pub(crate) fn failed(&mut self, error: String, at: Timestamp) {
        if self.errors.len() == MAX_ERRORS {
            self.errors.remove(0);
        }
        let attempt = self.attempt;
        self.errors.push(AttemptError { attempt, at, error });
    }

    /// Whether a push of `new` repeats the one that made it.
    pub(crate) fn is_same(&self, stack: &StackName, new: &NewTask, parent: Option<u64>) -> bool {
        self.stack == *stack
            && self.new.kind == new.kind
            && self.new.payload == new.payload
            && self.parent.as_ref().map(|(place, _)| *place) == parent
    }

    pub(crate) fn outcome(&self) -> ChildOutcome {
        let state = self.state();
        let error = self.errors.last().filter(|_| state == TaskState::Failed);
        ChildOutcome {
            id: self.new.id.clone(),
            state,
            result: self.result.clone(),
            error: error.map(|error| error.error.clone()),
        }
    }

    pub(crate) fn show(&self) -> Task {
        let (due_at, worker, finished_at) = match &self.stand {
            Stand::Delayed(until) => (Some(until.timestamp()), None, None),
            Stand::Running(running) => (None, Some(running.worker.clone()), None),
            Stand::Finished { at, .. } => (None, None, Some(*at)),
            Stand::Ready | Stand::Suspended => (None, None, None),
        };
        Task {
            id: self.new.id.clone(),
            stack: self.stack.clone(),
            kind: self.new.kind.clone(),
            payload: self.new.payload.clone(),
            content_type: self.new.content_type.clone(),
            state: self.state(),
            attempt: self.attempt,
            max_attempts: self.new.max_attempts,
            parent: self.parent.as_ref().map(|(_, id)| id.clone()),
            depth: self.depth,
            created_at: self.created_at,
            created_by: self.created_by.clone(),
            due_at,
            worker,
            finished_at,
            result: self.result.clone(),
            errors: self.errors.clone(),
        }
    }
}
