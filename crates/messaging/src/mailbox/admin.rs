//! Looking into mailboxes without taking from them.

use std::time::Duration;

use statehouse_contracts::{
    Bytes, ContentType, Counts, DeadLetter, GroupName, Kind, Message, MessageId, Payload, Priority,
    Received, Result, Timestamp, unescape_word,
};

use super::{Mailboxes, unless_unknown};

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Which one.
    pub id: MessageId,
    /// Who sent it.
    pub sender: Option<String>,
    /// What sort of message it is.
    pub kind: Option<Kind>,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// How urgent it is.
    pub priority: Priority,
    /// The size of its payload in bytes, however it travels.
    pub size: u64,
    /// Its media type.
    pub content_type: ContentType,
    /// How many deliveries it has had.
    pub attempts: u32,
}

impl Pending {
    fn of((received, attempts): (Received, u32)) -> Self {
        let message = received.message;
        let (size, content_type) = match message.payload {
            Payload::Inline {
                bytes,
                content_type,
            } => (bytes.len() as u64, content_type),
            Payload::Reference(reference) => (reference.size, reference.content_type),
        };
        Self {
            id: message.id,
            sender: message.sender,
            kind: message.kind,
            sent_at: received.sent_at,
            expires_at: received.expires_at,
            priority: message.priority,
            size,
            content_type,
            attempts,
        }
    }
}

/// How a mailbox stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailboxStatus {
    /// What it holds.
    pub counts: Counts,
    /// For how long its oldest ready message has been due: the figure to watch.
    pub oldest: Option<Duration>,
}

impl Mailboxes {
    /// What waits for `agent`, at most `max`, in the order in which it would be received, without
    /// taking or resolving anything. An unknown mailbox is empty.
    ///
    /// # Errors
    /// Those of [`QueueAdmin::peek`](statehouse_contracts::QueueAdmin::peek).
    pub async fn pending(&self, agent: &str, max: usize) -> Result<Vec<Pending>> {
        let waiting = self.peek(agent, max).await?;
        Ok(waiting.into_iter().map(Pending::of).collect())
    }

    /// The same messages as a whole.
    ///
    /// # Errors
    /// Those of [`QueueAdmin::peek`](statehouse_contracts::QueueAdmin::peek).
    pub async fn peek(&self, agent: &str, max: usize) -> Result<Vec<(Received, u32)>> {
        let consumer = self.messenger().consumer();
        unless_unknown(consumer.peek(&GroupName::mailbox(agent), max).await)
    }

    /// How `agent`'s mailbox stands. An unknown mailbox is empty.
    ///
    /// # Errors
    /// Those of [`QueueAdmin::counts`](statehouse_contracts::QueueAdmin::counts).
    pub async fn status(&self, agent: &str) -> Result<MailboxStatus> {
        let (consumer, group) = (self.messenger().consumer(), GroupName::mailbox(agent));
        let counts = unless_unknown(consumer.counts(&group).await)?;
        let oldest = match consumer.capability().admin.oldest_age {
            true => unless_unknown(consumer.oldest_ready_age(&group).await)?,
            false => None,
        };
        Ok(MailboxStatus { counts, oldest })
    }

    /// The agents for whom something is ready, by the names of their mailboxes, and how much.
    ///
    /// # Errors
    /// Those of [`QueueAdmin::groups`](statehouse_contracts::QueueAdmin::groups).
    pub async fn agents_with_pending(&self) -> Result<Vec<(String, u64)>> {
        let consumer = self.messenger().consumer();
        let mut agents = Vec::new();
        for status in consumer.groups().await? {
            if !status.group.is_mailbox() {
                continue;
            }
            let counts = unless_unknown(consumer.counts(&status.group).await)?;
            if counts.ready > 0
                && let Some(agent) = self.agent_of(&status.group).await?
            {
                agents.push((agent, counts.ready));
            }
        }
        Ok(agents)
    }

    /// The dead letters of `agent`, oldest first.
    ///
    /// # Errors
    /// Those of [`Messenger::dead_letters`](crate::Messenger::dead_letters).
    pub async fn dead_letters(&self, agent: &str) -> Result<Vec<DeadLetter>> {
        let group = GroupName::mailbox(agent);
        unless_unknown(self.messenger().dead_letters(&group).await)
    }

    /// Puts dead letters of `agent` back: the one with this id, or all. Answers how many; an unknown
    /// mailbox has none.
    ///
    /// # Errors
    /// [`NotFound`](statehouse_contracts::ErrorKind::NotFound) for an unknown id; those of [`Messenger::redrive`](crate::Messenger::redrive).
    pub async fn redrive(&self, agent: &str, id: Option<MessageId>) -> Result<u64> {
        let group = GroupName::mailbox(agent);
        let redriven = self.messenger().redrive(&group, id).await;
        match id {
            Some(_) => redriven,
            None => unless_unknown(redriven),
        }
    }

    /// Deletes the dead letters of `agent`. Answers how many; an unknown mailbox has none.
    ///
    /// # Errors
    /// Those of [`Messenger::purge_dead_letters`](crate::Messenger::purge_dead_letters).
    pub async fn purge_dead_letters(&self, agent: &str) -> Result<u64> {
        let group = GroupName::mailbox(agent);
        unless_unknown(self.messenger().purge_dead_letters(&group).await)
    }

    /// The plain payload of a peeked message or a dead letter.
    ///
    /// # Errors
    /// Those of [`Messenger::resolve`](crate::Messenger::resolve).
    pub async fn resolve(&self, message: &Message) -> Result<Bytes> {
        self.messenger().resolve(&message.payload).await
    }

    /// Whose mailbox `group` is: by its name, or for a long name by what waits in it.
    async fn agent_of(&self, group: &GroupName) -> Result<Option<String>> {
        let word = group.as_str().trim_start_matches("mailbox.");
        if let Some(agent) = unescape_word(word) {
            return Ok(Some(agent));
        }
        let first = unless_unknown(self.messenger().consumer().peek(group, 1).await)?;
        let first = first.into_iter().next();
        Ok(first.and_then(|(received, _)| received.message.recipient))
    }
}
