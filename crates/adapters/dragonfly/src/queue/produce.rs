//! The sending side: rounds of admission until every message has its answer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fred::interfaces::KeysInterface;
use fred::types::Value;
use statehouse_contracts::{
    Error, ErrorKind, GroupName, Message, MessageId, Result, SendOptions, Sent,
};
use tokio::time::Instant;

use super::prepare::{self, Prepared};
use super::registry::{self, Group, Registry};
use super::request::{Alone, Request, Took, is_plain};
use super::room::{Full, Listeners};
use super::{Desk, behind_a_failure, groups, scripts};
use crate::reply::{Reply, senseless};
use crate::time;

/// How often a send that waits for room looks whether messages have expired meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The most messages of one script, and the most bytes, unless a single message has more.
const AT_ONCE: usize = 512;
const BYTES_AT_ONCE: usize = 4 << 20;

/// Sends each message; one answer per message, in the same order.
pub(crate) async fn send(
    desk: &Desk,
    batch: Vec<Message>,
    options: SendOptions,
) -> Result<Vec<Result<Sent>>> {
    desk.session.check_open("send")?;
    let mut sending = Sending::new(desk, &batch);
    let deadline = time::deadline(options.admission);
    let mut first = true;
    while !sending.is_done() {
        let full = match sending.round(options).await {
            Ok(full) => full,
            // Nothing was tried yet, and nothing may have been done.
            Err(error) if first && sending.tried == 0 && !error.is_ambiguous() => {
                return Err(error);
            }
            Err(error) => {
                sending.fail_rest(&error);
                break;
            }
        };
        first = false;
        if full.is_empty() {
            continue;
        }
        if Instant::now() >= deadline {
            sending.refuse_rest(&full);
        } else if let Err(error) = sending.wait_for_room(options, &full, deadline).await {
            sending.fail_rest(&error);
        }
    }
    Ok(sending.into_answers())
}

/// Takes back a message that is not due yet.
pub(crate) async fn cancel(desk: &Desk, id: MessageId) -> Result<bool> {
    desk.session.check_open("cancel")?;
    let schedule = prepare::schedule(&desk.session.keys, id);
    let read = schedule.clone();
    let client = &desk.store().client;
    let scheduled = client.run("cancel", false, |commands| async move {
        commands.get::<Option<String>, _>(read).await
    });
    let Some(scheduled) = scheduled.await? else {
        return Ok(false);
    };
    let registry = desk.queue.registries.get(desk, "cancel").await?;
    let mut keys = desk.queue.shared_keys();
    keys.push(schedule);
    let id = bytes::Bytes::copy_from_slice(id.0.as_bytes());
    let mut arguments: Vec<Value> = vec![scheduled.as_str().into(), id.into()];
    for state in scheduled.lines().filter_map(|line| line.split(' ').next()) {
        keys.extend(registry::keys_of_state(state));
        arguments.push(registry.promise_of_state(state));
    }
    let taken = desk
        .run("cancel", &scripts::CANCEL, keys, arguments)
        .await?;
    Ok(Reply::from(taken).number::<i64>()? == 1)
}

/// A batch on its way.
pub(super) struct Sending<'d> {
    desk: &'d Desk,
    messages: Vec<Option<Arc<Prepared>>>,
    pub(super) answers: Vec<Option<Result<Sent>>>,
    /// The ordering keys of messages that failed.
    failed: HashSet<String>,
    /// How many scripts were answered.
    tried: usize,
}

impl<'d> Sending<'d> {
    pub(super) fn new(desk: &'d Desk, batch: &[Message]) -> Self {
        let mut sending = Self {
            desk,
            messages: Vec::with_capacity(batch.len()),
            answers: Vec::with_capacity(batch.len()),
            failed: HashSet::new(),
            tried: 0,
        };
        for message in batch {
            let (prepared, answer) = sending.prepare(message);
            sending.messages.push(prepared);
            sending.answers.push(answer);
        }
        sending
    }

    fn prepare(&mut self, message: &Message) -> (Option<Arc<Prepared>>, Option<Result<Sent>>) {
        let key = message.ordering_key.as_deref().map(prepare::word);
        let behind = key.as_ref().is_some_and(|key| self.failed.contains(key));
        match Prepared::new(&self.desk.session.keys, message) {
            Ok(_) if behind => (None, Some(Err(behind_a_failure()))),
            Ok(prepared) => (Some(Arc::new(prepared)), None),
            Err(error) => {
                self.failed.extend(key);
                (None, Some(Err(error)))
            }
        }
    }

    fn is_done(&self) -> bool {
        self.answers.iter().all(Option::is_some)
    }

    fn pending(&self) -> Vec<usize> {
        let answers = self.answers.iter().enumerate();
        answers
            .filter(|(_, answer)| answer.is_none())
            .map(|(at, _)| at)
            .collect()
    }

    fn message(&self, at: usize) -> Result<&Arc<Prepared>> {
        let missing = || Error::internal("a message was answered before it was sent");
        self.messages[at].as_ref().ok_or_else(missing)
    }

    /// Whether a message of its ordering key that was sent before it failed.
    fn is_behind(&self, at: usize) -> bool {
        let key = self.messages[at].as_ref().map(|message| &message.key);
        key.is_some_and(|key| self.failed.contains(key))
    }

    fn fail(&mut self, at: usize, error: Error) {
        let key = self.messages[at]
            .as_ref()
            .map(|message| message.key.clone());
        self.failed.extend(key.filter(|key| !key.is_empty()));
        self.answers[at] = Some(Err(error));
    }

    /// Tries all that have no answer yet; returns those that found no room.
    async fn round(&mut self, options: SendOptions) -> Result<Vec<Full>> {
        let mut full: Vec<Full> = Vec::new();
        let pending = self.pending();
        let mut rest = &pending[..];
        while !rest.is_empty() {
            let count = self.fitting(rest);
            let (some, others) = rest.split_at(count);
            rest = others;
            let held_up: HashSet<String> = full
                .iter()
                .filter_map(|(at, _)| self.messages[*at].as_ref())
                .map(|message| message.key.clone())
                .filter(|key| !key.is_empty())
                .collect();
            let mut tried = Vec::with_capacity(some.len());
            for at in some.iter().copied() {
                if self.is_behind(at) {
                    self.answers[at] = Some(Err(behind_a_failure()));
                } else if !held_up.contains(&self.message(at)?.key) {
                    tried.push(at);
                }
            }
            full.extend(self.try_some(options, &tried).await?);
        }
        Ok(full)
    }

    /// How many of these fit one script.
    fn fitting(&self, places: &[usize]) -> usize {
        let mut bytes = 0;
        let fits = |at: &&usize| {
            bytes += self.messages[**at]
                .as_ref()
                .map_or(0, |message| message.stored.len());
            bytes <= BYTES_AT_ONCE
        };
        let fitting = places.iter().take(AT_ONCE).take_while(fits).count();
        fitting.max(1)
    }

    /// Tries these; returns those that found no room. Whatever waits for those has no answer.
    async fn try_some(&mut self, options: SendOptions, places: &[usize]) -> Result<Vec<Full>> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let registries = &self.desk.queue.registries;
        let mut registry = registries.get(self.desk, "send").await?;
        loop {
            registry = self.with_mailboxes(registry, places).await?;
            let took = match places {
                [at] => self.send_one(options, &registry, *at).await?,
                _ => self.send_batch(options, &registry, places).await?,
            };
            self.tried += 1;
            if let Some(took) = took {
                return self.note(took, places);
            }
            registry = registries.after(self.desk, "send", &registry).await?;
        }
    }

    /// Sends one message, together with others that are alone; `None` when the groups have changed.
    async fn send_one(
        &self,
        options: SendOptions,
        registry: &Arc<Registry>,
        at: usize,
    ) -> Result<Option<Took>> {
        self.desk.session.check_open("send")?;
        let alone = Alone {
            desk: self.desk.clone(),
            registry: Arc::clone(registry),
            message: Arc::clone(self.message(at)?),
            options,
            is_plain: is_plain(registry, self.message(at)?),
        };
        let epoch = Arc::clone(&registry.epoch);
        let lane = (options.require_route, alone.is_plain, epoch);
        self.desk.queue.sends.call(lane, alone).await
    }

    async fn send_batch(
        &self,
        options: SendOptions,
        registry: &Registry,
        places: &[usize],
    ) -> Result<Option<Took>> {
        let messages = self.prepared(places)?;
        let request = if messages.iter().all(|message| is_plain(registry, message)) {
            Request::plain(self.desk, options, registry, &messages)
        } else {
            Request::new(self.desk, options, registry, &messages, false)
        };
        self.desk.session.check_open("send")?;
        request.send(self.desk).await
    }

    /// The registry, with the mailboxes that these go to.
    pub(super) async fn with_mailboxes(
        &self,
        mut registry: Arc<Registry>,
        places: &[usize],
    ) -> Result<Arc<Registry>> {
        for at in places.iter().copied() {
            let topic = &self.message(at)?.topic;
            if !topic.is_mailbox() || registry.named(&GroupName::new(topic.as_str())?).is_some() {
                continue;
            }
            groups::declare_mailbox(self.desk, topic).await?;
            let registries = &self.desk.queue.registries;
            registry = registries.after(self.desk, "send", &registry).await?;
        }
        Ok(registry)
    }

    pub(super) fn request(
        &self,
        options: SendOptions,
        registry: &Registry,
        places: &[usize],
    ) -> Result<Request> {
        let messages = self.prepared(places)?;
        let request = Request::new(self.desk, options, registry, &messages, false);
        Ok(request)
    }

    fn prepared(&self, places: &[usize]) -> Result<Vec<&Prepared>> {
        let messages = places.iter().map(|at| self.message(*at));
        let messages = messages.map(|message| message.map(|message| &**message));
        messages.collect()
    }

    /// Notes the answers to these; returns those that found no room.
    fn note(&mut self, took: Took, places: &[usize]) -> Result<Vec<Full>> {
        let mut full = Vec::new();
        for (at, (answer, routed)) in places.iter().copied().zip(took.answers) {
            let (kind, rest) = answer.split_at_checked(1).ok_or_else(senseless)?;
            match kind {
                b"A" => {
                    let id = self.message(at)?.id;
                    self.answers[at] = Some(Ok(sent(id, routed as u64, None)));
                }
                b"D" => {
                    let (earlier, routed) = remembered(rest)?;
                    self.answers[at] = Some(Ok(sent(earlier, routed, Some(earlier))));
                }
                b"C" => self.fail(at, used_before(remembered(rest)?.0)),
                b"N" => {
                    let error = no_route(self.message(at)?);
                    self.fail(at, error);
                }
                b"F" => {
                    let number = std::str::from_utf8(rest).ok().and_then(|n| n.parse().ok());
                    let group =
                        number.and_then(|number: usize| took.groups.get(number.checked_sub(1)?));
                    full.push((at, Arc::clone(group.ok_or_else(senseless)?)));
                }
                _ if self.is_behind(at) => self.answers[at] = Some(Err(behind_a_failure())),
                // What it waits for found no room.
                _ => {}
            }
        }
        Ok(full)
    }

    /// Waits until a group may have room. It listens before it tries once more, so that room made
    /// in between is not missed.
    async fn wait_for_room(
        &mut self,
        options: SendOptions,
        full: &[Full],
        deadline: Instant,
    ) -> Result<()> {
        let mut listeners = Listeners::new();
        listeners.listen(self.desk, full).await?;
        loop {
            listeners.mark();
            let full = self.round(options).await?;
            if full.is_empty() || Instant::now() >= deadline {
                return Ok(());
            }
            listeners.listen(self.desk, &full).await?;
            let soon = time::deadline(LOOK_AGAIN).min(deadline);
            listeners.wait(self.desk, soon).await?;
        }
    }

    /// Refuses those that found no room in time, and those behind them.
    fn refuse_rest(&mut self, full: &[Full]) {
        for (at, group) in full {
            self.fail(*at, no_room(group));
        }
        for at in self.pending() {
            if self.is_behind(at) {
                self.answers[at] = Some(Err(behind_a_failure()));
            }
        }
    }

    fn fail_rest(&mut self, error: &Error) {
        for at in self.pending() {
            self.answers[at] = Some(Err(error.replicate()));
        }
    }

    fn into_answers(self) -> Vec<Result<Sent>> {
        let missing = || Err(Error::internal("a message was not answered"));
        self.answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(missing))
            .collect()
    }
}

fn sent(id: MessageId, routed: u64, duplicate_of: Option<MessageId>) -> Sent {
    Sent {
        id,
        routed: Some(routed),
        duplicate_of,
    }
}

/// The id and the number of groups of what was accepted before: id, fingerprint, time, number.
pub(super) fn remembered(value: &[u8]) -> Result<(MessageId, u64)> {
    let id = value.first_chunk::<16>().ok_or_else(senseless)?;
    let routed = value
        .get(40..)
        .and_then(|text| std::str::from_utf8(text).ok());
    let routed = routed
        .and_then(|text| text.parse().ok())
        .ok_or_else(senseless)?;
    Ok((MessageId(uuid::Uuid::from_bytes(*id)), routed))
}

pub(super) fn used_before(by: MessageId) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("the idempotency key was used by message {by} with other content"),
    )
}

fn no_route(message: &Prepared) -> Error {
    Error::not_found(format!("no group hears the topic {}", message.topic))
}

pub(super) fn no_room(group: &Group) -> Error {
    let most = group.spec.max_length.unwrap_or_default();
    Error::new(
        ErrorKind::Overloaded,
        format!("the group is full with {most} messages"),
    )
    .with_context("group", &group.name)
}
