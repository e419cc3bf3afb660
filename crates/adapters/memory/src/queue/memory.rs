//! What a queue remembers of messages besides those in its groups.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use statehouse_contracts::{Message, MessageId};

use crate::queue::accepted::{Accepted, Digest};
use crate::time::Time;

/// What a message is accepted once by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DedupKey {
    Id(MessageId),
    Given(Arc<str>),
}

impl DedupKey {
    /// A key that spells the id of another message is the same key.
    pub(crate) fn of(message: &Message) -> Self {
        match &message.idempotency_key {
            None => DedupKey::Id(message.id),
            Some(key) => match key.parse::<MessageId>() {
                Ok(id) if id.to_string() == *key => DedupKey::Id(id),
                _ => DedupKey::Given(key.as_str().into()),
            },
        }
    }
}

/// An accepted message, as repeats of it are answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) id: MessageId,
    pub(crate) digest: Digest,
    pub(crate) routed: u64,
}

/// A message that is not due yet, and where it lies: groups and items.
#[derive(Debug)]
pub(crate) struct Scheduled {
    pub(crate) accepted: Arc<Accepted>,
    pub(crate) places: Vec<(usize, usize)>,
}

/// The messages that can be cancelled.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    by_id: HashMap<MessageId, Scheduled>,
    by_due: BTreeSet<(Time, MessageId)>,
}

impl Schedule {
    /// Notes a message. Of those with one id the last can be cancelled.
    pub(crate) fn insert(&mut self, accepted: &Arc<Accepted>) {
        let id = accepted.message().id;
        self.remove(id);
        self.by_due.insert((accepted.due, id));
        let scheduled = Scheduled {
            accepted: accepted.clone(),
            places: Vec::new(),
        };
        self.by_id.insert(id, scheduled);
    }

    /// Notes where a scheduled message lies.
    pub(crate) fn place(&mut self, id: MessageId, group: usize, item: usize) {
        if let Some(scheduled) = self.by_id.get_mut(&id) {
            scheduled.places.push((group, item));
        }
    }

    pub(crate) fn remove(&mut self, id: MessageId) -> Option<Scheduled> {
        let scheduled = self.by_id.remove(&id)?;
        self.by_due.remove(&(scheduled.accepted.due, id));
        Some(scheduled)
    }

    /// Forgets what is due.
    pub(crate) fn advance(&mut self, now: Time) {
        while let Some((due, id)) = self.by_due.first().copied()
            && due <= now
        {
            self.remove(id);
        }
    }
}

/// The latest messages, for groups that start at the earliest one.
#[derive(Debug)]
pub(crate) struct Retained {
    max_bytes: u64,
    bytes: u64,
    messages: VecDeque<Arc<Accepted>>,
}

impl Retained {
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            messages: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, accepted: &Arc<Accepted>) {
        if self.max_bytes == 0 {
            return;
        }
        self.bytes += size(accepted);
        self.messages.push_back(accepted.clone());
        while self.bytes > self.max_bytes
            && let Some(oldest) = self.messages.pop_front()
        {
            self.bytes -= size(&oldest);
        }
    }

    /// What can still be handed out, in the order sent.
    pub(crate) fn open(&self, now: Time) -> Vec<Arc<Accepted>> {
        let open = |message: &&Arc<Accepted>| !message.is_cancelled() && !message.has_expired(now);
        self.messages.iter().filter(open).cloned().collect()
    }
}

/// About what it takes.
fn size(accepted: &Accepted) -> u64 {
    const OVERHEAD: u64 = 512;
    let message = accepted.message();
    let headers = message
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len());
    OVERHEAD + (message.bytes().len() + headers.sum::<usize>()) as u64
}
