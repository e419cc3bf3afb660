//! Messages that were committed and wait to be sent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use statehouse_contracts::{
    Error, ErrorKind, LeaseToken, Message, OutboxEntry, OutboxOutcome, OutboxSettle, Page,
    PageCursor, Result,
};

use crate::page;
use crate::time::Time;

#[derive(Debug)]
struct Holder {
    owner: String,
    token: LeaseToken,
    until: Time,
}

/// The outbox of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    last: u64,
    entries: BTreeMap<u64, OutboxEntry>,
    /// The places of parked entries by their ordering key: they block what comes after.
    blocking: HashMap<String, BTreeSet<u64>>,
    parked: BTreeSet<u64>,
    holder: Option<Holder>,
    leases: u64,
}

impl Messages {
    pub(crate) fn push(&mut self, message: Message, now: Time) {
        self.last += 1;
        let entry = OutboxEntry {
            position: self.last,
            message,
            at: now.timestamp(),
            parked: None,
        };
        self.entries.insert(self.last, entry);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A new token for `owner`, unless another owner holds the lease.
    pub(crate) fn lease(
        &mut self,
        owner: &str,
        length: Duration,
        now: Time,
    ) -> Result<Option<LeaseToken>> {
        let taken = |holder: &Holder| holder.until > now && holder.owner != owner;
        if self.holder.as_ref().is_some_and(taken) {
            return Ok(None);
        }
        self.leases += 1;
        let token = LeaseToken::new(format!("outbox.{}.{:x}", self.leases, fastrand::u64(..)))?;
        self.holder = Some(Holder {
            owner: owner.to_owned(),
            token: token.clone(),
            until: now.after(length),
        });
        Ok(Some(token))
    }

    fn held(&mut self, token: &LeaseToken, now: Time) -> Result<&mut Holder> {
        self.holder
            .as_mut()
            .filter(|holder| holder.token == *token && holder.until > now)
            .ok_or_else(|| {
                let message = "the outbox's lease has ended or was taken over";
                Error::new(ErrorKind::LeaseLost, message)
            })
    }

    pub(crate) fn extend(&mut self, token: &LeaseToken, length: Duration, now: Time) -> Result<()> {
        self.held(token, now)?.until = now.after(length);
        Ok(())
    }

    pub(crate) fn release(&mut self, token: &LeaseToken) {
        self.holder.take_if(|holder| holder.token == *token);
    }

    /// What is to be sent after `after`, in order.
    pub(crate) fn read(
        &mut self,
        token: &LeaseToken,
        after: u64,
        limit: usize,
        now: Time,
    ) -> Result<Vec<OutboxEntry>> {
        self.held(token, now)?;
        let later = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        let open = |entry: &&OutboxEntry| entry.parked.is_none() && !self.is_blocked(entry);
        let found = self.entries.range(later).map(|(_, entry)| entry);
        Ok(found.filter(open).take(limit).cloned().collect())
    }

    fn is_blocked(&self, entry: &OutboxEntry) -> bool {
        let Some(key) = &entry.message.ordering_key else {
            return false;
        };
        let first = self.blocking.get(key).and_then(|places| places.first());
        first.is_some_and(|place| *place < entry.position)
    }

    pub(crate) fn settle(
        &mut self,
        token: &LeaseToken,
        settles: Vec<OutboxSettle>,
        now: Time,
    ) -> Result<()> {
        self.held(token, now)?;
        for OutboxSettle { position, outcome } in settles {
            match outcome {
                OutboxOutcome::Sent => self.remove(position),
                OutboxOutcome::Parked { reason } => self.park(position, reason),
            }
        }
        Ok(())
    }

    fn remove(&mut self, position: u64) {
        self.free(position);
        self.entries.remove(&position);
    }

    fn park(&mut self, position: u64, reason: String) {
        let Some(entry) = self.entries.get_mut(&position) else {
            return;
        };
        if entry.parked.is_some() {
            return;
        }
        entry.parked = Some(reason);
        self.parked.insert(position);
        if let Some(key) = &entry.message.ordering_key {
            self.blocking
                .entry(key.clone())
                .or_default()
                .insert(position);
        }
    }

    /// Takes the entry off the parked ones, if it is among them.
    fn free(&mut self, position: u64) {
        if !self.parked.remove(&position) {
            return;
        }
        let Some(entry) = self.entries.get_mut(&position) else {
            return;
        };
        entry.parked = None;
        let Some(key) = &entry.message.ordering_key else {
            return;
        };
        if let Some(places) = self.blocking.get_mut(key) {
            places.remove(&position);
            if places.is_empty() {
                self.blocking.remove(key);
            }
        }
    }

    /// How many entries wait, parked ones not counted.
    pub(crate) fn depth(&self) -> u64 {
        (self.entries.len() - self.parked.len()) as u64
    }

    pub(crate) fn parked(
        &self,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<OutboxEntry>> {
        let after = after
            .map(|cursor| page::last_number("parked", cursor))
            .transpose()?;
        let size = page::size(limit);
        let places = self
            .parked
            .range(after.map_or(0, |after| after.saturating_add(1))..);
        let items: Vec<OutboxEntry> = places
            .take(size)
            .filter_map(|place| self.entries.get(place).cloned())
            .collect();
        let next = items
            .last()
            .filter(|_| items.len() == size)
            .map(|last| page::cursor("parked", &last.position.to_string()));
        Ok(Page { items, next })
    }

    fn must_be_parked(&self, position: u64) -> Result<()> {
        if self.parked.contains(&position) {
            return Ok(());
        }
        Err(Error::not_found(format!(
            "the outbox has no parked entry at place {position}"
        )))
    }

    pub(crate) fn unpark(&mut self, position: u64) -> Result<()> {
        self.must_be_parked(position)?;
        self.free(position);
        Ok(())
    }

    pub(crate) fn discard(&mut self, position: u64) -> Result<()> {
        self.must_be_parked(position)?;
        self.remove(position);
        Ok(())
    }
}
