//! Random pushes, claims and settles, compared with a list.

use proptest::prelude::*;
use statehouse_contracts::{
    Claim, ErrorKind, FailRetry, LeaseToken, Push, TaskStackExt, TaskState,
};

use crate::cases::model::agree;
use crate::cases::yard::{Yard, ended, task_id, task_of};
use crate::{Context, Outcome, ensure_eq};

#[derive(Clone, Debug)]
enum Step {
    Push {
        stack: usize,
        count: usize,
        max_attempts: u32,
    },
    Claim {
        stack: usize,
    },
    Settle {
        claim: usize,
        how: How,
    },
    Below {
        claim: usize,
        stack: usize,
        count: usize,
    },
    Cancel {
        task: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum How {
    Complete,
    Retry,
    GiveUp,
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![
        4 => Just(How::Complete),
        2 => Just(How::Retry),
        1 => Just(How::GiveUp),
        2 => Just(How::Release),
    ];
    prop_oneof![
        2 => (0..2usize, 1..3usize, 1..3u32).prop_map(|(stack, count, max_attempts)| {
            Step::Push { stack, count, max_attempts }
        }),
        5 => (0..2usize).prop_map(|stack| Step::Claim { stack }),
        5 => (0..8usize, how).prop_map(|(claim, how)| Step::Settle { claim, how }),
        3 => (0..8usize, 0..2usize, 1..3usize).prop_map(|(claim, stack, count)| {
            Step::Below { claim, stack, count }
        }),
        1 => (0..12usize).prop_map(|task| Step::Cancel { task }),
    ]
}

#[derive(Clone, Debug)]
struct Entry {
    stack: usize,
    state: TaskState,
    attempt: u32,
    max_attempts: u32,
    parent: Option<usize>,
    /// Whether its next claim goes on with the attempt that it had.
    resumes: bool,
}

/// Tasks by their number, which is their place and their id.
#[derive(Debug, Default)]
struct Model {
    tasks: Vec<Entry>,
    /// Whether each open claim resumed its task.
    claims: Vec<(usize, bool, LeaseToken)>,
}

impl Model {
    fn push(
        &mut self,
        stack: usize,
        count: usize,
        max_attempts: u32,
        parent: Option<usize>,
    ) -> Vec<usize> {
        let first = self.tasks.len();
        self.tasks.extend((0..count).map(|_| Entry {
            stack,
            state: TaskState::Ready,
            attempt: 0,
            max_attempts,
            parent,
            resumes: false,
        }));
        (first..self.tasks.len()).collect()
    }

    fn next(&self, stack: usize) -> Option<usize> {
        let ready = |entry: &Entry| entry.stack == stack && entry.state == TaskState::Ready;
        self.tasks.iter().rposition(ready)
    }

    fn children(&self, parent: usize) -> impl Iterator<Item = usize> {
        (0..self.tasks.len()).filter(move |n| self.tasks[*n].parent == Some(parent))
    }

    /// The task has ended so; its parent goes on when it was the last child.
    fn end(&mut self, task: usize, state: TaskState) {
        self.tasks[task].state = state;
        let Some(parent) = self.tasks[task].parent else {
            return;
        };
        let all = self
            .children(parent)
            .all(|child| self.tasks[child].state.is_finished());
        if all && self.tasks[parent].state == TaskState::Suspended {
            self.tasks[parent].state = TaskState::Ready;
            self.tasks[parent].resumes = true;
        }
    }

    fn settle(&mut self, task: usize, resumed: bool, how: How) {
        let entry = &mut self.tasks[task];
        let spent = entry.attempt >= entry.max_attempts;
        match how {
            How::Complete => self.end(task, TaskState::Completed),
            How::GiveUp => self.end(task, TaskState::Failed),
            How::Retry if spent => self.end(task, TaskState::Failed),
            How::Retry => {
                entry.state = TaskState::Ready;
                entry.resumes = false;
            }
            How::Release => {
                entry.state = TaskState::Ready;
                entry.resumes = resumed;
                entry.attempt -= u32::from(!resumed);
            }
        }
    }

    /// Ends the task and everything below it, from the leaves up.
    fn cancel(&mut self, task: usize) -> u64 {
        if self.tasks[task].state.is_finished() {
            return 0;
        }
        // First itself, so that its last child does not resume it.
        self.tasks[task].state = TaskState::Cancelled;
        let children: Vec<usize> = self.children(task).collect();
        let below: u64 = children.into_iter().map(|child| self.cancel(child)).sum();
        self.end(task, TaskState::Cancelled);
        below + 1
    }

    fn outcomes(&self, parent: usize) -> Vec<String> {
        let told = |child: usize| format!("{child} {:?}", self.tasks[child].state).to_lowercase();
        self.children(parent).map(told).collect()
    }
}

/// An adapter and its model, step by step.
struct Pair {
    stacks: [Yard; 2],
    model: Model,
}

impl Pair {
    async fn run(&mut self, step: &Step) -> Outcome {
        match *step {
            Step::Push {
                stack,
                count,
                max_attempts,
            } => {
                let ids = self.model.push(stack, count, max_attempts, None);
                let tasks: Vec<_> = ids
                    .iter()
                    .map(|n| task_of(&n.to_string(), max_attempts))
                    .collect();
                self.stacks[stack].push(tasks).await.map(|_| ())
            }
            Step::Claim { stack } => self.claim(stack).await,
            Step::Settle { claim, how } => self.settle(claim, how).await,
            Step::Below {
                claim,
                stack,
                count,
            } => self.below(claim, stack, count).await,
            Step::Cancel { task } => self.cancel(task).await,
        }
    }

    async fn claim(&mut self, stack: usize) -> Outcome {
        let claim: Option<Claim> = self.stacks[stack].claim_now(1).await?.pop();
        let expected = self.model.next(stack);
        let got = claim.as_ref().map(|claim| claim.task.id.to_string());
        ensure_eq(got, expected.map(|n| n.to_string()), "the task claimed")?;
        let (Some(claim), Some(n)) = (claim, expected) else {
            return Ok(());
        };
        let entry = &mut self.model.tasks[n];
        let resumed = std::mem::take(&mut entry.resumes);
        entry.state = TaskState::Running;
        entry.attempt += u32::from(!resumed);
        ensure_eq(claim.task.attempt, entry.attempt, "the attempt")?;
        let outcomes: Vec<String> = claim.outcomes.iter().map(ended).collect();
        ensure_eq(outcomes, self.model.outcomes(n), "the outcomes")?;
        self.model.claims.push((n, resumed, claim.lease.token));
        Ok(())
    }

    async fn settle(&mut self, claim: usize, how: How) -> Outcome {
        use statehouse_contracts::TaskSettle;
        if self.model.claims.is_empty() {
            return Ok(());
        }
        let place = claim % self.model.claims.len();
        let (n, resumed, token) = self.model.claims.remove(place);
        let error = "no".to_owned();
        let settle = match how {
            How::Complete => TaskSettle::Complete {
                token,
                result: "done".into(),
                content_type: Default::default(),
            },
            How::Retry => TaskSettle::Fail {
                token,
                error,
                retry: FailRetry::Backoff,
            },
            How::GiveUp => TaskSettle::Fail {
                token,
                error,
                retry: FailRetry::Never,
            },
            How::Release => TaskSettle::Release { token },
        };
        let settled = self.stacks[0].tasks.settle_one(settle).await;
        if self.model.tasks[n].state == TaskState::Cancelled {
            return crate::expect_kind(settled, ErrorKind::Cancelled).map(|_| ());
        }
        self.model.settle(n, resumed, how);
        ensure_eq(
            settled?.state,
            self.model.tasks[n].state,
            "where the task stands",
        )
    }

    async fn below(&mut self, claim: usize, stack: usize, count: usize) -> Outcome {
        if self.model.claims.is_empty() {
            return Ok(());
        }
        let place = claim % self.model.claims.len();
        let (n, _, token) = self.model.claims.remove(place);
        let first = self.model.tasks.len();
        let names = (first..first + count).map(|n| n.to_string());
        let push = Push {
            parent: Some(token),
            ..self.stacks[stack].batch(names.map(|name| task_of(&name, 2)))
        };
        let pushed = self.stacks[stack].tasks.push(push).await;
        if self.model.tasks[n].state == TaskState::Cancelled {
            return crate::expect_kind(pushed, ErrorKind::Cancelled).map(|_| ());
        }
        pushed?;
        self.model.push(stack, count, 2, Some(n));
        self.model.tasks[n].state = TaskState::Suspended;
        Ok(())
    }

    async fn cancel(&mut self, task: usize) -> Outcome {
        let cancelled = self.stacks[0]
            .tasks
            .cancel(&task_id(&task.to_string()))
            .await;
        if task < self.model.tasks.len() {
            return ensure_eq(
                cancelled?,
                self.model.cancel(task),
                "how many were cancelled",
            );
        }
        crate::expect_kind(cancelled, ErrorKind::NotFound).map(|_| ())
    }

    async fn compare(&self) -> Outcome {
        for (n, entry) in self.model.tasks.iter().enumerate() {
            let task = self.stacks[0].get(&n.to_string()).await?;
            let parent = task.parent.map(|parent| parent.to_string());
            let expected = (
                entry.state,
                entry.attempt,
                entry.parent.map(|p| p.to_string()),
            );
            ensure_eq(
                (task.state, task.attempt, parent),
                expected,
                &format!("task {n}"),
            )?;
        }
        for (n, yard) in self.stacks.iter().enumerate() {
            let depth = yard.tasks.depth(&yard.stack).await?;
            let count = |state| {
                let of = |entry: &&Entry| entry.stack == n && entry.state == state;
                self.model.tasks.iter().filter(of).count() as u64
            };
            let expected = [TaskState::Ready, TaskState::Running, TaskState::Suspended].map(count);
            let got = [depth.ready, depth.running, depth.suspended];
            ensure_eq(got, expected, "how many are ready, running and suspended")?;
        }
        Ok(())
    }
}

pub(super) async fn agrees_with_the_model(cx: Context) -> Outcome {
    let backend = cx.backend().await?;
    agree(step(), |steps| {
        let (cx, backend) = (cx.clone(), backend.clone());
        async move {
            let yard = Yard::on(&cx, &*backend, &cx.other_scope()?).await?;
            let stacks = [yard.at("0"), yard.at("1")];
            let mut pair = Pair {
                stacks,
                model: Model::default(),
            };
            for step in &steps {
                pair.run(step).await?;
            }
            pair.compare().await
        }
    })
    .await
}
