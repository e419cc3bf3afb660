//! Receiving and settling.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use statehouse_contracts::{
    Delivery, Error, GroupName, LeaseToken, Receive, Received, Result, Settle, SettleAction,
    Settled,
};
use utoipa::ToSchema;

use crate::{LeaseDoc, MessageDoc, Span};

/// How much to receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReceiveDoc {
    /// The most messages. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
    /// How long to wait for the first; not given: answers at once.
    pub wait: Span,
    /// The lease of each delivery; the group's when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<Span>,
}

/// One message in one consumer's hands, until its lease ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliveryDoc {
    /// The message as sent.
    pub message: MessageDoc,
    /// When the backend accepted it.
    pub sent_at: Timestamp,
    /// When it became due.
    pub due_at: Timestamp,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The group that received it.
    #[schema(value_type = String)]
    pub group: GroupName,
    /// Which delivery of this message to this group it is, from 1.
    pub attempt: u32,
    /// The right to settle it.
    pub lease: LeaseDoc,
}

/// The four ways to settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettleActionDoc {
    /// Done: it does not come back.
    Ack,
    /// Not done: it comes back after `delay`, or after the group's backoff; takes `error`.
    Nack,
    /// It becomes a dead letter now, for `reason`.
    DeadLetter,
    /// The lease lasts `lease` from now, under a new token.
    Extend,
}

/// What to do with one delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleDoc {
    /// Its token.
    pub token: String,
    /// What to do.
    pub action: SettleActionDoc,
    /// Of a nack: the wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// Of a nack: what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Of a dead letter: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of an extension: the new length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Span>,
}

/// What to do with several deliveries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleBatchDoc {
    /// The settles; the answers come in their order.
    pub settles: Vec<SettleDoc>,
}

/// The answer to one settle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettledDoc {
    /// The lease that replaces the old one, after an extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseDoc>,
}

/// Messages may be missing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GapDoc {
    /// How many, where it is known.
    pub missed: Option<u64>,
}

impl From<Receive> for ReceiveDoc {
    fn from(receive: Receive) -> Self {
        Self {
            max: Some(receive.max),
            wait: Span(receive.wait),
            lease: receive.lease.map(Span),
        }
    }
}

impl From<ReceiveDoc> for Receive {
    fn from(doc: ReceiveDoc) -> Self {
        Self {
            max: doc.max.unwrap_or(1),
            wait: doc.wait.into(),
            lease: doc.lease.map(Into::into),
        }
    }
}

impl DeliveryDoc {
    /// The document of `delivery`, in the answer to a request that arrived at `arrived`.
    pub fn new(delivery: Delivery, arrived: Instant) -> Self {
        let lease = LeaseDoc::new(&delivery.lease, arrived);
        let received = delivery.received;
        Self {
            message: received.message.into(),
            sent_at: received.sent_at,
            due_at: received.due_at,
            expires_at: received.expires_at,
            group: delivery.group,
            attempt: delivery.attempt,
            lease,
        }
    }

    /// The delivery, in the answer to a request that began at `requested`.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for what makes no
    /// sense.
    pub fn delivery(self, requested: Instant) -> Result<Delivery> {
        Ok(Delivery {
            received: Received {
                message: self.message.try_into()?,
                sent_at: self.sent_at,
                due_at: self.due_at,
                expires_at: self.expires_at,
            },
            group: self.group,
            attempt: self.attempt,
            lease: self.lease.lease(requested)?,
        })
    }
}

impl From<Settle> for SettleDoc {
    fn from(settle: Settle) -> Self {
        let mut doc = Self {
            token: settle.token.as_str().to_owned(),
            action: SettleActionDoc::Ack,
            delay: None,
            error: None,
            reason: None,
            lease: None,
        };
        match settle.action {
            SettleAction::Ack => {}
            SettleAction::Nack { delay, error } => {
                doc.action = SettleActionDoc::Nack;
                doc.delay = delay.map(Span);
                doc.error = error;
            }
            SettleAction::DeadLetter { reason } => {
                doc.action = SettleActionDoc::DeadLetter;
                doc.reason = Some(reason);
            }
            SettleAction::Extend { lease } => {
                doc.action = SettleActionDoc::Extend;
                doc.lease = Some(Span(lease));
            }
        }
        doc
    }
}

impl TryFrom<SettleDoc> for Settle {
    type Error = Error;
    fn try_from(doc: SettleDoc) -> Result<Self> {
        use SettleActionDoc::{Ack, DeadLetter, Extend, Nack};
        let fields = [
            ("delay", doc.delay.is_some(), Nack),
            ("error", doc.error.is_some(), Nack),
            ("reason", doc.reason.is_some(), DeadLetter),
            ("lease", doc.lease.is_some(), Extend),
        ];
        let wrong = fields
            .iter()
            .find(|(_, given, of)| *given && *of != doc.action);
        if let Some((name, _, _)) = wrong {
            let action = doc.action;
            return Err(Error::invalid(format!(
                "the action {action:?} takes no {name}"
            )));
        }
        let missing =
            |name: &str| Error::invalid(format!("the action {:?} needs {name}", doc.action));
        let action = match doc.action {
            Ack => SettleAction::Ack,
            Nack => SettleAction::Nack {
                delay: doc.delay.map(Into::into),
                error: doc.error,
            },
            DeadLetter => SettleAction::DeadLetter {
                reason: doc.reason.ok_or_else(|| missing("reason"))?,
            },
            Extend => SettleAction::Extend {
                lease: doc
                    .lease
                    .map(Duration::from)
                    .ok_or_else(|| missing("lease"))?,
            },
        };
        Ok(Self {
            token: LeaseToken::new(doc.token)?,
            action,
        })
    }
}

impl SettledDoc {
    /// The document of `settled`, in the answer to a request that arrived at `arrived`.
    pub fn new(settled: &Settled, arrived: Instant) -> Self {
        let lease = settled.lease.as_ref();
        Self {
            lease: lease.map(|lease| LeaseDoc::new(lease, arrived)),
        }
    }

    /// The answer to a settle, in the answer to a request that began at `requested`.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a token that is
    /// none.
    pub fn settled(self, requested: Instant) -> Result<Settled> {
        let lease = self.lease.map(|lease| lease.lease(requested));
        Ok(Settled {
            lease: lease.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_settle_comes_back() {
        let second = Duration::from_secs(1);
        let actions = [
            SettleAction::Ack,
            SettleAction::Nack {
                delay: Some(second),
                error: Some("e".into()),
            },
            SettleAction::DeadLetter { reason: "r".into() },
            SettleAction::Extend { lease: second },
        ];
        for action in actions {
            let token = LeaseToken::new("t").unwrap();
            let settle = Settle { token, action };
            let text = serde_json::to_string(&SettleDoc::from(settle.clone())).unwrap();
            let doc: SettleDoc = serde_json::from_str(&text).unwrap();
            assert_eq!(Settle::try_from(doc).unwrap(), settle, "{text}");
        }
        for wrong in [
            r#"{"token":"t","action":"ack","delay":"1s"}"#,
            r#"{"token":"t","action":"extend"}"#,
            r#"{"token":"a b","action":"ack"}"#,
        ] {
            let doc: SettleDoc = serde_json::from_str(wrong).unwrap();
            assert!(Settle::try_from(doc).is_err(), "{wrong}");
        }
    }
}
