//! The queue against a model that is too simple to be wrong: a list, searched from end to end.

use std::time::Duration;

use proptest::prelude::*;
use statehouse_contracts::{
    Backoff, Counts, GroupName, GroupSpec, LeaseToken, Message, MessageId, Pattern, Payload,
    Priority, SettleAction, Topic,
};

use crate::config::Config;
use crate::queue::messages::Queue;
use crate::queue::sending::Offer;
use crate::time::Time;

const MAX_DELIVERIES: u32 = 2;
const LEASE: u64 = 30;

#[derive(Clone, Debug)]
enum Step {
    Send {
        key: Option<u8>,
        priority: u8,
        delay: u64,
        ttl: Option<u64>,
    },
    Receive(usize),
    Ack(usize),
    Nack(usize, u64),
    Bury(usize),
    Extend(usize, u64),
    Cancel(usize),
    Wait(u64),
    Redrive,
    Purge,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let send = (
        prop::option::of(0..3_u8),
        0..3_u8,
        0..40_u64,
        prop::option::of(1..60_u64),
    );
    let step = prop_oneof![
        6 => send.prop_map(|(key, priority, delay, ttl)| Step::Send {
            // A delay and a key do not go together; every other message has none.
            delay: if key.is_some() || delay > 20 { 0 } else { delay },
            key,
            priority,
            ttl,
        }),
        5 => (1..4_usize).prop_map(Step::Receive),
        3 => (0..9_usize).prop_map(Step::Ack),
        3 => (0..9_usize, 0..30_u64).prop_map(|(at, delay)| Step::Nack(at, delay)),
        1 => (0..9_usize).prop_map(Step::Bury),
        1 => (0..9_usize, 1..90_u64).prop_map(|(at, length)| Step::Extend(at, length)),
        1 => (0..9_usize).prop_map(Step::Cancel),
        3 => (1..40_u64).prop_map(Step::Wait),
        1 => Just(Step::Redrive),
        1 => Just(Step::Purge),
    ];
    prop::collection::vec(step, 1..80)
}

#[derive(Clone, Debug)]
struct Sent {
    id: MessageId,
    seq: u64,
    key: Option<u8>,
    priority: u8,
    ttl: Option<u64>,
    first_due: u64,
    /// When it can be received; or until when it is leased.
    at: u64,
    leased: Option<LeaseToken>,
    attempts: u32,
}

impl Sent {
    fn has_expired(&self, now: u64) -> bool {
        self.ttl.is_some_and(|ttl| self.first_due + ttl <= now)
    }
}

#[derive(Debug, Default)]
struct Model {
    now: u64,
    seq: u64,
    alive: Vec<Sent>,
    dead: Vec<Sent>,
    expired: u64,
}

impl Model {
    fn advance(&mut self, by: u64) {
        self.now += by;
        let now = self.now;
        let ended = |sent: &&Sent| sent.leased.is_some() && sent.at <= now;
        let mut ended: Vec<&Sent> = self.alive.iter().filter(ended).collect();
        ended.sort_by_key(|sent| (sent.at, sent.seq));
        let ended: Vec<MessageId> = ended.into_iter().map(|sent| sent.id).collect();
        for id in ended {
            self.fail(id, 0);
        }
        let before = self.alive.len();
        self.alive
            .retain(|sent| sent.leased.is_some() || !sent.has_expired(now));
        self.expired += (before - self.alive.len()) as u64;
    }

    fn ids(&self, wanted: impl Fn(&Sent) -> bool) -> Vec<MessageId> {
        self.alive
            .iter()
            .filter(|sent| wanted(sent))
            .map(|sent| sent.id)
            .collect()
    }

    fn take(&mut self, id: MessageId) -> Sent {
        let at = self.alive.iter().position(|sent| sent.id == id).unwrap();
        self.alive.remove(at)
    }

    fn fail(&mut self, id: MessageId, delay: u64) {
        let now = self.now;
        let sent = self.alive.iter_mut().find(|sent| sent.id == id).unwrap();
        sent.leased = None;
        sent.at = now + delay;
        if sent.attempts >= MAX_DELIVERIES {
            let dead = self.take(id);
            self.dead.push(dead);
        } else if sent.has_expired(now) {
            self.take(id);
            self.expired += 1;
        }
    }

    fn is_first_of_key(&self, sent: &Sent) -> bool {
        sent.key.is_none()
            || !self
                .alive
                .iter()
                .any(|other| other.key == sent.key && other.seq < sent.seq)
    }

    /// What can be received, in order.
    fn ready(&self) -> Vec<MessageId> {
        let open = |sent: &&Sent| {
            sent.leased.is_none() && sent.at <= self.now && self.is_first_of_key(sent)
        };
        let mut ready: Vec<&Sent> = self.alive.iter().filter(open).collect();
        ready.sort_by_key(|sent| (9 - sent.priority, sent.first_due, sent.seq));
        ready.into_iter().map(|sent| sent.id).collect()
    }

    fn counts(&self) -> Counts {
        let leased = self.ids(|sent| sent.leased.is_some()).len();
        let delayed = self
            .ids(|sent| sent.leased.is_none() && sent.at > self.now && self.is_first_of_key(sent));
        Counts {
            ready: (self.alive.len() - leased - delayed.len()) as u64,
            delayed: delayed.len() as u64,
            in_flight: leased as u64,
            dead: self.dead.len() as u64,
            expired: self.expired,
            dropped: 0,
            exact: true,
        }
    }

    fn leased(&self, at: usize) -> Option<(MessageId, LeaseToken)> {
        let leased = self
            .alive
            .iter()
            .filter_map(|sent| Some((sent.id, sent.leased.clone()?)));
        let leased: Vec<(MessageId, LeaseToken)> = leased.collect();
        leased.get(at % leased.len().max(1)).cloned()
    }
}

struct Pair {
    queue: Queue,
    model: Model,
    group: GroupName,
}

fn time(at: u64) -> Time {
    Time::from_nanos(at as i64)
}

impl Pair {
    fn new() -> Self {
        let mut queue = Queue::new(&Config::default());
        let group = GroupName::new("g").unwrap();
        let spec = GroupSpec {
            backoff: Backoff::NONE,
            max_deliveries: MAX_DELIVERIES,
            lease: Duration::from_nanos(LEASE),
            ..GroupSpec::new(Pattern::ALL)
        };
        queue.declare(&group, &spec, time(0)).unwrap();
        Self {
            queue,
            model: Model::default(),
            group,
        }
    }

    fn send(&mut self, key: Option<u8>, priority: u8, delay: u64, ttl: Option<u64>) {
        let message = Message {
            ordering_key: key.map(|key| key.to_string()),
            priority: Priority::new(priority).unwrap(),
            delay: Duration::from_nanos(delay),
            ttl: ttl.map(Duration::from_nanos),
            ..Message::new(Topic::new("t").unwrap(), Payload::text("x"))
        };
        let (id, now) = (message.id, self.model.now);
        match self.queue.offer(message, true, time(now)) {
            Offer::Done(sent) => assert_eq!(sent.unwrap().routed, Some(1)),
            Offer::Full(..) => panic!("the group has no bound"),
        }
        self.model.alive.push(Sent {
            id,
            seq: self.model.seq,
            key,
            priority,
            ttl,
            first_due: now + delay,
            at: now + delay,
            leased: None,
            attempts: 0,
        });
        self.model.seq += 1;
    }

    fn receive(&mut self, max: usize) {
        let now = self.model.now;
        let got = self
            .queue
            .receive(&self.group, max, None, time(now))
            .unwrap();
        let got = got.unwrap_or_default();
        let expected: Vec<MessageId> = self.model.ready().into_iter().take(max).collect();
        let ids: Vec<MessageId> = got.iter().map(|one| one.received.message.id).collect();
        assert_eq!(ids, expected);
        for one in got {
            let id = one.received.message.id;
            let sent = self
                .model
                .alive
                .iter_mut()
                .find(|sent| sent.id == id)
                .unwrap();
            sent.attempts += 1;
            sent.at = now + LEASE;
            sent.leased = Some(one.token);
            assert_eq!(one.attempt, sent.attempts);
        }
    }

    fn settle(&mut self, at: usize, action: SettleAction) -> Option<MessageId> {
        let (id, token) = self.model.leased(at)?;
        let now = time(self.model.now);
        let new = self.queue.settle(&token, action.clone(), now).unwrap();
        if new.is_some() {
            // The token that was replaced is worth nothing.
            assert!(self.queue.settle(&token, action, now).is_err());
        } else {
            assert_eq!(self.queue.settle(&token, action, now).unwrap(), None);
        }
        if let Some(sent) = self.model.alive.iter_mut().find(|sent| sent.id == id) {
            sent.leased = new;
        }
        Some(id)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send {
                key,
                priority,
                delay,
                ttl,
            } => self.send(key, priority, delay, ttl),
            Step::Receive(max) => self.receive(max),
            Step::Ack(at) => {
                if let Some(id) = self.settle(at, SettleAction::Ack) {
                    self.model.take(id);
                }
            }
            Step::Nack(at, delay) => {
                let action = SettleAction::Nack {
                    delay: Some(Duration::from_nanos(delay)),
                    error: None,
                };
                if let Some(id) = self.settle(at, action) {
                    self.model.fail(id, delay);
                }
            }
            Step::Bury(at) => {
                let reason = "no good".to_owned();
                if let Some(id) = self.settle(at, SettleAction::DeadLetter { reason }) {
                    let dead = self.model.take(id);
                    self.model.dead.push(dead);
                }
            }
            Step::Extend(at, length) => {
                let lease = Duration::from_nanos(length);
                if let Some(id) = self.settle(at, SettleAction::Extend { lease }) {
                    let now = self.model.now;
                    let sent = self.model.alive.iter_mut().find(|sent| sent.id == id);
                    sent.unwrap().at = now + length;
                }
            }
            Step::Cancel(at) => self.cancel(at),
            Step::Wait(by) => self.model.advance(by),
            Step::Redrive => self.redrive(),
            Step::Purge => {
                self.queue
                    .purge(&self.group, false, time(self.model.now))
                    .unwrap();
                self.model.alive.retain(|sent| sent.leased.is_some());
            }
        }
    }

    fn cancel(&mut self, at: usize) {
        let now = self.model.now;
        let Some(sent) = self.model.alive.get(at).cloned() else {
            return;
        };
        let scheduled = sent.first_due > now;
        assert_eq!(self.queue.cancel(sent.id, time(now)), scheduled);
        if scheduled {
            self.model.take(sent.id);
        }
    }

    fn redrive(&mut self) {
        let now = self.model.now;
        let count = self.queue.redrive(&self.group, None, time(now)).unwrap();
        assert_eq!(count, self.model.dead.len() as u64);
        for mut sent in std::mem::take(&mut self.model.dead) {
            sent.seq = self.model.seq;
            self.model.seq += 1;
            sent.first_due = now;
            sent.at = now;
            sent.leased = None;
            sent.attempts = 0;
            self.model.alive.push(sent);
        }
    }

    fn check(&mut self) {
        self.queue.advance(time(self.model.now));
        let group = &self.queue.groups[self.queue.names[&self.group]];
        assert_eq!(group.counts(), self.model.counts());
        let first = group.peek(1).first().map(|item| item.accepted.message().id);
        assert_eq!(first, self.model.ready().first().copied());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn it_does_what_the_model_does(steps in steps()) {
        let mut pair = Pair::new();
        for step in steps {
            pair.step(step);
            pair.check();
        }
        // In the end nothing is left behind by the indexes.
        pair.model.advance(1_000);
        pair.check();
        while !pair.model.alive.is_empty() {
            pair.receive(100);
            while let Some(id) = pair.settle(0, SettleAction::Ack) {
                pair.model.take(id);
            }
            pair.check();
        }
        prop_assert_eq!(pair.queue.next_due(), None);
    }
}

#[test]
fn peek_shows_what_comes_next() {
    let mut pair = Pair::new();
    for (key, priority) in [
        (Some(1), 1),
        (None, 2),
        (Some(1), 3),
        (Some(2), 2),
        (None, 1),
    ] {
        pair.send(key, priority, 0, None);
    }
    let peek = |pair: &Pair| -> Vec<MessageId> {
        let group = &pair.queue.groups[pair.queue.names[&pair.group]];
        let shown = group.peek(9).into_iter();
        shown.map(|item| item.accepted.message().id).collect()
    };
    while !pair.model.alive.is_empty() {
        assert_eq!(peek(&pair), pair.model.ready());
        pair.receive(1);
        if let Some(id) = pair.settle(0, SettleAction::Ack) {
            pair.model.take(id);
        }
    }
    assert!(peek(&pair).is_empty());
}
