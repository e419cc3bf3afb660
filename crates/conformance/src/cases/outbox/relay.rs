//! What most cases about the outbox begin with: a relay that holds its lease.

use std::time::Duration;

use statehouse_contracts::{
    Lease, LeaseToken, Message, OutboxEntry, OutboxOutcome, OutboxSettle, Payload, Topic,
    Transaction,
};

use crate::cases::shelf::{LONG, MOST_PAGES, Shelf};
use crate::{Context, Failure, ensure_eq, fail, some};

/// A lease that a case waits out.
pub(super) const BRIEF: Duration = Duration::from_millis(200);

/// A relay of the case's namespace, under a lease that does not end.
#[derive(Clone, Debug)]
pub(super) struct Relay {
    pub(super) shelf: Shelf,
    pub(super) token: LeaseToken,
}

/// A message of `text`.
pub(super) fn message(text: &str) -> Message {
    let topic = Topic::new("t").unwrap_or_else(|error| panic!("topic of a case: {error}"));
    Message::new(topic, Payload::text(text))
}

/// A message of `text` with an ordering key.
pub(super) fn keyed(key: &str, text: &str) -> Message {
    Message {
        ordering_key: Some(key.to_owned()),
        ..message(text)
    }
}

/// The transaction of these messages alone.
pub(super) fn only(messages: impl IntoIterator<Item = Message>) -> Transaction {
    Transaction {
        messages: messages.into_iter().collect(),
        ..Transaction::default()
    }
}

/// The text of an entry.
pub(super) fn said(entry: &OutboxEntry) -> String {
    String::from_utf8_lossy(entry.message.bytes()).into_owned()
}

/// The settle of an entry that was sent.
pub(super) fn sent(entry: &OutboxEntry) -> OutboxSettle {
    OutboxSettle {
        position: entry.position,
        outcome: OutboxOutcome::Sent,
    }
}

/// The settle of an entry that was refused for good.
pub(super) fn parked(entry: &OutboxEntry, reason: &str) -> OutboxSettle {
    OutboxSettle {
        position: entry.position,
        outcome: OutboxOutcome::Parked {
            reason: reason.to_owned(),
        },
    }
}

/// The lease of `owner`, which must be free.
pub(super) async fn lease(shelf: &Shelf, owner: &str, length: Duration) -> Result<Lease, Failure> {
    some(shelf.state.outbox_lease(owner, length).await?, "free lease")
}

impl Relay {
    /// In the case's namespace.
    pub(super) async fn new(cx: &Context) -> Result<Self, Failure> {
        Self::on(Shelf::new(cx).await?).await
    }

    /// On a shelf.
    pub(super) async fn on(shelf: Shelf) -> Result<Self, Failure> {
        let token = lease(&shelf, "relay", LONG).await?.token;
        Ok(Self { shelf, token })
    }

    /// In the case's namespace, with one commit for each message.
    pub(super) async fn with(
        cx: &Context,
        messages: impl IntoIterator<Item = Message> + Send,
    ) -> Result<Self, Failure> {
        let messages: Vec<Message> = messages.into_iter().collect();
        let relay = Self::new(cx).await?;
        for message in messages {
            relay.shelf.state.apply(only([message])).await?;
        }
        Ok(relay)
    }

    /// Entries after a position, as many as there are.
    pub(super) async fn read(&self, after: u64) -> Result<Vec<OutboxEntry>, Failure> {
        let state = &self.shelf.state;
        Ok(state
            .outbox_read(&self.token, after, 0, Duration::ZERO)
            .await?)
    }

    /// What is to be sent must say this, in order.
    pub(super) async fn reads(&self, expected: &[&str]) -> Result<Vec<OutboxEntry>, Failure> {
        let entries = self.read(0).await?;
        let texts: Vec<String> = entries.iter().map(said).collect();
        ensure_eq(texts, expected, "what is to be sent")?;
        Ok(entries)
    }

    /// Settles entries.
    pub(super) async fn settle(
        &self,
        settles: impl IntoIterator<Item = OutboxSettle> + Send,
    ) -> Result<(), Failure> {
        let settles: Vec<OutboxSettle> = settles.into_iter().collect();
        Ok(self.shelf.state.outbox_settle(&self.token, settles).await?)
    }

    /// All parked entries, over pages of any size.
    pub(super) async fn parked(&self, limit: usize) -> Result<Vec<OutboxEntry>, Failure> {
        let (mut all, mut after) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let page = self
                .shelf
                .state
                .outbox_parked(limit, after.as_ref())
                .await?;
            all.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
        fail("the pages come to no end")
    }

    /// So many entries must wait to be sent.
    pub(super) async fn depth_is(&self, expected: u64) -> Result<(), Failure> {
        let depth = self.shelf.state.outbox_depth().await?;
        ensure_eq(depth, expected, "the depth of the outbox")
    }
}
