//! The sending side: rounds of admission until every message has its answer.

use std::{collections::HashSet, sync::Arc, time::Duration};

use statehouse_contracts::{Error, Message, MessageId, Result, SendOptions, Sent};
use tokio::time::Instant;

use super::{
    behind_a_failure, no_room,
    prepare::{Prepared, ordering_key},
    registry::Group,
    room_channel,
    send::{self, Admission},
};
use crate::{engine::Listener, session::Session, time};

/// How often a send that waits for room looks whether messages have expired meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Sends each message; one answer per message, in the same order.
pub(crate) async fn send(
    session: &Session,
    batch: Vec<Message>,
    options: SendOptions,
) -> Result<Vec<Result<Sent>>> {
    session.check_open()?;
    let batch: Vec<_> = batch.into_iter().map(Arc::new).collect();
    match &batch[..] {
        [message] => match send_lone(session, message, options).await {
            Lone::Answered(answer) => Ok(vec![answer]),
            Lone::Untried(error) => Err(error),
            Lone::Full => send_in_rounds(session, &batch, options).await,
        },
        _ => send_in_rounds(session, &batch, options).await,
    }
}

/// What became of a message by itself.
enum Lone {
    Answered(Result<Sent>),
    /// Nothing was done.
    Untried(Error),
    /// It has to wait for room.
    Full,
}

/// Sends one message without what only a batch needs.
async fn send_lone(session: &Session, message: &Arc<Message>, options: SendOptions) -> Lone {
    let prepared = match Prepared::new(message) {
        Ok(prepared) => prepared,
        Err(error) => return Lone::Answered(Err(error)),
    };
    let rules = send::rules(session.ns, session.config(), options.require_route);
    let admission = session.write("send", move |tx| send::take_in_lone(tx, rules, &prepared));
    match admission.await {
        Ok(Admission::Accepted(sent)) => Lone::Answered(Ok(sent)),
        Ok(Admission::Refused(error)) => Lone::Answered(Err(error)),
        Ok(Admission::Full(_)) => Lone::Full,
        Err(error) if error.is_ambiguous() => Lone::Answered(Err(error)),
        Err(error) => Lone::Untried(error),
    }
}

async fn send_in_rounds(
    session: &Session,
    batch: &[Arc<Message>],
    options: SendOptions,
) -> Result<Vec<Result<Sent>>> {
    let mut sending = Sending::new(batch);
    let deadline = time::deadline(options.admission);
    let mut first = true;
    while !sending.is_done() {
        let full = match sending.round(session, options).await {
            Ok(full) => full,
            // Nothing was tried yet, and nothing may have been done.
            Err(error) if first && !error.is_ambiguous() => return Err(error),
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
        } else if let Err(error) = sending
            .wait_for_room(session, options, &full, deadline)
            .await
        {
            sending.fail_rest(&error);
        }
    }
    Ok(sending.into_answers())
}

/// Takes back a message that is not due yet.
pub(crate) async fn cancel(session: &Session, id: MessageId) -> Result<bool> {
    let ns = session.ns;
    session
        .write("cancel", move |tx| send::cancel(tx, ns, id))
        .await
}

/// A batch on its way.
struct Sending {
    messages: Arc<[Option<Prepared>]>,
    answers: Vec<Option<Result<Sent>>>,
    /// The ordering keys of messages that failed.
    failed: HashSet<i64>,
}

/// A message that found a group full, by its place in the batch.
type Full = (usize, Arc<Group>);

impl Sending {
    fn new(batch: &[Arc<Message>]) -> Self {
        let (mut messages, mut answers) = (Vec::new(), Vec::new());
        let mut failed = HashSet::new();
        for message in batch {
            let key = message.ordering_key.as_deref().map(ordering_key);
            let behind = key.is_some_and(|key| failed.contains(&key));
            let (prepared, answer) = match Prepared::new(message) {
                Ok(_) if behind => (None, Some(Err(behind_a_failure()))),
                Ok(prepared) => (Some(prepared), None),
                Err(error) => {
                    failed.extend(key);
                    (None, Some(Err(error)))
                }
            };
            messages.push(prepared);
            answers.push(answer);
        }
        Self {
            messages: messages.into(),
            answers,
            failed,
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

    fn key(&self, at: usize) -> Option<i64> {
        self.messages[at].as_ref()?.key
    }

    fn fail(&mut self, at: usize, error: Error) {
        self.failed.extend(self.key(at));
        self.answers[at] = Some(Err(error));
    }

    /// Tries all that have no answer yet; returns those that found no room.
    async fn round(&mut self, session: &Session, options: SendOptions) -> Result<Vec<Full>> {
        let rules = send::rules(session.ns, session.config(), options.require_route);
        let (messages, pending) = (Arc::clone(&self.messages), self.pending());
        let tried = pending.clone();
        let admissions = session
            .write("send", move |tx| {
                let messages = tried.iter().filter_map(|at| messages[*at].as_ref());
                send::take_in(tx, rules, messages)
            })
            .await?;
        let mut full = Vec::new();
        for (at, admission) in pending.into_iter().zip(admissions) {
            match admission {
                Some(Admission::Accepted(sent)) => self.answers[at] = Some(Ok(sent)),
                Some(Admission::Refused(error)) => self.fail(at, error),
                Some(Admission::Full(group)) => full.push((at, group)),
                None => self.fail_behind(at),
            }
        }
        Ok(full)
    }

    /// Fails a message behind one of its ordering key that failed.
    fn fail_behind(&mut self, at: usize) {
        if self.key(at).is_some_and(|key| self.failed.contains(&key)) {
            self.answers[at] = Some(Err(behind_a_failure()));
        }
    }

    /// Waits until a group may have room. It listens before it tries once more, so that room made
    /// in between is not missed.
    async fn wait_for_room(
        &mut self,
        session: &Session,
        options: SendOptions,
        full: &[Full],
        deadline: Instant,
    ) -> Result<()> {
        let mut groups: HashSet<i64> = full.iter().map(|(_, group)| group.id).collect();
        let mut listener = listen(session, &groups);
        loop {
            let full = self.round(session, options).await?;
            if full.is_empty() || Instant::now() >= deadline {
                return Ok(());
            }
            let now_full: HashSet<i64> = full.iter().map(|(_, group)| group.id).collect();
            if now_full.is_subset(&groups) {
                let soon = time::deadline(LOOK_AGAIN).min(deadline);
                session.wait(&mut listener, soon).await?;
            } else {
                listener = listen(session, &now_full);
                groups = now_full;
            }
        }
    }

    /// Refuses those that found no room in time, and those behind them.
    fn refuse_rest(&mut self, full: &[Full]) {
        for (at, group) in full {
            self.fail(*at, no_room(group));
        }
        for at in self.pending() {
            self.fail_behind(at);
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

fn listen(session: &Session, groups: &HashSet<i64>) -> Listener {
    let channels: Vec<_> = groups.iter().map(|group| room_channel(*group)).collect();
    session.listen(&channels)
}

/// The longest delay: what fits a time.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
