//! Looking after groups.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use statehouse_contracts::{
    AttemptError, Counts, DeadLetter, Error, GroupName, GroupStatus, MessageId, Received, Result,
};
use utoipa::ToSchema;

use crate::{GroupSpecDoc, ReceivedDoc, Span};

/// One group as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupStatusDoc {
    /// Its name.
    #[schema(value_type = String)]
    pub group: GroupName,
    /// Its promise.
    pub spec: GroupSpecDoc,
    /// Whether it hands out nothing at the moment.
    pub paused: bool,
}

/// How many messages a group holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CountsDoc {
    /// Can be received now, or wait behind their ordering key.
    pub ready: u64,
    /// Wait for their delay or backoff.
    pub delayed: u64,
    /// Are leased.
    pub in_flight: u64,
    /// Are dead letters.
    pub dead: u64,
    /// Were dropped because they expired, since the group was declared.
    pub expired: u64,
    /// Were dropped to make room, since the group was declared.
    pub dropped: u64,
    /// Whether the numbers are exact at this moment.
    pub exact: bool,
}

/// For how long the oldest ready message has been due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgeDoc {
    /// The age; `null` when there is none.
    pub age: Option<Span>,
}

/// A message that was only looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PeekedDoc {
    /// The message and its times.
    pub received: ReceivedDoc,
    /// The number of its last attempt; 0: never delivered.
    pub attempt: u32,
}

/// What went wrong in one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AttemptErrorDoc {
    /// The attempt, from 1.
    pub attempt: u32,
    /// When it ended.
    pub at: Timestamp,
    /// What was said of it.
    pub error: String,
}

/// A message that a group gave up on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterDoc {
    /// The message and its times.
    pub received: ReceivedDoc,
    /// Why: the reason given, `max_deliveries` or `expired`.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// How many deliveries it had.
    pub attempts: u32,
    /// The last attempts that failed, oldest first.
    pub errors: Vec<AttemptErrorDoc>,
}

/// Which dead letters go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedriveDoc {
    /// The one with this id; all when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<MessageId>,
}

/// What to purge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PurgeDoc {
    /// The dead letters, instead of what is ready and delayed.
    pub dead: bool,
}

impl From<GroupStatus> for GroupStatusDoc {
    fn from(status: GroupStatus) -> Self {
        Self {
            group: status.group,
            spec: status.spec.into(),
            paused: status.paused,
        }
    }
}

impl From<GroupStatusDoc> for GroupStatus {
    fn from(doc: GroupStatusDoc) -> Self {
        Self {
            group: doc.group,
            spec: doc.spec.into(),
            paused: doc.paused,
        }
    }
}

impl From<Counts> for CountsDoc {
    fn from(counts: Counts) -> Self {
        Self {
            ready: counts.ready,
            delayed: counts.delayed,
            in_flight: counts.in_flight,
            dead: counts.dead,
            expired: counts.expired,
            dropped: counts.dropped,
            exact: counts.exact,
        }
    }
}

impl From<CountsDoc> for Counts {
    fn from(doc: CountsDoc) -> Self {
        Self {
            ready: doc.ready,
            delayed: doc.delayed,
            in_flight: doc.in_flight,
            dead: doc.dead,
            expired: doc.expired,
            dropped: doc.dropped,
            exact: doc.exact,
        }
    }
}

impl From<(Received, u32)> for PeekedDoc {
    fn from((received, attempt): (Received, u32)) -> Self {
        Self {
            received: received.into(),
            attempt,
        }
    }
}

impl TryFrom<PeekedDoc> for (Received, u32) {
    type Error = Error;
    fn try_from(doc: PeekedDoc) -> Result<Self> {
        Ok((doc.received.try_into()?, doc.attempt))
    }
}

impl From<AttemptError> for AttemptErrorDoc {
    fn from(error: AttemptError) -> Self {
        Self {
            attempt: error.attempt,
            at: error.at,
            error: error.error,
        }
    }
}

impl From<AttemptErrorDoc> for AttemptError {
    fn from(doc: AttemptErrorDoc) -> Self {
        Self {
            attempt: doc.attempt,
            at: doc.at,
            error: doc.error,
        }
    }
}

impl From<DeadLetter> for DeadLetterDoc {
    fn from(letter: DeadLetter) -> Self {
        Self {
            received: letter.received.into(),
            reason: letter.reason,
            at: letter.at,
            attempts: letter.attempts,
            errors: letter.errors.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<DeadLetterDoc> for DeadLetter {
    type Error = Error;
    fn try_from(doc: DeadLetterDoc) -> Result<Self> {
        Ok(Self {
            received: doc.received.try_into()?,
            reason: doc.reason,
            at: doc.at,
            attempts: doc.attempts,
            errors: doc.errors.into_iter().map(Into::into).collect(),
        })
    }
}
