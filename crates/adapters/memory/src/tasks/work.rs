//! Pushing, claiming, settling and cancelling.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    ChildOutcome, Claim, ClaimRequest, Error, ErrorKind, FailRetry, Lease, LeaseToken, NewTask,
    Principal, Push, Pushed, Result, TaskId, TaskSettle, TaskState,
};
use tokio::sync::Notify;

use crate::queue::shorten;
use crate::tasks::MAX_NESTING;
use crate::tasks::entry::{End, Entry, Running, Stand};
use crate::tasks::stacks::Tasks;
use crate::time::Time;

/// A claim, by the task's place and its own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ClaimId {
    place: u64,
    number: u64,
}

impl Tasks {
    fn token(&self, claim: ClaimId) -> Result<LeaseToken> {
        LeaseToken::new(format!(
            "task.{:x}.{:x}.{:x}",
            claim.place, claim.number, self.nonce
        ))
    }

    fn parse(&self, token: &LeaseToken) -> Result<ClaimId> {
        let never_made = "this namespace never made the lease token; pass it as it was handed out";
        let mut parts = token.as_str().split('.');
        let task = parts.next() == Some("task");
        let mut next = || u64::from_str_radix(parts.next()?, 16).ok();
        match (next(), next(), next(), parts.next()) {
            (Some(place), Some(number), Some(nonce), None)
                if task && nonce == self.nonce && number <= self.claims =>
            {
                Ok(ClaimId { place, number })
            }
            _ => Err(Error::invalid(never_made)),
        }
    }

    pub(crate) fn push(&mut self, push: Push, by: &Principal, now: Time) -> Result<Vec<Pushed>> {
        if push.tasks.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(first) = self.replay(&push)? {
            return Ok(first);
        }
        let claim = push
            .parent
            .as_ref()
            .map(|token| self.parse(token))
            .transpose()?;
        let parent = claim.map(|claim| self.check_parent(claim)).transpose()?;
        let answers = self.check_ids(&push, claim.map(|claim| claim.place))?;
        let repeat = push.op_id.clone().map(|op_id| (op_id, push.fingerprint()));
        for (new, answer) in push.tasks.into_iter().zip(&answers) {
            if !answer.duplicate {
                let parent = parent
                    .as_ref()
                    .map(|(place, id, depth)| ((*place, id.clone()), *depth));
                self.add(new, push.stack.clone(), parent, by, now);
            }
        }
        if let Some((place, _, _)) = parent {
            self.stand(place, Stand::Suspended);
            self.resume(place);
        }
        if let Some((op_id, fingerprint)) = repeat {
            self.pushes
                .insert(op_id, (fingerprint, answers.clone()), now);
        }
        Ok(answers)
    }

    fn replay(&self, push: &Push) -> Result<Option<Vec<Pushed>>> {
        let known = push.op_id.as_ref().and_then(|op_id| self.pushes.get(op_id));
        let Some((fingerprint, answers)) = known else {
            return Ok(None);
        };
        if *fingerprint != push.fingerprint() {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the op_id belongs to another push; use a new one",
            ));
        }
        Ok(Some(answers.clone()))
    }

    /// Which of the tasks were pushed before, just so.
    fn check_ids(&self, push: &Push, parent: Option<u64>) -> Result<Vec<Pushed>> {
        let mut new: HashMap<&TaskId, &NewTask> = HashMap::new();
        let mut answers = Vec::with_capacity(push.tasks.len());
        for task in &push.tasks {
            let stored = self
                .ids
                .get(&task.id)
                .and_then(|place| self.tasks.get(place));
            let same = match stored {
                Some(entry) => Some(entry.is_same(&push.stack, task, parent)),
                None => new
                    .insert(&task.id, task)
                    .map(|first| first.kind == task.kind && first.payload == task.payload),
            };
            if same == Some(false) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("the task id {} is taken by another task", task.id),
                ));
            }
            answers.push(Pushed {
                id: task.id.clone(),
                duplicate: same.is_some(),
            });
        }
        Ok(answers)
    }

    /// The parent's place, id and depth, if its lease holds.
    fn check_parent(&self, claim: ClaimId) -> Result<(u64, TaskId, u32)> {
        let entry = self.held(claim, None)?;
        if entry.depth >= MAX_NESTING {
            let limit = u64::from(MAX_NESTING);
            let depth = u64::from(entry.depth) + 1;
            return Err(Error::beyond_limit(
                "the nesting",
                depth,
                "max_nesting",
                limit,
            ));
        }
        Ok((claim.place, entry.new.id.clone(), entry.depth))
    }

    fn add(
        &mut self,
        new: NewTask,
        stack: statehouse_contracts::StackName,
        parent: Option<((u64, TaskId), u32)>,
        by: &Principal,
        now: Time,
    ) {
        let stand = if new.delay.is_zero() {
            Stand::Ready
        } else {
            Stand::Delayed(now.after(new.delay))
        };
        let (parent, depth) = match parent {
            Some((parent, depth)) => (Some(parent), depth + 1),
            None => (None, 0),
        };
        let above = parent.as_ref().map(|(place, _)| *place);
        let place = self.insert(Entry {
            new,
            stack,
            stand,
            attempt: 0,
            resumes: false,
            parent,
            depth,
            children: Vec::new(),
            open_children: 0,
            created_at: now.timestamp(),
            created_by: by.clone(),
            result: None,
            errors: Vec::new(),
            ends: Vec::new(),
        });
        if let Some(above) = above.and_then(|above| self.tasks.get_mut(&above)) {
            above.children.push(place);
            above.open_children += 1;
        }
    }

    /// The task of a claim that holds; or why it does not. A repeated `end` is told by `Ok` with
    /// the task, which is not running under the claim any more.
    fn held(&self, claim: ClaimId, end: Option<End>) -> Result<&Entry> {
        let lost = || {
            let message =
                "the lease has ended or was replaced; the task may be with another worker";
            Error::new(ErrorKind::LeaseLost, message)
        };
        let entry = self.tasks.get(&claim.place).ok_or_else(lost)?;
        if entry.running(claim.number).is_some() {
            return Ok(entry);
        }
        match entry.end_of(claim.number) {
            Some(End::Cancel) => Err(Error::new(
                ErrorKind::Cancelled,
                format!(
                    "the task {} was cancelled; stop working on it",
                    entry.new.id
                ),
            )),
            known if end.is_some() && known == end => Ok(entry),
            _ => Err(lost()),
        }
    }

    /// Claims up to `request.max` tasks; or gives what rings when there is one.
    pub(crate) fn claim(
        &mut self,
        request: &ClaimRequest,
        deadline: std::time::Instant,
        now: Time,
    ) -> Result<std::result::Result<Vec<Claim>, Arc<Notify>>> {
        let mut claims = Vec::new();
        while claims.len() < request.max {
            let running = Running {
                number: self.claims + 1,
                until: now.after(request.lease),
                worker: request.worker.clone(),
                resumed: false,
            };
            let Some(place) = self.start(&request.stack, running) else {
                break;
            };
            self.claims += 1;
            let number = self.claims;
            let token = self.token(ClaimId { place, number })?;
            claims.extend(self.show_claim(place, Lease { token, deadline }));
        }
        let stack = self.stacks.entry(request.stack.clone()).or_default();
        if !stack.ready.is_empty() {
            // Each ring wakes one worker: what it leaves is for the next.
            stack.bell.notify_one();
        }
        if claims.is_empty() {
            return Ok(Err(stack.bell.clone()));
        }
        Ok(Ok(claims))
    }

    fn show_claim(&self, place: u64, lease: Lease) -> Option<Claim> {
        let entry = self.tasks.get(&place)?;
        let children = entry
            .children
            .iter()
            .filter_map(|child| self.tasks.get(child));
        let outcomes: Vec<ChildOutcome> = children.map(|child| child.outcome()).collect();
        Some(Claim {
            task: entry.show(),
            lease,
            outcomes,
        })
    }

    /// Settles one claim; answers where the task stands, and the new token of an extended lease.
    pub(crate) fn settle(
        &mut self,
        settle: TaskSettle,
        now: Time,
    ) -> Result<(TaskState, Option<LeaseToken>)> {
        let (token, end) = match &settle {
            TaskSettle::Complete { token, .. } => (token, Some(End::Complete)),
            TaskSettle::Fail { token, .. } => (token, Some(End::Fail)),
            TaskSettle::Release { token } => (token, Some(End::Release)),
            TaskSettle::Extend { token, .. } => (token, None),
        };
        let claim = self.parse(token)?;
        let entry = self.held(claim, end)?;
        let Some(running) = entry.running(claim.number).cloned() else {
            return Ok((entry.state(), None));
        };
        if let TaskSettle::Extend { lease, .. } = settle {
            let token = self.extend(claim, running, lease, now)?;
            return Ok((TaskState::Running, Some(token)));
        }
        if let (Some(entry), Some(end)) = (self.tasks.get_mut(&claim.place), end) {
            entry.ended(claim.number, end);
        }
        match settle {
            TaskSettle::Complete {
                result,
                content_type,
                ..
            } => {
                if let Some(entry) = self.tasks.get_mut(&claim.place) {
                    entry.result = Some((result, content_type));
                }
                self.finish(claim.place, TaskState::Completed, now);
            }
            TaskSettle::Fail { error, retry, .. } => self.fail(claim.place, error, retry, now),
            TaskSettle::Release { .. } => self.release(claim.place, running.resumed),
            TaskSettle::Extend { .. } => {}
        }
        let state = self.tasks.get(&claim.place).map(|entry| entry.state());
        Ok((state.unwrap_or(TaskState::Completed), None))
    }

    fn extend(
        &mut self,
        claim: ClaimId,
        running: Running,
        lease: Duration,
        now: Time,
    ) -> Result<LeaseToken> {
        self.claims += 1;
        let number = self.claims;
        let until = now.after(lease);
        let running = Running {
            number,
            until,
            ..running
        };
        self.stand(claim.place, Stand::Running(running));
        self.token(ClaimId { number, ..claim })
    }

    fn fail(&mut self, place: u64, error: String, retry: FailRetry, now: Time) {
        let Some(entry) = self.tasks.get_mut(&place) else {
            return;
        };
        entry.failed(shorten(error), now.timestamp());
        let wait = match retry {
            FailRetry::Never => {
                self.finish(place, TaskState::Failed, now);
                return;
            }
            FailRetry::Backoff => entry.new.backoff.wait(entry.attempt, fastrand::f64()),
            FailRetry::After(wait) => wait,
        };
        self.retry(place, wait, now);
    }

    fn release(&mut self, place: u64, resumed: bool) {
        if let Some(entry) = self.tasks.get_mut(&place) {
            entry.resumes = resumed;
            entry.attempt = entry.attempt.saturating_sub(u32::from(!resumed));
        }
        self.stand(place, Stand::Ready);
    }

    /// Cancels a task and everything below it; answers how many tasks it ended.
    pub(crate) fn cancel(&mut self, id: &TaskId, now: Time) -> Result<u64> {
        let place = self.ids.get(id);
        let place = *place.ok_or_else(|| Error::not_found(format!("there is no task {id}")))?;
        let mut ended = 0;
        let mut waiting = vec![place];
        // From the top down: a parent that is finished already is not woken by its children.
        while let Some(place) = waiting.pop() {
            let Some(entry) = self
                .tasks
                .get_mut(&place)
                .filter(|entry| !entry.is_finished())
            else {
                continue;
            };
            waiting.extend(&entry.children);
            if let Stand::Running(running) = &entry.stand {
                let number = running.number;
                entry.ended(number, End::Cancel);
            }
            self.finish(place, TaskState::Cancelled, now);
            ended += 1;
        }
        Ok(ended)
    }
}
