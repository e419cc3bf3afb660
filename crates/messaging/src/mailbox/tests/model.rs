//! Random operations agree with a simple model.

use proptest::prelude::*;
use statehouse_contracts::{MessageId, ReferenceId, ReferenceStore, Settle, SettleAction};

use super::*;
use crate::Policy;

const AGENTS: [&str; 2] = ["ada", "bob-2"];
const RETRIES: u32 = 2;
/// What is larger travels by reference.
const THRESHOLD: u64 = 64;

#[derive(Clone, Debug)]
enum Step {
    Send(usize, u8, bool),
    Receive(usize, usize),
    Ack(usize),
    Nack(usize),
    Dead(usize),
    Redrive(usize, bool),
    Purge(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let agent = || 0..AGENTS.len();
    let delivery = || 0..8_usize;
    prop_oneof![
        4 => (agent(), 0..4_u8, any::<bool>()).prop_map(|(a, p, l)| Step::Send(a, p, l)),
        3 => (agent(), 1..4_usize).prop_map(|(a, max)| Step::Receive(a, max)),
        2 => delivery().prop_map(Step::Ack),
        2 => delivery().prop_map(Step::Nack),
        1 => delivery().prop_map(Step::Dead),
        1 => (agent(), any::<bool>()).prop_map(|(a, all)| Step::Redrive(a, all)),
        1 => agent().prop_map(Step::Purge),
    ]
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Letter {
    id: MessageId,
    payload: String,
    priority: u8,
    attempts: u32,
    /// When it was sent, or redriven, as the model counts.
    since: u64,
}

#[derive(Default)]
struct Mailbox {
    ready: Vec<Letter>,
    dead: Vec<Letter>,
}

impl Mailbox {
    /// The letters that come next.
    fn next(&self, max: usize) -> Vec<Letter> {
        let mut ready = self.ready.clone();
        ready.sort_by_key(|letter| (u8::MAX - letter.priority, letter.since));
        ready.truncate(max);
        ready
    }
}

struct Model {
    mail: Mailboxes,
    boxes: [Mailbox; 2],
    in_flight: Vec<(usize, Letter, Incoming)>,
    clock: u64,
    /// What travelled by reference.
    contents: Vec<ReferenceId>,
}

impl Model {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    async fn send(&mut self, agent: usize, priority: u8, large: bool) {
        let since = self.tick();
        let length = if large { 100 } else { 1 };
        let payload = format!("{since}:{}", "x".repeat(length));
        let letter = Message {
            priority: Priority::new(priority).unwrap(),
            ..self.mail.letter(AGENTS[agent], text(&payload))
        };
        if large {
            self.contents.push(ReferenceId::of(payload.as_bytes()));
        }
        let id = self.mail.send(letter).await.unwrap().id;
        self.boxes[agent].ready.push(Letter {
            id,
            payload,
            priority,
            attempts: 0,
            since,
        });
    }

    async fn receive(&mut self, agent: usize, max: usize) {
        let expected = self.boxes[agent].next(max);
        let pending = self.mail.pending(AGENTS[agent], max).await.unwrap();
        let pending: Vec<_> = pending.iter().map(|one| (one.id, one.attempts)).collect();
        let told: Vec<_> = expected.iter().map(|one| (one.id, one.attempts)).collect();
        assert_eq!(pending, told, "what waits");
        let receive = Receive::new(max, Duration::ZERO);
        let got = self.mail.receive(AGENTS[agent], receive).await.unwrap();
        assert_eq!(got.len(), expected.len());
        for (incoming, mut letter) in got.into_iter().zip(expected) {
            letter.attempts += 1;
            assert_eq!(incoming.message().bytes(), letter.payload.as_bytes());
            assert_eq!(incoming.delivery.attempt, letter.attempts);
            let large = letter.payload.len() as u64 > THRESHOLD;
            assert_eq!(incoming.reference().is_some(), large);
            self.boxes[agent].ready.retain(|one| one.id != letter.id);
            self.in_flight.push((agent, letter, incoming));
        }
    }

    fn take(&mut self, at: usize) -> Option<(usize, Letter, Incoming)> {
        (at < self.in_flight.len()).then(|| self.in_flight.remove(at))
    }

    async fn nack(&mut self, at: usize) {
        let Some((agent, letter, incoming)) = self.take(at) else {
            return;
        };
        self.mail.messenger().nack(&incoming, "no").await.unwrap();
        // It keeps its place.
        let mailbox = &mut self.boxes[agent];
        match letter.attempts > RETRIES {
            true => mailbox.dead.push(letter),
            false => mailbox.ready.push(letter),
        }
    }

    async fn dead_letter(&mut self, at: usize) {
        if let Some((agent, letter, incoming)) = self.take(at) {
            let messenger = self.mail.messenger();
            messenger.dead_letter(&incoming, "odd").await.unwrap();
            self.boxes[agent].dead.push(letter);
        }
    }

    async fn ack(&mut self, at: usize) {
        if let Some((_, _, incoming)) = self.take(at) {
            let messenger = self.mail.messenger();
            messenger.ack(&incoming).await.unwrap();
            // A repeat does no harm.
            messenger
                .settle_by_token(vec![Settle {
                    token: incoming.token(),
                    action: SettleAction::Ack,
                }])
                .await
                .unwrap();
        }
    }

    async fn redrive(&mut self, agent: usize, all: bool) {
        let first = self.boxes[agent].dead.first().map(|letter| letter.id);
        let id = if all { None } else { first };
        let back = match (all, first) {
            (_, None) => Vec::new(),
            (true, _) => std::mem::take(&mut self.boxes[agent].dead),
            (false, _) => vec![self.boxes[agent].dead.remove(0)],
        };
        if back.is_empty() {
            return;
        }
        let count = self.mail.redrive(AGENTS[agent], id).await.unwrap();
        assert_eq!(count, back.len() as u64);
        for mut letter in back {
            (letter.attempts, letter.since) = (0, self.tick());
            self.boxes[agent].ready.push(letter);
        }
    }

    async fn purge(&mut self, agent: usize) {
        let dead = std::mem::take(&mut self.boxes[agent].dead);
        if !dead.is_empty() {
            let purged = self.mail.purge_dead_letters(AGENTS[agent]).await.unwrap();
            assert_eq!(purged, dead.len() as u64);
        }
    }

    async fn check(&self) {
        for (agent, mailbox) in self.boxes.iter().enumerate() {
            let counts = self.mail.status(AGENTS[agent]).await.unwrap().counts;
            let in_flight = self.in_flight.iter().filter(|(of, ..)| *of == agent);
            assert_eq!(counts.ready, mailbox.ready.len() as u64);
            assert_eq!(counts.in_flight, in_flight.count() as u64);
            assert_eq!(counts.dead, mailbox.dead.len() as u64);
            let dead = self.mail.dead_letters(AGENTS[agent]).await.unwrap();
            for (letter, known) in dead.iter().zip(&mailbox.dead) {
                assert_eq!(letter.received.message.id, known.id);
                let plain = self.mail.resolve(&letter.received.message).await;
                assert_eq!(plain.unwrap(), known.payload.as_bytes());
            }
        }
    }

    /// Empties everything.
    async fn finish(&mut self) {
        while !self.in_flight.is_empty() {
            self.ack(0).await;
        }
        for agent in 0..AGENTS.len() {
            while !self.boxes[agent].ready.is_empty() {
                self.receive(agent, 3).await;
                while !self.in_flight.is_empty() {
                    self.ack(0).await;
                }
            }
            self.purge(agent).await;
        }
        self.check().await;
    }
}

async fn agrees(steps: Vec<Step>) {
    let endpoint = Endpoint::parse("memory:").unwrap();
    let backend = statehouse_memory::Memory.open(&endpoint).await.unwrap();
    let backend: Arc<dyn Backend> = statehouse_layers::guard(backend);
    let scope = Scope::parse("default", "tester").unwrap();
    let policy = Policy::AutoPromote {
        threshold: THRESHOLD,
    };
    let policies = Arc::new(PolicyManager::uniform(policy));
    let messenger = Messenger::open(&*backend, &scope, policies).await.unwrap();
    let mut model = Model {
        mail: Mailboxes::new(messenger, eager(RETRIES)),
        boxes: Default::default(),
        in_flight: Vec::new(),
        clock: 0,
        contents: Vec::new(),
    };
    for step in steps {
        match step {
            Step::Send(agent, priority, large) => model.send(agent, priority, large).await,
            Step::Receive(agent, max) => model.receive(agent, max).await,
            Step::Ack(at) => model.ack(at).await,
            Step::Nack(at) => model.nack(at).await,
            Step::Dead(at) => model.dead_letter(at).await,
            Step::Redrive(agent, all) => model.redrive(agent, all).await,
            Step::Purge(agent) => model.purge(agent).await,
        }
        model.check().await;
    }
    model.finish().await;
    let references: Arc<dyn ReferenceStore> = backend.references(&scope).await.unwrap();
    for content in model.contents {
        let held = match references.stat(&content).await {
            Ok(info) => info.holders,
            Err(_) => 0,
        };
        assert_eq!(held, 0, "nobody needs it");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn agrees_with_a_simple_model(steps in prop::collection::vec(step(), 1..30)) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().unwrap().block_on(agrees(steps));
    }
}
