//! Interrupts.

use serde::{Deserialize, Serialize};
use statehouse_contracts::MessageId;
use utoipa::ToSchema;

use crate::ContentDoc;

/// A signal to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InterruptSendDoc {
    /// Its name, such as `wakeup`, or its number as text.
    pub signal: String,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<ContentDoc>,
    /// Who sends it; the request's principal when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Which interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InterruptIdDoc {
    /// Its id.
    #[schema(value_type = String)]
    pub id: MessageId,
}

/// An interrupt, as its agent gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InterruptDoc {
    /// Its id.
    #[schema(value_type = String)]
    pub id: MessageId,
    /// What it says.
    pub signal: String,
    /// Whether it is to be acknowledged: it comes again until it is.
    pub critical: bool,
    /// Who sent it.
    pub sender: Option<String>,
    /// What else there is to say.
    pub payload: ContentDoc,
    /// Which delivery it is, from 1.
    pub attempt: u32,
}

/// What an agent handles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentSignalsDoc {
    /// The agent.
    pub agent: String,
    /// The signals.
    pub signals: Vec<String>,
}

/// What has happened to interrupts in one service since it began, and what waits there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InterruptStatsDoc {
    /// Interrupts that were accepted.
    pub sent: u64,
    /// Those that their agent has got.
    pub delivered: u64,
    /// Times that it could not get one.
    pub failed: u64,
    /// Those that found a full buffer, or were in one at the end.
    pub dropped: u64,
    /// Critical ones that were stored.
    pub persisted: u64,
    /// Repeats of critical ones.
    pub retried: u64,
    /// Critical ones that are done with.
    pub acknowledged: u64,
    /// Those that wait in a buffer now.
    pub waiting: usize,
    /// Critical ones that wait to be acknowledged now.
    pub taken: usize,
}
