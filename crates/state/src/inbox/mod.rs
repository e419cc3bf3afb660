//! Consuming-side deduplication: a handler's effect happens once, although its message comes again.

mod consumer;
mod processor;

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use statehouse_contracts::{
    Applied, ContentType, Delivery, ErrorKind, GroupName, Kind, Message, Operation, Precondition,
    Prune, Pruned, Result, StateKey, StateManager, Transaction, Write,
};
use tokio_util::sync::CancellationToken;

pub use consumer::Deduplicated;
pub use processor::{MessageContext, MessageHandler, MessageProcessor, MessageProcessorOptions};

/// What became of an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once {
    /// It was applied now, with the mark that says so.
    Applied(Applied),
    /// It had been applied before: nothing was done.
    Known,
}

/// Remembers which messages a group has dealt with: one *mark* per group and message, a record of
/// the kind [`Inbox::KIND`].
///
/// A queue delivers at least once: after a lost ack, a lease that ended too early, or the crash of
/// a broker that forgets acks, a message comes again. With the mark in the same transaction as the
/// effect ([`Inbox::apply_once`]), the effect happens once all the same, whatever crashes in
/// between and however many consumers have the message in hand:
///
/// | crash | what follows |
/// |---|---|
/// | before the transaction | nothing happened; the message comes again and is handled |
/// | after it, before the ack | the message comes again, is known, and is acknowledged |
/// | after the ack, which the broker forgets | the same |
/// | two consumers at once | the mark is written under `Absent`: one transaction wins |
///
/// - Messages are told apart by their idempotency key, or by their id where they have none. So two
///   sends of one key, to a queue without a dedup window, are one message here.
/// - A mark expires after the time that the inbox was made with: longer than the queue may
///   redeliver. [`Inbox::clean`] forgets what has expired. As forgetting any record it raises the
///   namespace's version floor.
/// - A dead letter leaves no mark: redriven, it is handled.
/// - The effect is what the transaction holds: writes, and messages by its outbox or into local
///   groups. What a handler does elsewhere may happen again.
#[derive(Clone, Debug)]
pub struct Inbox {
    state: Arc<dyn StateManager>,
    kind: Kind,
    remember: Duration,
}

impl Inbox {
    /// The kind of the marks. There are no state events of it.
    pub const KIND: &'static str = "statehouse.inbox";
    /// How long marks last unless told otherwise: 7 days.
    pub const REMEMBER: Duration = Duration::from_secs(7 * 24 * 3600);
    /// The longest idempotency key that stands in a mark's id; a longer one is hashed.
    const LONGEST: usize = 128;

    /// An inbox of the namespace of `state`, whose marks last for `remember`.
    ///
    /// # Errors
    /// Never in practice: the fixed kind is a valid name.
    pub fn new(state: Arc<dyn StateManager>, remember: Duration) -> Result<Self> {
        Ok(Self {
            state,
            kind: Kind::new(Self::KIND)?,
            remember,
        })
    }

    /// The key of the mark of `message` in `group`.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for an idempotency key with control
    /// characters, which no producer takes.
    pub fn key(&self, group: &GroupName, message: &Message) -> Result<StateKey> {
        let name = match &message.idempotency_key {
            Some(key) if key.len() > Self::LONGEST => {
                let digest = Sha256::digest(key.as_bytes());
                format!("#{}", base16(&digest))
            }
            Some(key) => format!("={key}"),
            None => format!("={}", message.id),
        };
        StateKey::parse(self.kind.as_str(), &format!("{group}/{name}"))
    }

    /// Which of the deliveries have been dealt with, in their order.
    ///
    /// # Errors
    /// Those of [`StateManager::get_many`].
    pub async fn known(&self, deliveries: &[Delivery]) -> Result<Vec<bool>> {
        let keys: Result<Vec<StateKey>> = deliveries
            .iter()
            .map(|delivery| self.key(&delivery.group, delivery.message()))
            .collect();
        let mut known = Vec::with_capacity(deliveries.len());
        for some in keys?.chunks(self.state.capability().max_page.max(1)) {
            let marks = self.state.get_many(some).await?;
            known.extend(marks.iter().map(Option::is_some));
        }
        Ok(known)
    }

    /// Applies `effect` with the mark of `delivery` in one transaction, unless the mark is there.
    /// May be repeated, also when it is not known whether it was applied.
    ///
    /// # Errors
    /// Those of [`StateManager::apply`]; a [`Conflict`](ErrorKind::Conflict) is about the effect's
    /// own preconditions.
    pub async fn apply_once(&self, delivery: &Delivery, effect: Transaction) -> Result<Once> {
        let mark = self.mark(delivery)?.when(Precondition::Absent);
        let key = mark.key.clone();
        let mut transaction = effect;
        transaction.writes.push(mark);
        match self.state.apply(transaction).await {
            Ok(mut applied) => {
                applied.versions.pop();
                Ok(Once::Applied(applied))
            }
            Err(error) if error.conflict_list().iter().any(|c| c.key == key) => Ok(Once::Known),
            Err(error) => Err(error),
        }
    }

    /// Marks deliveries whose effects happened elsewhere.
    async fn record(&self, marks: Vec<Write>) -> Result<()> {
        for some in marks.chunks(self.state.capability().max_writes.max(1)) {
            let transaction = Transaction {
                writes: some.to_vec(),
                ..Transaction::default()
            };
            self.state.apply(transaction).await?;
        }
        Ok(())
    }

    fn mark(&self, delivery: &Delivery) -> Result<Write> {
        let message = delivery.message();
        Ok(Write {
            key: self.key(&delivery.group, message)?,
            operation: Operation::Put {
                data: message.id.to_string().into(),
                content_type: ContentType::TEXT,
                schema: None,
                ttl: Some(self.remember),
            },
            precondition: Precondition::None,
        })
    }

    /// Forgets marks that have expired; answers what was forgotten.
    ///
    /// # Errors
    /// Those of [`StateManager::prune`].
    pub async fn clean(&self) -> Result<Pruned> {
        let prune = Prune {
            kind: Some(self.kind.clone()),
            keep_last: Some(1),
            tombstones: Some(Duration::ZERO),
            ..Prune::default()
        };
        self.state.prune(prune).await
    }

    /// Cleans at this interval until `stop`.
    pub async fn keep_clean(&self, every: Duration, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            match self.clean().await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Closed => return,
                Err(error) => tracing::warn!(%error, "old marks of an inbox stay a little longer"),
            }
        }
    }
}

fn base16(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
