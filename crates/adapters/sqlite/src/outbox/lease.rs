//! The lease of an outbox: one relay at a time, told from earlier ones by a number that grows.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};
use statehouse_contracts::{Error, ErrorKind, Lease, LeaseToken, Result};

use crate::{engine::Tx, error::Failure, state::at};

/// A lease that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) ns: i64,
    fence: i64,
}

impl Token {
    /// Reads a token of namespace `ns`.
    ///
    /// # Errors
    /// `LeaseLost` for any other text: whatever it was, it is no lease of this outbox.
    pub(super) fn parse(token: &LeaseToken, ns: i64) -> Result<Self> {
        let fence = token
            .as_str()
            .strip_prefix("outbox-")
            .and_then(|rest| rest.split_once('-'))
            .filter(|(of, _)| of.parse() == Ok(ns))
            .and_then(|(_, fence)| fence.parse().ok());
        fence.map(|fence| Self { ns, fence }).ok_or_else(lost)
    }

    /// The lease that counts from `begun`.
    pub(super) fn lease(self, begun: Instant, length: Duration) -> Result<Lease> {
        Ok(Lease {
            token: LeaseToken::new(format!("outbox-{}-{}", self.ns, self.fence))?,
            deadline: begun.checked_add(length).unwrap_or(begun),
        })
    }

    /// Fails unless this is the lease that holds.
    pub(super) fn check(self, connection: &Connection, now: i64) -> Result<(), Failure> {
        let until: Option<i64> = connection
            .prepare_cached("SELECT until FROM state_outbox_lease WHERE ns = ?1 AND fence = ?2")?
            .query_row((self.ns, self.fence), |row| row.get(0))
            .optional()?;
        match until {
            Some(until) if until > now => Ok(()),
            _ => Err(lost().into()),
        }
    }
}

fn lost() -> Error {
    Error::new(
        ErrorKind::LeaseLost,
        "the lease of the outbox has ended or was taken over; take it again",
    )
}

/// # Errors
/// `InvalidArgument` for zero.
pub(super) fn check_length(lease: Duration) -> Result<()> {
    if lease.is_zero() {
        return Err(Error::invalid("a lease of zero ends before it begins"));
    }
    Ok(())
}

/// Takes the lease; `None` while another owner holds it.
pub(super) fn take(
    tx: &Tx<'_>,
    ns: i64,
    owner: &str,
    lease: Duration,
) -> Result<Option<Token>, Failure> {
    let now = at(tx);
    let held: Option<(String, i64, i64)> = tx
        .prepare_cached("SELECT owner, fence, until FROM state_outbox_lease WHERE ns = ?1")?
        .query_row((ns,), |row| row.try_into())
        .optional()?;
    let fence = match held {
        Some((holder, _, until)) if holder != owner && until > now => return Ok(None),
        Some((_, fence, _)) => fence + 1,
        None => 1,
    };
    tx.prepare_cached(
        "INSERT OR REPLACE INTO state_outbox_lease (ns, owner, fence, until)
         VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((ns, owner, fence, end(now, lease)))?;
    Ok(Some(Token { ns, fence }))
}

/// Makes the lease last from now.
pub(super) fn extend(tx: &Tx<'_>, token: Token, lease: Duration) -> Result<(), Failure> {
    let now = at(tx);
    token.check(tx, now)?;
    tx.prepare_cached("UPDATE state_outbox_lease SET until = ?2 WHERE ns = ?1")?
        .execute((token.ns, end(now, lease)))?;
    Ok(())
}

/// Ends the lease, if it still holds.
pub(super) fn release(tx: &Tx<'_>, token: Token) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE state_outbox_lease SET until = 0 WHERE ns = ?1 AND fence = ?2")?
        .execute((token.ns, token.fence))?;
    Ok(())
}

fn end(now: i64, lease: Duration) -> i64 {
    now.saturating_add(i64::try_from(lease.as_nanos()).unwrap_or(i64::MAX))
}
