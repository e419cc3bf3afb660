//! The receiving side: waiting for messages, and handing them over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::types::Value;
use statehouse_contracts::{Delivery, Error, ErrorKind, GroupName, Lease, Receive, Result, Topic};

use super::bell::Bell;
use super::held::Held;
use super::registry::Group;
use super::token::Token;
use super::{Desk, MAX_BYTES, MAX_RECEIVE, groups, random_word, scripts, settle};
use crate::reply::{Row, senseless};
use crate::rounds::Call;
use crate::time::{self, micros};

/// Takes up to `max` messages: at once what is there, else waits for the first.
pub(crate) async fn receive(
    desk: &Desk,
    name: &GroupName,
    receive: Receive,
) -> Result<Vec<Delivery>> {
    let wanted = Receive {
        max: receive.max.min(MAX_RECEIVE),
        ..receive
    };
    let until = time::deadline(wanted.wait);
    let mut current = group(desk, name).await?;
    loop {
        match receive_from(desk, &current, wanted, until).await? {
            Some(deliveries) => return Ok(deliveries),
            None => current = successor(desk, name, &current).await?,
        }
    }
}

/// The group; a mailbox that is not there is declared.
async fn group(desk: &Desk, name: &GroupName) -> Result<Arc<Group>> {
    desk.session.check_open("receive")?;
    match groups::find(desk, "receive", name).await {
        Err(error) if error.kind() == ErrorKind::NotFound && name.is_mailbox() => {
            groups::declare_mailbox(desk, &Topic::new(name.as_str())?).await?;
            let (group, _) = groups::find(desk, "receive", name).await?;
            Ok(group)
        }
        found => found.map(|(group, _)| group),
    }
}

/// The group that has taken the name of one that is gone.
async fn successor(desk: &Desk, name: &GroupName, gone: &Group) -> Result<Arc<Group>> {
    let registries = &desk.queue.registries;
    let registry = registries.get(desk, "receive").await?;
    if registry
        .named(name)
        .is_some_and(|group| group.id == gone.id)
    {
        registries.after(desk, "receive", &registry).await?;
    }
    match group(desk, name).await? {
        group if group.id == gone.id => Err(groups::unknown("receive", name)),
        group => Ok(group),
    }
}

/// What a look for messages finds.
#[derive(Debug)]
pub(super) enum Look {
    Leased(Handed),
    /// Nothing, for this long unless something happens before.
    Nothing(Option<Duration>),
    /// Others who looked together with this one got what there was.
    Again,
    /// The group is not there any more.
    Gone,
}

/// Receives from a group; `None` when it is gone.
async fn receive_from(
    desk: &Desk,
    group: &Arc<Group>,
    wanted: Receive,
    until: tokio::time::Instant,
) -> Result<Option<Vec<Delivery>>> {
    match look(desk, group, wanted).await? {
        Look::Leased(handed) => return handed.deliveries().map(Some),
        Look::Gone => return Ok(None),
        Look::Nothing(_) if tokio::time::Instant::now() >= until => return Ok(Some(Vec::new())),
        Look::Nothing(_) | Look::Again => {}
    }
    let bell = desk.queue.bells.of(desk, group).await?;
    loop {
        let turn = Turn { bell: &bell };
        match look(desk, group, wanted).await? {
            Look::Leased(handed) => return handed.deliveries().map(Some),
            Look::Gone => return Ok(None),
            Look::Nothing(next) => turn.over(next),
            Look::Again => {}
        }
        tokio::select! {
            () = desk.session.closed() => {
                return Err(Error::closed().with_operation("receive"));
            }
            () = tokio::time::sleep_until(until) => return Ok(Some(Vec::new())),
            () = bell.rings() => {}
        }
    }
}

/// The turn of one who looks. Unless it finds nothing it wakes the next, since there may be more,
/// or since whatever it was woken for is still there.
struct Turn<'b> {
    bell: &'b Bell,
}

impl Turn<'_> {
    /// Nothing was found, nor will be for a while.
    fn over(self, next: Option<Duration>) {
        if let Some(next) = next {
            self.bell.ring_in(next);
        }
        std::mem::forget(self);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.bell.ring();
    }
}

/// Looks until the answer is one for this caller.
async fn look(desk: &Desk, group: &Arc<Group>, wanted: Receive) -> Result<Look> {
    let lease = wanted.lease.unwrap_or(group.spec.lease);
    loop {
        desk.session.check_open("receive")?;
        let wish = Wish {
            desk: desk.clone(),
            group: Arc::clone(group),
            max: wanted.max,
            lease,
        };
        let lane = (group.id.clone(), lease);
        match desk.queue.receives.call(lane, wish).await? {
            Look::Again => {}
            found => return Ok(found),
        }
    }
}

/// A caller's wish for messages, which travels with those of others for the same group.
pub(super) struct Wish {
    desk: Desk,
    group: Arc<Group>,
    max: usize,
    lease: Duration,
}

impl Call for Wish {
    /// The group and the lease.
    type Lane = (String, Duration);
    type Answer = Look;

    const MOST: usize = MAX_RECEIVE;
    /// Messages that are leased to nobody would come back only after their lease.
    const OUTLIVES_CALLER: bool = true;

    fn weight(&self) -> usize {
        self.max
    }

    async fn make(wishes: Vec<Self>) -> Result<Vec<Look>> {
        let Some(first) = wishes.first() else {
            return Ok(Vec::new());
        };
        let max = wishes.iter().map(|wish| wish.max).sum();
        let mut found = look_now(&first.desk, &first.group, max, first.lease).await?;
        let share = |wish: &Wish| found.share(wish.max, &wish.desk);
        Ok(wishes.iter().map(share).collect())
    }
}

/// What was found for all who looked together.
enum Found {
    Leased(Batch),
    Nothing(Option<Duration>),
    Gone,
}

impl Found {
    /// The share of one who wants up to `max`.
    fn share(&mut self, max: usize, desk: &Desk) -> Look {
        match self {
            Self::Leased(batch) if batch.messages.is_empty() => Look::Again,
            Self::Leased(batch) => Look::Leased(Handed {
                batch: Some(batch.split(max)),
                desk: desk.clone(),
            }),
            Self::Nothing(next) => Look::Nothing(*next),
            Self::Gone => Look::Gone,
        }
    }
}

async fn look_now(desk: &Desk, group: &Arc<Group>, max: usize, lease: Duration) -> Result<Found> {
    let asked = Instant::now();
    let arguments: [Value; 5] = [
        group.promise.clone(),
        max.to_string().into(),
        MAX_BYTES.to_string().into(),
        micros(lease).to_string().into(),
        random_word().into(),
    ];
    let mut keys = desk.queue.shared_keys();
    keys.extend_from_slice(&group.keys);
    let client = &desk.store().client;
    loop {
        let (keys, arguments) = (keys.clone(), arguments.to_vec());
        let answer = client.script("receive", &scripts::RECEIVE, keys, arguments);
        let mut reply = Row::from(answer.await?);
        match reply.text()?.as_str() {
            "GONE" => return Ok(Found::Gone),
            "AGAIN" => {}
            "NOTHING" => {
                let next = reply.text()?;
                let span = next.parse().ok().map(Duration::from_micros);
                return Ok(Found::Nothing(span));
            }
            "LEASED" => {
                let deadline = asked.checked_add(lease).unwrap_or(asked);
                return Batch::read(group, deadline, reply).map(Found::Leased);
            }
            _ => return Err(senseless()),
        }
    }
}

/// Messages on their way to a caller. When the caller is gone they go back, and the attempt does
/// not count.
#[derive(Debug)]
pub(super) struct Handed {
    batch: Option<Batch>,
    desk: Desk,
}

impl Handed {
    fn deliveries(mut self) -> Result<Vec<Delivery>> {
        let batch = self.batch.take();
        batch.map_or_else(|| Ok(Vec::new()), Batch::deliveries)
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let desk = self.desk.clone();
            runtime.spawn(async move { batch.give_back(&desk).await });
        }
    }
}

/// Messages that were handed out together, or some of them.
#[derive(Debug)]
struct Batch {
    group: Arc<Group>,
    deadline: Instant,
    /// How many were handed out together.
    size: usize,
    /// The places, leased words and stored forms.
    messages: Vec<(usize, String, Option<Bytes>)>,
}

impl Batch {
    fn read(group: &Arc<Group>, deadline: Instant, mut reply: Row) -> Result<Self> {
        let size = reply.len() / 2;
        let mut messages = Vec::with_capacity(size);
        for place in 0..size {
            messages.push((place, reply.text()?, reply.optional_bytes()?));
        }
        Ok(Self {
            group: Arc::clone(group),
            deadline,
            size,
            messages,
        })
    }

    /// Takes the first out, up to `max`.
    fn split(&mut self, max: usize) -> Self {
        let rest = self.messages.split_off(self.messages.len().min(max));
        Self {
            group: Arc::clone(&self.group),
            messages: std::mem::replace(&mut self.messages, rest),
            ..*self
        }
    }

    fn token(&self, place: usize, word: String) -> Token {
        Token {
            group: self.group.id.clone(),
            place,
            size: self.size,
            word,
        }
    }

    fn deliveries(mut self) -> Result<Vec<Delivery>> {
        let messages = std::mem::take(&mut self.messages);
        let deliver = |(place, word, stored): (usize, String, Option<Bytes>)| {
            let held = Held::read(&word)?;
            Ok(Delivery {
                received: held.received(stored)?,
                group: self.group.name.clone(),
                attempt: held.attempts,
                lease: Lease {
                    token: self.token(place, word).seal()?,
                    deadline: self.deadline,
                },
            })
        };
        messages.into_iter().map(deliver).collect()
    }

    /// Takes back what nobody got. If it fails the leases run out.
    async fn give_back(mut self, desk: &Desk) {
        let messages = std::mem::take(&mut self.messages);
        let tokens = messages
            .into_iter()
            .map(|(place, word, _)| self.token(place, word));
        if let Err(error) = settle::give_back(desk, &self.group, tokens).await {
            tracing::debug!(%error, "messages that nobody got come back when their leases end");
        }
    }
}
