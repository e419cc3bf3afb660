//! What must hold of tasks after any sequence of calls.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use statehouse_contracts::{
    Backoff, Claim, ClaimRequest, ContentType, ErrorKind, FailRetry, Kind, LeaseToken, NewTask,
    OpId, Principal, Push, StackDepth, StackName, Task, TaskId, TaskQuery, TaskSettle, TaskState,
    WorkerName,
};

use crate::config::Config;
use crate::tasks::stacks::Tasks;
use crate::time::Time;

const LEASE: u64 = 40;

#[derive(Clone, Debug)]
enum Step {
    Push {
        stack: u8,
        count: usize,
        delay: u64,
    },
    PushBelow {
        claim: usize,
        stack: u8,
        count: usize,
    },
    Claim {
        stack: u8,
        max: usize,
    },
    Complete(usize),
    Fail(usize, u64),
    Release(usize),
    Extend(usize),
    Cancel(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..2_u8, 1..3_usize, 0..20_u64)
            .prop_map(|(stack, count, delay)| Step::Push { stack, count, delay: delay.saturating_sub(10) }),
        3 => (0..9_usize, 0..2_u8, 1..3_usize)
            .prop_map(|(claim, stack, count)| Step::PushBelow { claim, stack, count }),
        5 => (0..2_u8, 1..3_usize).prop_map(|(stack, max)| Step::Claim { stack, max }),
        3 => (0..9_usize).prop_map(Step::Complete),
        2 => (0..9_usize, 0..20_u64).prop_map(|(claim, wait)| Step::Fail(claim, wait)),
        1 => (0..9_usize).prop_map(Step::Release),
        1 => (0..9_usize).prop_map(Step::Extend),
        1 => (0..20_usize).prop_map(Step::Cancel),
        2 => (1..30_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..80)
}

struct World {
    tasks: Tasks,
    now: u64,
    /// All ids, in the order pushed.
    pushed: Vec<TaskId>,
    claims: Vec<(TaskId, LeaseToken)>,
    attempts: HashMap<TaskId, u32>,
}

fn stack(number: u8) -> StackName {
    StackName::new(format!("s{number}")).unwrap()
}

impl World {
    fn new() -> Self {
        Self {
            tasks: Tasks::new(&Config::default()),
            now: 0,
            pushed: Vec::new(),
            claims: Vec::new(),
            attempts: HashMap::new(),
        }
    }

    fn time(&self) -> Time {
        Time::from_nanos(self.now as i64)
    }

    fn task(&self, id: &TaskId) -> Task {
        self.tasks.get(id).unwrap()
    }

    fn push(&mut self, to: u8, count: usize, delay: u64, parent: Option<LeaseToken>) -> bool {
        let new = |_| NewTask {
            max_attempts: 2,
            backoff: Backoff::NONE,
            delay: Duration::from_nanos(delay),
            ..NewTask::new(Kind::new("k").unwrap(), Bytes::new(), ContentType::BYTES)
        };
        let tasks: Vec<NewTask> = (0..count).map(new).collect();
        let push = Push {
            stack: stack(to),
            tasks,
            parent,
            op_id: Some(OpId::random()),
        };
        let by = Principal::new("p").unwrap();
        let now = self.time();
        let answer = self.tasks.push(push.clone(), &by, now);
        let accepted = answer.is_ok();
        if let Ok(first) = answer {
            // Repeated as after a lost answer, it adds nothing.
            let again = self.tasks.push(push.clone(), &by, now).unwrap();
            assert_eq!(again, first);
            self.pushed
                .extend(push.tasks.into_iter().map(|task| task.id));
        }
        accepted
    }

    fn claim(&mut self, from: u8, max: usize) {
        let expected: Vec<TaskId> = self.ready(from).into_iter().take(max).collect();
        let peeked: Vec<TaskId> = self
            .tasks
            .peek(&stack(from), max)
            .into_iter()
            .map(|task| task.id)
            .collect();
        assert_eq!(peeked, expected);
        let request = ClaimRequest {
            stack: stack(from),
            worker: WorkerName::new("w").unwrap(),
            max,
            lease: Duration::from_nanos(LEASE),
            wait: Duration::ZERO,
        };
        let now = self.time();
        let claims = self
            .tasks
            .claim(&request, Instant::now(), now)
            .unwrap()
            .unwrap_or_default();
        let ids: Vec<TaskId> = claims.iter().map(|claim| claim.task.id.clone()).collect();
        assert_eq!(ids, expected);
        for claim in claims {
            self.check_claim(&claim);
            self.claims.push((claim.task.id, claim.lease.token));
        }
    }

    fn check_claim(&mut self, claim: &Claim) {
        let children = self.children(&claim.task.id);
        assert!(children.iter().all(|child| child.state.is_finished()));
        let outcomes: Vec<TaskId> = claim.outcomes.iter().map(|one| one.id.clone()).collect();
        let ids: Vec<TaskId> = children.into_iter().map(|child| child.id).collect();
        assert_eq!(outcomes, ids);
        let before = self
            .attempts
            .insert(claim.task.id.clone(), claim.task.attempt);
        let before = before.unwrap_or(0);
        let resumed = !ids.is_empty() && claim.task.attempt == before;
        assert!(resumed || claim.task.attempt <= before + 1);
        assert!((1..=claim.task.max_attempts).contains(&claim.task.attempt));
    }

    /// In the order pushed.
    fn children(&self, id: &TaskId) -> Vec<Task> {
        let tasks = self.pushed.iter().map(|id| self.task(id));
        tasks
            .filter(|task| task.parent.as_ref() == Some(id))
            .collect()
    }

    /// The newest first.
    fn ready(&self, of: u8) -> Vec<TaskId> {
        let tasks = self.pushed.iter().rev().map(|id| self.task(id));
        let ready = tasks.filter(|task| task.stack == stack(of) && task.state == TaskState::Ready);
        ready.map(|task| task.id).collect()
    }

    fn settle(&mut self, at: usize, make: impl Fn(LeaseToken) -> TaskSettle) {
        if self.claims.is_empty() {
            return;
        }
        let (id, token) = self.claims.remove(at % self.claims.len());
        let before = self.task(&id);
        let now = self.time();
        match self.tasks.settle(make(token.clone()), now) {
            Ok((state, Some(new))) => {
                assert_eq!(state, TaskState::Running);
                let stale = self.tasks.settle(make(token), now).unwrap_err();
                assert_eq!(stale.kind(), ErrorKind::LeaseLost);
                self.claims.push((id, new));
            }
            Ok((state, None)) => {
                assert_eq!(before.state, TaskState::Running);
                assert_eq!(self.task(&id).state, state);
                let repeated = self.tasks.settle(make(token), now).unwrap();
                assert_eq!(repeated, (state, None));
            }
            Err(error) => {
                let expected = match before.state {
                    TaskState::Cancelled => [ErrorKind::Cancelled, ErrorKind::LeaseLost],
                    _ => [ErrorKind::LeaseLost; 2],
                };
                assert!(expected.contains(&error.kind()), "{error:?}");
                assert_eq!(self.task(&id), before);
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Push {
                stack,
                count,
                delay,
            } => {
                self.push(stack, count, delay, None);
            }
            Step::PushBelow {
                claim,
                stack,
                count,
            } => {
                if !self.claims.is_empty() {
                    let at = claim % self.claims.len();
                    let (id, token) = self.claims[at].clone();
                    let held = self.task(&id).state == TaskState::Running;
                    if self.push(stack, count, 0, Some(token)) {
                        assert!(held);
                        assert_eq!(self.task(&id).state, TaskState::Suspended);
                        self.claims.remove(at);
                    }
                }
            }
            Step::Claim { stack, max } => self.claim(stack, max),
            Step::Complete(at) => self.settle(at, |token| TaskSettle::Complete {
                token,
                result: Bytes::from("done"),
                content_type: ContentType::TEXT,
            }),
            Step::Fail(at, wait) => self.settle(at, |token| TaskSettle::Fail {
                token,
                error: "failed".to_owned(),
                retry: FailRetry::After(Duration::from_nanos(wait)),
            }),
            Step::Release(at) => {
                let id = self
                    .claims
                    .get(at % self.claims.len().max(1))
                    .map(|claim| claim.0.clone());
                self.settle(at, |token| TaskSettle::Release { token });
                if let Some(id) = id {
                    let attempt = self.task(&id).attempt;
                    self.attempts.insert(id, attempt);
                }
            }
            Step::Extend(at) => self.settle(at, |token| TaskSettle::Extend {
                token,
                lease: Duration::from_nanos(LEASE),
            }),
            Step::Cancel(at) => self.cancel(at),
            Step::Wait(by) => {
                self.now += by;
                self.tasks.advance(self.time());
            }
        }
    }

    fn cancel(&mut self, at: usize) {
        let Some(id) = self.pushed.get(at).cloned() else {
            return;
        };
        let open = |world: &Self| {
            let tasks = world.pushed.iter().map(|id| world.task(id));
            tasks.filter(|task| !task.state.is_finished()).count() as u64
        };
        let (before, now) = (open(self), self.time());
        let ended = self.tasks.cancel(&id, now).unwrap();
        assert_eq!(before - open(self), ended);
        assert!(self.task(&id).state.is_finished());
        assert!(
            self.children(&id)
                .iter()
                .all(|child| child.state.is_finished())
        );
    }

    fn check(&self) {
        let all: Vec<Task> = self.pushed.iter().map(|id| self.task(id)).collect();
        for task in &all {
            let mut children = self.children(&task.id).into_iter();
            let waits = children.any(|child| !child.state.is_finished());
            assert_eq!(waits, task.state == TaskState::Suspended, "{task:?}");
        }
        for number in 0..2 {
            let of = |state| {
                let here = |task: &&Task| task.stack == stack(number) && task.state == state;
                all.iter().filter(here).count() as u64
            };
            let expected = StackDepth {
                ready: of(TaskState::Ready),
                delayed: of(TaskState::Delayed),
                running: of(TaskState::Running),
                suspended: of(TaskState::Suspended),
            };
            assert_eq!(self.tasks.depth(&stack(number)), expected);
        }
        let listed = self.tasks.list(&TaskQuery::default()).unwrap().items;
        assert!(listed.iter().rev().map(|task| &task.id).eq(&self.pushed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_lost_and_everything_is_counted(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check();
        }
        // Finished tasks are forgotten in the end, unless an unfinished one awaits them.
        let ids = world.pushed.clone();
        for id in &ids {
            let now = world.time();
            world.tasks.cancel(id, now).unwrap();
        }
        world.now += 3_600_000_000_000;
        world.tasks.advance(world.time());
        prop_assert!(world.tasks.is_empty());
        prop_assert_eq!(world.tasks.next_due(), None);
    }
}
