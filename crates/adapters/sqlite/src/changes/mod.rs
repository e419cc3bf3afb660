//! The change log: the versions of a namespace in the order of their commits.
//!
//! A place in the log is given out inside the writer's transaction, and SQLite has one writer at a
//! time, of whichever process: so a change that can be read has none before it that cannot.

mod cursor;
mod follower;
mod read;
mod trim;

use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    ChangeLog, ChangePage, Cursor, Follower, FollowerName, FollowerSpec, Result, Trim,
};

use self::cursor::{Extent, Log};
pub(crate) use self::{
    cursor::{Incarnation, trimmed},
    trim::BOUND,
};
use crate::{
    engine::{Channel, Woken},
    state::SqliteState,
    time,
};

/// What wakes those who wait for changes of a namespace.
pub(crate) fn channel(ns: i64) -> Channel {
    Channel::of(&("changes", ns))
}

impl SqliteState {
    fn log(&self) -> Log {
        Log {
            incarnation: self.incarnation.clone(),
            ns: self.session.ns,
        }
    }

    async fn page(&self, after: &Cursor, limit: usize) -> Result<ChangePage> {
        let (log, after) = (self.log(), after.clone());
        self.session
            .snapshot("changes", move |connection| {
                read::page(connection, &log, &after, limit)
            })
            .await
    }

    async fn extent(&self, operation: &'static str) -> Result<Extent> {
        let ns = self.session.ns;
        self.session
            .snapshot(operation, move |connection| Ok(Extent::of(connection, ns)?))
            .await
    }
}

#[async_trait]
impl ChangeLog for SqliteState {
    async fn changes(&self, after: &Cursor, limit: usize, wait: Duration) -> Result<ChangePage> {
        if wait.is_zero() {
            return self.page(after, limit).await;
        }
        let deadline = time::deadline(wait);
        let mut listener = self.session.listen(&[channel(self.session.ns)]);
        loop {
            let page = self.page(after, limit).await?;
            if !page.changes.is_empty() {
                return Ok(page);
            }
            if self.session.wait(&mut listener, deadline).await? == Woken::Elapsed {
                return self.page(after, limit).await;
            }
        }
    }

    async fn head(&self) -> Result<Cursor> {
        let extent = self.extent("head").await?;
        Ok(self.log().cursor(extent.head))
    }

    async fn oldest(&self) -> Result<Cursor> {
        let extent = self.extent("oldest").await?;
        Ok(self.log().cursor(extent.trimmed))
    }

    async fn follow(&self, name: &FollowerName, spec: FollowerSpec) -> Result<Follower> {
        let (log, name) = (self.log(), name.clone());
        self.session
            .write("follow", move |tx| follower::follow(tx, &log, &name, &spec))
            .await
    }

    async fn advance(&self, name: &FollowerName, cursor: &Cursor) -> Result<()> {
        let (log, name, cursor) = (self.log(), name.clone(), cursor.clone());
        self.session
            .write("advance", move |tx| {
                follower::advance(tx, &log, &name, &cursor)
            })
            .await
    }

    async fn followers(&self) -> Result<Vec<Follower>> {
        let log = self.log();
        self.session
            .snapshot("followers", move |connection| {
                follower::all(connection, &log)
            })
            .await
    }

    async fn unfollow(&self, name: &FollowerName) -> Result<bool> {
        let (ns, name) = (self.session.ns, name.clone());
        self.session
            .write("unfollow", move |tx| Ok(follower::remove(tx, ns, &name)?))
            .await
    }

    async fn trim(&self, trim: Trim) -> Result<u64> {
        trim::trim(&self.session, trim).await
    }
}
