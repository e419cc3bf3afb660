//! The outbox: messages that were committed with a change of state, until a relay has sent them.

mod entry;
mod lease;

use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    Lease, LeaseToken, Outbox, OutboxEntry, OutboxSettle, Page, PageCursor, Result,
};

pub(crate) use self::entry::{Sealed, append};
use self::lease::Token;
use crate::{
    engine::{Channel, Woken},
    state::{SqliteState, outbox_waiting, version},
    time,
};

/// What wakes the relay of a namespace.
fn channel(ns: i64) -> Channel {
    Channel::of(&("outbox", ns))
}

impl SqliteState {
    async fn to_send(&self, token: Token, after: u64, limit: usize) -> Result<Vec<OutboxEntry>> {
        self.session
            .snapshot("outbox_read", move |connection| {
                token.check(connection, time::now().saturating_mul(1000))?;
                entry::to_send(connection, token.ns, after, limit)
            })
            .await
    }
}

#[async_trait]
impl Outbox for SqliteState {
    async fn outbox_lease(&self, owner: &str, lease: Duration) -> Result<Option<Lease>> {
        let begun = std::time::Instant::now();
        lease::check_length(lease)?;
        let (ns, owner) = (self.session.ns, owner.to_owned());
        let taken = self
            .session
            .write("outbox_lease", move |tx| lease::take(tx, ns, &owner, lease))
            .await?;
        taken.map(|token| token.lease(begun, lease)).transpose()
    }

    async fn outbox_extend(&self, token: &LeaseToken, lease: Duration) -> Result<Lease> {
        let begun = std::time::Instant::now();
        lease::check_length(lease)?;
        let token = Token::parse(token, self.session.ns)?;
        self.session
            .write("outbox_extend", move |tx| lease::extend(tx, token, lease))
            .await?;
        token.lease(begun, lease)
    }

    async fn outbox_release(&self, token: &LeaseToken) -> Result<()> {
        let Ok(token) = Token::parse(token, self.session.ns) else {
            return Ok(());
        };
        self.session
            .write("outbox_release", move |tx| Ok(lease::release(tx, token)?))
            .await
    }

    async fn outbox_read(
        &self,
        token: &LeaseToken,
        after: u64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<OutboxEntry>> {
        let token = Token::parse(token, self.session.ns)?;
        if wait.is_zero() {
            return self.to_send(token, after, limit).await;
        }
        let deadline = time::deadline(wait);
        let mut listener = self.session.listen(&[channel(token.ns)]);
        loop {
            let entries = self.to_send(token, after, limit).await?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            if self.session.wait(&mut listener, deadline).await? == Woken::Elapsed {
                return self.to_send(token, after, limit).await;
            }
        }
    }

    async fn outbox_settle(&self, token: &LeaseToken, settles: Vec<OutboxSettle>) -> Result<()> {
        let token = Token::parse(token, self.session.ns)?;
        self.session
            .write("outbox_settle", move |tx| {
                token.check(tx, crate::state::at(tx))?;
                Ok(entry::settle(tx, token.ns, &settles)?)
            })
            .await
    }

    async fn outbox_depth(&self) -> Result<u64> {
        let ns = self.session.ns;
        self.session
            .read("outbox_depth", move |connection| {
                Ok(version(outbox_waiting(ns).read(connection)?))
            })
            .await
    }

    async fn outbox_parked(
        &self,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<OutboxEntry>> {
        let after = after.map(entry::parse).transpose()?.unwrap_or(0);
        let ns = self.session.ns;
        self.session
            .read("outbox_parked", move |connection| {
                entry::parked(connection, ns, after, limit)
            })
            .await
    }

    async fn outbox_unpark(&self, position: u64) -> Result<()> {
        let ns = self.session.ns;
        self.session
            .write("outbox_unpark", move |tx| entry::unpark(tx, ns, position))
            .await
    }

    async fn outbox_discard(&self, position: u64) -> Result<()> {
        let ns = self.session.ns;
        self.session
            .write("outbox_discard", move |tx| entry::discard(tx, ns, position))
            .await
    }
}
