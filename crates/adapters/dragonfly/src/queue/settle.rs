//! Settling deliveries by their tokens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fred::types::{Key, Value};
use statehouse_contracts::{Error, ErrorKind, Lease, Result, Settle, SettleAction, Settled};

use super::held::Held;
use super::registry::{Group, Registry};
use super::token::Token;
use super::{Desk, REMEMBERED, random_word, scripts};
use crate::reply::{Row, senseless};
use crate::rounds::Call;
use crate::time::micros;

/// The most deliveries of one script.
const AT_ONCE: usize = 1000;

/// What is said of an attempt that was given back without a word.
const NACKED: &str = "nacked";

/// A delivery to settle, by its place in the batch.
struct Item {
    at: usize,
    token: Token,
    action: SettleAction,
}

/// Settles each; one answer per item, in the same order.
pub(crate) async fn settle(desk: &Desk, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
    desk.session.check_open("settle")?;
    let mut answers: Vec<Result<Settled>> = Vec::with_capacity(batch.len());
    let mut items = Vec::with_capacity(batch.len());
    for (at, settle) in batch.into_iter().enumerate() {
        let opened = Token::open(&settle.token);
        answers.push(match &opened {
            // Until the server says otherwise.
            Ok(_) => Err(lost()),
            Err(error) => Err(error.replicate().with_operation("settle")),
        });
        items.extend(opened.ok().map(|token| Item {
            at,
            token,
            action: settle.action,
        }));
    }
    let registry = registry(desk, &items).await?;
    let items: Vec<(Item, Arc<Group>)> = items
        .into_iter()
        .filter_map(|item| {
            let group = registry.as_ref()?.of_id(&item.token.group)?;
            let group = Arc::clone(group);
            Some((item, group))
        })
        .collect();
    let mut settled_before = false;
    for some in items.chunks(AT_ONCE) {
        match settle_some(desk, some, &mut answers).await {
            Err(error) if !settled_before => return Err(error),
            Err(error) => {
                let unsettled = items.iter().map(|(item, _)| item.at);
                let from = some[0].0.at;
                for at in unsettled.filter(|at| *at >= from) {
                    answers[at] = Err(error.replicate());
                }
                break;
            }
            Ok(()) => settled_before = true,
        }
    }
    Ok(answers)
}

/// The registry, read again when it does not know the group of some item.
async fn registry(desk: &Desk, items: &[Item]) -> Result<Option<Arc<Registry>>> {
    if items.is_empty() {
        return Ok(None);
    }
    let registries = &desk.queue.registries;
    let registry = registries.get(desk, "settle").await?;
    let knows = |item: &Item| registry.of_id(&item.token.group).is_some();
    if items.iter().all(knows) {
        return Ok(Some(registry));
    }
    registries.after(desk, "settle", &registry).await.map(Some)
}

/// What a script is asked: the groups and receives of some items, each once, and the items.
#[derive(Default)]
struct Request {
    keys: Vec<Key>,
    promises: Vec<Value>,
    groups: HashMap<String, usize>,
    receives: HashMap<String, usize>,
    receive_keys: Vec<Key>,
    items: Vec<Value>,
}

impl Request {
    fn push(&mut self, desk: &Desk, group: &Group, token: &Token, action: Action) {
        let known = self.groups.len() + 1;
        let number = *self.groups.entry(group.id.clone()).or_insert(known);
        if number == known {
            self.keys.extend_from_slice(&group.keys);
            self.promises.push(group.promise.clone());
        }
        let nonce = token.nonce();
        let receive = match self.receives.get(nonce) {
            Some(receive) => *receive,
            None => {
                let key = desk.session.keys.of("receive", nonce);
                self.receive_keys.push(key.into());
                let receive = self.receive_keys.len();
                self.receives.insert(nonce.to_owned(), receive);
                receive
            }
        };
        let (letter, span, said) = action;
        let size = token.size;
        let head = format!("{number}:{receive}:{size}:{letter}:{span}");
        let (place, word) = (token.place.to_string(), token.word.as_str());
        self.items
            .extend([head.into(), place.into(), word.into(), said]);
    }

    async fn run(self, desk: &Desk) -> Result<Row> {
        let mut keys = desk.queue.shared_keys();
        keys.extend(self.keys);
        keys.extend(self.receive_keys);
        let mut arguments: Vec<Value> = vec![
            REMEMBERED.as_millis().to_string().into(),
            self.promises.len().to_string().into(),
        ];
        arguments.extend(self.promises);
        arguments.extend(self.items);
        let client = &desk.store().client;
        let answer = client.script("settle", &scripts::SETTLE, keys, arguments);
        Ok(Row::from(answer.await?))
    }
}

async fn settle_some(
    desk: &Desk,
    items: &[(Item, Arc<Group>)],
    answers: &mut [Result<Settled>],
) -> Result<()> {
    let mut wanted = Vec::with_capacity(items.len());
    for (item, group) in items {
        wanted.push((Arc::clone(group), item.token.clone(), action(group, item)?));
    }
    let asked = Instant::now();
    let settlement = Settlement {
        desk: desk.clone(),
        wanted,
    };
    let words = desk.queue.settles.call((), settlement).await?;
    for ((item, _), word) in items.iter().zip(words) {
        answers[item.at] = match word.as_str() {
            "OK" => Ok(Settled { lease: None }),
            "LOST" => Err(lost()),
            word => extended(item, word, asked),
        };
    }
    Ok(())
}

/// What to do with a delivery: the action, a span, and what is said.
type Action = (char, i64, Value);

/// Deliveries that one call settles, which travel with those of others.
pub(super) struct Settlement {
    desk: Desk,
    wanted: Vec<(Arc<Group>, Token, Action)>,
}

impl Call for Settlement {
    type Lane = ();
    /// One word per delivery.
    type Answer = Vec<String>;

    const MOST: usize = AT_ONCE;

    fn weight(&self) -> usize {
        self.wanted.len()
    }

    async fn make(calls: Vec<Self>) -> Result<Vec<Vec<String>>> {
        let Some(desk) = calls.first().map(|call| call.desk.clone()) else {
            return Ok(Vec::new());
        };
        let mut request = Request::default();
        let mut counts = Vec::with_capacity(calls.len());
        for call in calls {
            counts.push(call.wanted.len());
            for (group, token, action) in call.wanted {
                request.push(&desk, &group, &token, action);
            }
        }
        let mut reply = request.run(&desk).await?;
        if reply.len() != counts.iter().sum::<usize>() {
            return Err(senseless());
        }
        let mut words = Vec::with_capacity(counts.len());
        for count in counts {
            let own: Result<Vec<String>> = (0..count).map(|_| reply.text()).collect();
            words.push(own?);
        }
        Ok(words)
    }
}

/// A settle as the script is told it: what to do, a span, and what is said.
fn action(group: &Group, item: &Item) -> Result<Action> {
    Ok(match &item.action {
        SettleAction::Ack => ('a', 0, "".into()),
        SettleAction::Nack { delay, error } => {
            let attempts = Held::read(&item.token.word)?.attempts;
            let backoff = || group.spec.backoff.wait(attempts, fraction());
            let wait = delay.unwrap_or_else(backoff);
            let said = error.as_deref().unwrap_or(NACKED);
            ('n', micros(wait), said.into())
        }
        SettleAction::DeadLetter { reason } => ('d', 0, reason.as_str().into()),
        SettleAction::Extend { lease } => ('x', micros(*lease), random_word().into()),
    })
}

fn extended(item: &Item, word: &str, asked: Instant) -> Result<Settled> {
    let token = Token {
        group: item.token.group.clone(),
        place: 0,
        size: 1,
        word: word.to_owned(),
    };
    let lease = match &item.action {
        SettleAction::Extend { lease } => *lease,
        _ => Duration::ZERO,
    };
    Ok(Settled {
        lease: Some(Lease {
            token: token.seal()?,
            deadline: asked.checked_add(lease).unwrap_or(asked),
        }),
    })
}

/// Gives messages back that were leased to nobody: their attempts do not count.
pub(super) async fn give_back(
    desk: &Desk,
    group: &Group,
    tokens: impl Iterator<Item = Token>,
) -> Result<()> {
    let mut request = Request::default();
    for token in tokens {
        request.push(desk, group, &token, ('u', 0, "".into()));
    }
    request.run(desk).await.map(|_| ())
}

fn lost() -> Error {
    Error::new(
        ErrorKind::LeaseLost,
        "the lease has ended, was replaced, or was settled otherwise",
    )
    .with_operation("settle")
}

/// A random number in 0.0..1.0.
fn fraction() -> f64 {
    let bits = uuid::Uuid::now_v7().as_u64_pair().1 & ((1 << 53) - 1);
    bits as f64 / (1_u64 << 53) as f64
}
