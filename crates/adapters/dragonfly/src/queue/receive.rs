//! The receiving side: waiting for messages, and handing them over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::types::Value;
use statehouse_contracts::{Delivery, Error, ErrorKind, GroupName, Lease, Receive, Result, Topic};
use tokio::sync::oneshot;

use super::bell::Bell;
use super::held::Held;
use super::registry::Group;
use super::reply::{Reply, senseless};
use super::token::Token;
use super::{Desk, MAX_BYTES, MAX_RECEIVE, groups, random_word, scripts, settle};
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
enum Look {
    Leased(Batch),
    /// Nothing, for this long unless something happens before.
    Nothing(Option<Duration>),
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
        Look::Leased(batch) => return batch.deliveries().map(Some),
        Look::Gone => return Ok(None),
        Look::Nothing(_) if tokio::time::Instant::now() >= until => return Ok(Some(Vec::new())),
        Look::Nothing(_) => {}
    }
    let bell = desk.queue.bells.of(desk, group).await?;
    loop {
        let turn = Turn { bell: &bell };
        match look(desk, group, wanted).await? {
            Look::Leased(batch) => return batch.deliveries().map(Some),
            Look::Gone => return Ok(None),
            Look::Nothing(next) => turn.over(next),
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

/// Looks once, in a task of its own: when the caller is dropped meanwhile, what was leased goes
/// back, and the attempt does not count.
async fn look(desk: &Desk, group: &Arc<Group>, wanted: Receive) -> Result<Look> {
    desk.session.check_open("receive")?;
    let (answer, question) = oneshot::channel();
    let (desk, group) = (desk.clone(), Arc::clone(group));
    let giver = desk.clone();
    tokio::spawn(async move {
        let looked = look_now(&desk, &group, wanted).await;
        if let Err(Ok(Look::Leased(batch))) = answer.send(looked) {
            batch.give_back(&desk).await;
        }
    });
    let mut handover = Handover {
        question: Some(question),
        desk: giver,
    };
    handover.take().await
}

/// Waits for what was leased.
struct Handover {
    question: Option<oneshot::Receiver<Result<Look>>>,
    desk: Desk,
}

impl Handover {
    async fn take(&mut self) -> Result<Look> {
        let Some(question) = &mut self.question else {
            return Err(Error::internal("a receive was asked twice"));
        };
        let answer = question.await;
        self.question = None;
        answer.unwrap_or_else(|_| Err(Error::internal("a receive was given up")))
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        let Some(mut question) = self.question.take() else {
            return;
        };
        // What comes from now on the other side gives back.
        question.close();
        if let Ok(Ok(Look::Leased(batch))) = question.try_recv()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let desk = self.desk.clone();
            runtime.spawn(async move { batch.give_back(&desk).await });
        }
    }
}

async fn look_now(desk: &Desk, group: &Arc<Group>, wanted: Receive) -> Result<Look> {
    let lease = wanted.lease.unwrap_or(group.spec.lease);
    let arguments: Vec<Value> = vec![
        wanted.max.to_string().into(),
        MAX_BYTES.to_string().into(),
        micros(lease).to_string().into(),
    ];
    let asked = Instant::now();
    let mut arguments = arguments;
    arguments.push(random_word().into());
    let mut keys = desk.queue.shared_keys();
    keys.extend_from_slice(&group.keys);
    loop {
        let mut all = vec![group.promise.clone()];
        all.extend_from_slice(&arguments);
        let answer = desk.run("receive", &scripts::RECEIVE, keys.clone(), all);
        let mut reply = Reply::new(answer.await?);
        match reply.text()?.as_str() {
            "GONE" => return Ok(Look::Gone),
            "AGAIN" => {}
            "NOTHING" => {
                let next = reply.text()?;
                let span = next.parse().ok().map(Duration::from_micros);
                return Ok(Look::Nothing(span));
            }
            "LEASED" => {
                let deadline = asked.checked_add(lease).unwrap_or(asked);
                return Batch::read(group, deadline, reply).map(Look::Leased);
            }
            _ => return Err(senseless()),
        }
    }
}

/// Messages that were handed out together.
#[derive(Debug)]
struct Batch {
    group: Arc<Group>,
    deadline: Instant,
    /// Their leased words, and their stored forms.
    messages: Vec<(String, Option<Bytes>)>,
}

impl Batch {
    fn read(group: &Arc<Group>, deadline: Instant, mut reply: Reply) -> Result<Self> {
        let mut messages = Vec::with_capacity(reply.len() / 2);
        while !reply.is_empty() {
            messages.push((reply.text()?, reply.bytes()?));
        }
        Ok(Self {
            group: Arc::clone(group),
            deadline,
            messages,
        })
    }

    fn deliveries(self) -> Result<Vec<Delivery>> {
        let size = self.messages.len();
        let deliver = |(place, (word, stored)): (usize, (String, Option<Bytes>))| {
            let held = Held::read(&word)?;
            let token = Token {
                group: self.group.id.clone(),
                place,
                size,
                word,
            };
            Ok(Delivery {
                received: held.received(stored)?,
                group: self.group.name.clone(),
                attempt: held.attempts,
                lease: Lease {
                    token: token.seal()?,
                    deadline: self.deadline,
                },
            })
        };
        self.messages.into_iter().enumerate().map(deliver).collect()
    }

    /// Takes back what nobody got. If it fails the leases run out.
    async fn give_back(self, desk: &Desk) {
        let words = self.messages.into_iter().map(|(word, _)| word).collect();
        if let Err(error) = settle::give_back(desk, &self.group, words).await {
            tracing::debug!(%error, "messages that nobody got come back when their leases end");
        }
    }
}
