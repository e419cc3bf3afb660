//! The outbox.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use statehouse_contracts::{Error, OutboxEntry, OutboxOutcome, OutboxSettle, Result};
use utoipa::ToSchema;

use crate::{MessageDoc, Span};

/// One message of the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutboxEntryDoc {
    /// Its place; later ones are larger.
    pub position: u64,
    /// The message.
    pub message: MessageDoc,
    /// When it was committed.
    pub at: Timestamp,
    /// Why it is parked, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<String>,
}

/// Who wants the outbox's lease, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutboxLeaseDoc {
    /// Unique among the relays.
    pub owner: String,
    /// How long it lasts.
    pub lease: Span,
}

/// An extension of the outbox's lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutboxExtendDoc {
    /// The lease's token.
    pub token: String,
    /// How long it lasts from now.
    pub lease: Span,
}

/// The end of the outbox's lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutboxReleaseDoc {
    /// The lease's token.
    pub token: String,
}

/// Which entries to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutboxReadDoc {
    /// The lease's token.
    pub token: String,
    /// Entries after this place; 0 (default): from the start.
    #[serde(default)]
    pub after: u64,
    /// The most entries.
    pub limit: usize,
    /// How long to wait for the first.
    #[serde(default)]
    pub wait: Span,
}

/// What became of the entry at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutboxSettleDoc {
    /// The place.
    pub position: u64,
    /// Why it is refused for good; not given: it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<String>,
}

/// What became of several entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutboxSettleBatchDoc {
    /// The lease's token.
    pub token: String,
    /// The entries.
    pub settles: Vec<OutboxSettleDoc>,
}

impl From<OutboxEntry> for OutboxEntryDoc {
    fn from(entry: OutboxEntry) -> Self {
        Self {
            position: entry.position,
            message: entry.message.into(),
            at: entry.at,
            parked: entry.parked,
        }
    }
}

impl TryFrom<OutboxEntryDoc> for OutboxEntry {
    type Error = Error;
    fn try_from(doc: OutboxEntryDoc) -> Result<Self> {
        Ok(Self {
            position: doc.position,
            message: doc.message.try_into()?,
            at: doc.at,
            parked: doc.parked,
        })
    }
}

impl From<OutboxSettle> for OutboxSettleDoc {
    fn from(settle: OutboxSettle) -> Self {
        let parked = match settle.outcome {
            OutboxOutcome::Sent => None,
            OutboxOutcome::Parked { reason } => Some(reason),
        };
        Self {
            position: settle.position,
            parked,
        }
    }
}

impl From<OutboxSettleDoc> for OutboxSettle {
    fn from(doc: OutboxSettleDoc) -> Self {
        let outcome = match doc.parked {
            None => OutboxOutcome::Sent,
            Some(reason) => OutboxOutcome::Parked { reason },
        };
        Self {
            position: doc.position,
            outcome,
        }
    }
}
