//! Writes and messages that are applied all or not at all.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{ContentType, Message, OpId, StateKey, Version};

/// What must hold for a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// The key was never written, or is deleted or expired.
    Absent,
    /// The key is live at this version.
    Version(Version),
}

/// Which version a rollback takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollbackTo {
    /// The current version − 1; so twice is the undo.
    Previous,
    /// This one.
    Version(Version),
}

/// What a write does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Replaces the whole record.
    Put {
        /// The content.
        data: Bytes,
        /// Its media type.
        content_type: ContentType,
        /// Its schema.
        schema: Option<String>,
        /// How long it lives; `None`: for ever.
        ttl: Option<Duration>,
    },
    /// Makes a version whose content is the old content (none when absent) and these bytes. Media
    /// type, schema and expiry stay; a key that was absent gets [`ContentType::BYTES`].
    Append {
        /// The bytes to add.
        data: Bytes,
    },
    /// Makes a tombstone; of an absent key nothing.
    Delete,
    /// Writes nothing: only its precondition counts.
    Check,
    /// Makes a version with the content, media type and schema of an earlier one, without expiry;
    /// of a tombstone it deletes.
    Rollback {
        /// Which one.
        to: RollbackTo,
    },
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its key.
    pub key: StateKey,
    /// What it does.
    pub operation: Operation,
    /// What must hold.
    pub precondition: Precondition,
}

impl Write {
    /// Replaces the record by `data`, without expiry, whatever is there.
    pub fn put(key: StateKey, data: impl Into<Bytes>, content_type: ContentType) -> Self {
        let operation = Operation::Put {
            data: data.into(),
            content_type,
            schema: None,
            ttl: None,
        };
        Self {
            key,
            operation,
            precondition: Precondition::None,
        }
    }

    /// Appends `data`, whatever is there.
    pub fn append(key: StateKey, data: impl Into<Bytes>) -> Self {
        let operation = Operation::Append { data: data.into() };
        Self {
            key,
            operation,
            precondition: Precondition::None,
        }
    }

    /// Deletes the record, whatever is there.
    pub fn delete(key: StateKey) -> Self {
        Self {
            key,
            operation: Operation::Delete,
            precondition: Precondition::None,
        }
    }

    /// Checks the precondition only.
    pub fn check(key: StateKey, precondition: Precondition) -> Self {
        Self {
            key,
            operation: Operation::Check,
            precondition,
        }
    }

    /// Goes back to an earlier version, whatever is there.
    pub fn rollback(key: StateKey, to: RollbackTo) -> Self {
        Self {
            key,
            operation: Operation::Rollback { to },
            precondition: Precondition::None,
        }
    }

    /// The same write under a precondition.
    pub fn when(mut self, precondition: Precondition) -> Self {
        self.precondition = precondition;
        self
    }
}

/// Where the messages of a transaction go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageDelivery {
    /// Into the namespace's outbox, for its relay to send.
    #[default]
    Outbox,
    /// Into the groups of the same store, inside the transaction (capability `deliver_local`).
    Local,
}

/// Writes and messages that are applied all or not at all.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// The writes; no key twice.
    pub writes: Vec<Write>,
    /// The messages.
    pub messages: Vec<Message>,
    /// Where the messages go.
    pub delivery: MessageDelivery,
    /// The identity of the transaction, for repeats.
    pub op_id: Option<OpId>,
}

impl Transaction {
    /// Of one write.
    pub fn of(write: Write) -> Self {
        Self {
            writes: vec![write],
            ..Self::default()
        }
    }

    /// A digest of what it does, without its op_id: by it a store tells a repeat from another
    /// transaction under the same op_id. Message ids count, times do not.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        for write in &self.writes {
            add(write.key.kind.as_str().as_bytes());
            add(write.key.id.as_str().as_bytes());
            add(format!("{:?}", write.precondition).as_bytes());
            match &write.operation {
                Operation::Put {
                    data,
                    content_type,
                    schema,
                    ttl,
                } => {
                    add(data);
                    add(format!("put {content_type} {schema:?} {ttl:?}").as_bytes());
                }
                Operation::Append { data } => {
                    add(data);
                    add(b"append");
                }
                other => add(format!("{other:?}").as_bytes()),
            }
        }
        for message in &self.messages {
            add(message.id.0.as_bytes());
            add(message.topic.as_str().as_bytes());
            add(message.bytes());
        }
        add(format!("{:?}", self.delivery).as_bytes());
        hash.finalize().into()
    }
}

/// The answer to a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The number of the commit; later commits of a namespace have larger numbers.
    pub commit: u64,
    /// When, by the backend's clock: `updated_at` of what it wrote.
    pub at: Timestamp,
    /// The version of each write's key now, in their order: the new one, or for a check and a
    /// delete of nothing the one that was there (0: none).
    pub versions: Vec<Version>,
    /// Whether this is the first result of a repeated op_id.
    pub replayed: bool,
}
