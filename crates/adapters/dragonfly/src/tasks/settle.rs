//! The arguments and answers of settling.

use std::time::{Duration, Instant};

use fred::types::Value;
use statehouse_contracts::{Error, ErrorKind, FailRetry, Lease, Result, TaskSettle, TaskSettled};

use super::row;
use super::token::{Token, seed};
use crate::reply::Reply;
use crate::time::micros;

/// The bytes of an error that are kept.
const MAX_ERROR: usize = 4096;

/// One settle, ready for the script.
#[derive(Debug)]
pub(super) struct Item {
    arguments: [Value; 5],
    /// The lease that an extension asks for.
    extended: Option<(Token, Duration)>,
}

impl Item {
    pub(super) fn new(settle: TaskSettle) -> Result<Self> {
        let none = || Value::from_static_str("");
        let (what, token, more, extended) = match settle {
            TaskSettle::Complete {
                token,
                result,
                content_type,
            } => {
                let more = [result.into(), content_type.as_str().into()];
                ("complete", Token::open(&token)?, more, None)
            }
            TaskSettle::Fail {
                token,
                error,
                retry,
            } => {
                let more = [shorten(error).into(), how(retry).into()];
                ("fail", Token::open(&token)?, more, None)
            }
            TaskSettle::Extend { token, lease } => {
                let old = Token::open(&token)?;
                let nonce = seed();
                let more = [micros(lease).into(), nonce.as_str().into()];
                let place = old.place.clone();
                ("extend", old, more, Some((Token { place, nonce }, lease)))
            }
            TaskSettle::Release { token } => {
                ("release", Token::open(&token)?, [none(), none()], None)
            }
        };
        let [first, second] = more;
        let arguments = [
            what.into(),
            token.place.into(),
            token.nonce.into(),
            first,
            second,
        ];
        Ok(Self {
            arguments,
            extended,
        })
    }

    /// How many bytes it brings.
    pub(super) fn size(&self) -> usize {
        self.arguments[3].as_bytes().map_or(0, <[u8]>::len)
    }

    /// What the script is given of it.
    pub(super) fn arguments(&self) -> [Value; 5] {
        self.arguments.clone()
    }

    /// The answer, for a settle that was asked for at `asked`.
    pub(super) fn answer(&self, reply: Reply, asked: Instant) -> Result<TaskSettled> {
        let mut row = reply.row()?;
        let how = row.text()?;
        if how != "settled" {
            let id = row.optional()?.map(Reply::text).transpose()?;
            return Err(refused(&how, id.as_deref()));
        }
        let lease = self.extended.as_ref().map(|(token, length)| {
            Ok(Lease {
                token: token.seal()?,
                deadline: asked + *length,
            })
        });
        Ok(TaskSettled {
            state: row::state(&row.text()?)?,
            lease: lease.transpose()?,
        })
    }
}

/// How a failed attempt goes on, as the script reads it.
fn how(retry: FailRetry) -> String {
    match retry {
        FailRetry::Never => "never".to_owned(),
        FailRetry::Backoff => format!("backoff{}", fastrand::u32(0..1_000_000)),
        FailRetry::After(wait) => format!("after{}", micros(wait)),
    }
}

fn shorten(mut error: String) -> String {
    error.truncate(error.floor_char_boundary(MAX_ERROR));
    error
}

/// Why a lease does not hold.
pub(super) fn refused(how: &str, id: Option<&str>) -> Error {
    if how == "cancelled" {
        let message = "the task was cancelled: stop working on it";
        let error = Error::new(ErrorKind::Cancelled, message);
        return match id {
            Some(id) => error.with_context("task", id),
            None => error,
        };
    }
    Error::new(
        ErrorKind::LeaseLost,
        "the lease has ended or was replaced: somebody else may have the task",
    )
}
