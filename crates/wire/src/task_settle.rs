//! Settling tasks.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use statehouse_contracts::{
    Error, FailRetry, LeaseToken, Result, TaskSettle, TaskSettled, TaskState,
};
use utoipa::ToSchema;

use crate::{ContentDoc, LeaseDoc, Span};

/// Whether a failed attempt is followed by another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryDoc {
    /// After the task's backoff, while it has attempts.
    #[default]
    Backoff,
    /// After this wait, while it has attempts.
    After(Span),
    /// No: it has failed for good.
    Never,
}

/// The four ways to settle a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskActionDoc {
    /// Done, with `result`.
    Complete,
    /// This attempt has failed with `error`; `retry` says whether another follows.
    Fail,
    /// The lease lasts `lease` from now, under a new token.
    Extend,
    /// Given back as it was.
    Release,
}

/// What to do with one claimed task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskSettleDoc {
    /// The claim's token.
    pub token: String,
    /// What to do.
    pub action: TaskActionDoc,
    /// Of a completion: what it answers; empty when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ContentDoc>,
    /// Of a failure: what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Of a failure: `"backoff"` (default), `"never"` or `{"after": "5s"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryDoc>,
    /// Of an extension: the new length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Span>,
}

/// What to do with several claimed tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskSettleBatchDoc {
    /// The settles; the answers come in their order.
    pub settles: Vec<TaskSettleDoc>,
}

/// The answer to one settle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskSettledDoc {
    /// Where the task stands now.
    #[schema(value_type = String, example = "completed")]
    pub state: TaskState,
    /// The lease that replaces the old one, after an extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseDoc>,
}

impl From<TaskSettle> for TaskSettleDoc {
    fn from(settle: TaskSettle) -> Self {
        let blank = |token: LeaseToken, action| Self {
            token: token.as_str().to_owned(),
            action,
            result: None,
            error: None,
            retry: None,
            lease: None,
        };
        match settle {
            TaskSettle::Complete {
                token,
                result,
                content_type,
            } => Self {
                result: Some(ContentDoc::new(&result, content_type)),
                ..blank(token, TaskActionDoc::Complete)
            },
            TaskSettle::Fail {
                token,
                error,
                retry,
            } => Self {
                error: Some(error),
                retry: Some(retry.into()),
                ..blank(token, TaskActionDoc::Fail)
            },
            TaskSettle::Extend { token, lease } => Self {
                lease: Some(Span(lease)),
                ..blank(token, TaskActionDoc::Extend)
            },
            TaskSettle::Release { token } => blank(token, TaskActionDoc::Release),
        }
    }
}

impl TaskSettleDoc {
    /// Refuses fields that the action has no use for.
    fn check(&self) -> Result<()> {
        use TaskActionDoc::{Complete, Extend, Fail};
        let fields = [
            ("result", self.result.is_some(), Complete),
            ("error", self.error.is_some(), Fail),
            ("retry", self.retry.is_some(), Fail),
            ("lease", self.lease.is_some(), Extend),
        ];
        let wrong = fields
            .iter()
            .find(|(_, given, of)| *given && *of != self.action);
        match wrong {
            Some((name, _, _)) => Err(Error::invalid(format!(
                "the action {:?} takes no {name}",
                self.action
            ))),
            None => Ok(()),
        }
    }
}

impl TryFrom<TaskSettleDoc> for TaskSettle {
    type Error = Error;
    fn try_from(doc: TaskSettleDoc) -> Result<Self> {
        doc.check()?;
        let token = LeaseToken::new(doc.token)?;
        let missing = |name: &str| {
            let action = doc.action;
            Error::invalid(format!("the action {action:?} needs {name}"))
        };
        Ok(match doc.action {
            TaskActionDoc::Complete => {
                let parts = doc.result.map(ContentDoc::into_parts).transpose()?;
                let (result, content_type) = parts.unwrap_or_default();
                Self::Complete {
                    token,
                    result,
                    content_type,
                }
            }
            TaskActionDoc::Fail => Self::Fail {
                token,
                error: doc.error.ok_or_else(|| missing("error"))?,
                retry: doc.retry.unwrap_or_default().into(),
            },
            TaskActionDoc::Extend => Self::Extend {
                token,
                lease: doc
                    .lease
                    .map(Duration::from)
                    .ok_or_else(|| missing("lease"))?,
            },
            TaskActionDoc::Release => Self::Release { token },
        })
    }
}

impl From<FailRetry> for RetryDoc {
    fn from(retry: FailRetry) -> Self {
        match retry {
            FailRetry::Backoff => Self::Backoff,
            FailRetry::After(wait) => Self::After(Span(wait)),
            FailRetry::Never => Self::Never,
        }
    }
}

impl From<RetryDoc> for FailRetry {
    fn from(doc: RetryDoc) -> Self {
        match doc {
            RetryDoc::Backoff => Self::Backoff,
            RetryDoc::After(wait) => Self::After(wait.into()),
            RetryDoc::Never => Self::Never,
        }
    }
}

impl TaskSettledDoc {
    /// The document of `settled`, in the answer to a request that arrived at `arrived`.
    pub fn new(settled: &TaskSettled, arrived: Instant) -> Self {
        let lease = settled.lease.as_ref();
        Self {
            state: settled.state,
            lease: lease.map(|lease| LeaseDoc::new(lease, arrived)),
        }
    }

    /// The answer to a settle, in the answer to a request that began at `requested`.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for a token that is
    /// none.
    pub fn settled(self, requested: Instant) -> Result<TaskSettled> {
        let lease = self.lease.map(|lease| lease.lease(requested));
        Ok(TaskSettled {
            state: self.state,
            lease: lease.transpose()?,
        })
    }
}
