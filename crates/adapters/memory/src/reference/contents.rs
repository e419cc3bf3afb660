//! The contents of a namespace: entries, holders, quota, garbage.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use statehouse_content::Encoded;
use statehouse_contracts::{
    Collected, Error, ErrorKind, Holder, PutContent, PutOutcome, Reference, ReferenceId,
    ReferenceInfo, ReferenceStats, Result,
};

use crate::config::Config;
use crate::time::Time;

/// One content.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) encoded: Arc<Encoded>,
    pub(crate) info: ReferenceInfo,
    expires: Option<Time>,
    /// Until when each holder holds.
    holders: HashMap<Holder, Time>,
    /// When it was last used, by the number of the use.
    used: u64,
}

impl Entry {
    fn has_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Its info with what changes.
    pub(crate) fn show(&self) -> ReferenceInfo {
        ReferenceInfo {
            holders: self.holders.len() as u64,
            expires_at: self.expires.map(Time::timestamp),
            ..self.info.clone()
        }
    }
}

/// The contents of a namespace.
///
/// Every operation begins with [`advance`](Contents::advance), so that it finds expired holders
/// gone. Expired content stays until it is collected, and reads as absent.
#[derive(Debug)]
pub(crate) struct Contents {
    quota: Option<u64>,
    pub(super) entries: BTreeMap<ReferenceId, Entry>,
    pub(super) by_holder: HashMap<Holder, BTreeSet<ReferenceId>>,
    expiries: BTreeSet<(Time, ReferenceId)>,
    holder_expiries: BTreeSet<(Time, ReferenceId, Holder)>,
    /// What nobody holds, least recently used first: cache content, and the rest.
    cache: BTreeSet<(u64, ReferenceId)>,
    unheld: BTreeSet<(u64, ReferenceId)>,
    uses: u64,
    totals: ReferenceStats,
}

impl Contents {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            quota: config.quota,
            entries: BTreeMap::new(),
            by_holder: HashMap::new(),
            expiries: BTreeSet::new(),
            holder_expiries: BTreeSet::new(),
            cache: BTreeSet::new(),
            unheld: BTreeSet::new(),
            uses: 0,
            totals: ReferenceStats::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Lets holders go whose time has passed.
    pub(crate) fn advance(&mut self, now: Time) {
        while let Some((due, _, _)) = self.holder_expiries.first()
            && *due <= now
            && let Some((_, id, holder)) = self.holder_expiries.pop_first()
        {
            self.release(&id, &holder);
        }
    }

    /// The content that is there.
    pub(crate) fn live(&self, id: &ReferenceId, now: Time) -> Option<&Entry> {
        self.entries.get(id).filter(|entry| !entry.has_expired(now))
    }

    pub(crate) fn must_live(&self, id: &ReferenceId, now: Time) -> Result<&Entry> {
        self.live(id, now)
            .ok_or_else(|| Error::not_found(format!("there is no content {id}, or it has expired")))
    }

    /// Marks it as used, and gives it.
    pub(crate) fn read(&mut self, id: &ReferenceId, now: Time) -> Result<&Entry> {
        self.must_live(id, now)?;
        self.reindex(id, |entry, uses| entry.used = uses);
        self.must_live(id, now)
    }

    /// Changes an entry with all indexes of those that nobody holds.
    fn reindex(&mut self, id: &ReferenceId, change: impl FnOnce(&mut Entry, u64)) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let index = if entry.info.cache {
            &mut self.cache
        } else {
            &mut self.unheld
        };
        let was_held = !entry.holders.is_empty();
        if !was_held {
            index.remove(&(entry.used, *id));
        }
        self.uses += 1;
        change(entry, self.uses);
        let is_held = !entry.holders.is_empty();
        if !is_held {
            index.insert((entry.used, *id));
        }
        self.totals.held += u64::from(is_held);
        self.totals.held -= u64::from(was_held);
    }

    /// Adds a holder to content that is there; with its options only the expiry may grow.
    pub(crate) fn put_again(
        &mut self,
        id: &ReferenceId,
        content: &PutContent,
        now: Time,
    ) -> Option<PutOutcome> {
        let known = self.live(id, now)?;
        let longer = match (known.expires, content.ttl) {
            (None, _) => None,
            (Some(_), None) => None,
            (Some(known), Some(ttl)) => Some(known.max(now.after(ttl))),
        };
        let reference = known.info.reference.clone();
        self.set_expiry(id, longer);
        self.reindex(id, |entry, uses| entry.used = uses);
        let holder = holder_of(content);
        if let Some(holder) = &holder {
            self.hold(id, holder, Time::NEVER);
        }
        Some(PutOutcome {
            reference,
            holder,
            created: false,
        })
    }

    /// Stores content that is not there, if the quota lets it.
    pub(crate) fn put_new(
        &mut self,
        id: ReferenceId,
        content: &PutContent,
        encoded: Encoded,
        now: Time,
    ) -> Result<PutOutcome> {
        let stored_size = encoded.stored_len();
        self.make_room(&id, stored_size, now)?;
        let reference = Reference {
            id,
            size: encoded.plain_len,
            content_type: content.content_type.clone(),
        };
        let expires = content.ttl.map(|ttl| now.after(ttl));
        let info = ReferenceInfo {
            reference: reference.clone(),
            kind: content.kind,
            compression: encoded.compression,
            stored_size,
            created_at: now.timestamp(),
            expires_at: None,
            holders: 0,
            cache: content.cache,
        };
        self.totals.entries += 1;
        self.totals.stored_bytes += stored_size;
        self.totals.plain_bytes += encoded.plain_len;
        self.uses += 1;
        let entry = Entry {
            encoded: Arc::new(encoded),
            info,
            expires: None,
            holders: HashMap::new(),
            used: self.uses,
        };
        let index = if content.cache {
            &mut self.cache
        } else {
            &mut self.unheld
        };
        index.insert((entry.used, id));
        self.entries.insert(id, entry);
        self.set_expiry(&id, expires);
        let holder = holder_of(content);
        if let Some(holder) = &holder {
            self.hold(&id, holder, Time::NEVER);
        }
        Ok(PutOutcome {
            reference,
            holder,
            created: true,
        })
    }

    /// Removes what has expired under `id`, and evicts until `size` more bytes fit.
    fn make_room(&mut self, id: &ReferenceId, size: u64, now: Time) -> Result<()> {
        let expired = self.expired(now).into_iter();
        let spare = expired.chain(self.unheld.iter().chain(&self.cache).map(|(_, id)| *id));
        let mut left = self.totals.stored_bytes;
        let mut going = BTreeSet::new();
        let mut order = Vec::new();
        for candidate in spare {
            let fits = self.quota.is_none_or(|quota| left + size <= quota);
            let replaced = candidate == *id;
            if !fits || replaced {
                if going.insert(candidate) {
                    let stored = self.entries.get(&candidate).map(|e| e.info.stored_size);
                    left -= stored.unwrap_or(0);
                    order.push(candidate);
                }
            } else if !self.entries.contains_key(id) || going.contains(id) {
                break;
            }
        }
        if let Some(quota) = self.quota.filter(|quota| left + size > *quota) {
            return Err(Error::new(
                ErrorKind::QuotaExceeded,
                format!(
                    "the content needs {size} bytes, but {left} of the namespace's {quota} are held"
                ),
            ));
        }
        for id in &order {
            self.remove(id);
        }
        self.totals.evictions += order.len() as u64;
        Ok(())
    }

    /// What has expired, in the order of that.
    fn expired(&self, now: Time) -> Vec<ReferenceId> {
        let due = self.expiries.iter().take_while(|(due, _)| *due <= now);
        due.map(|(_, id)| *id).collect()
    }

    pub(crate) fn hold(&mut self, id: &ReferenceId, holder: &Holder, until: Time) {
        let mut before = None;
        self.reindex(id, |entry, uses| {
            entry.used = uses;
            before = entry.holders.insert(holder.clone(), until);
        });
        if let Some(before) = before.filter(|before| *before != Time::NEVER) {
            self.holder_expiries.remove(&(before, *id, holder.clone()));
        }
        if until != Time::NEVER {
            self.holder_expiries.insert((until, *id, holder.clone()));
        }
        self.by_holder
            .entry(holder.clone())
            .or_default()
            .insert(*id);
    }

    /// Answers whether it held.
    pub(crate) fn release(&mut self, id: &ReferenceId, holder: &Holder) -> bool {
        let mut before = None;
        self.reindex(id, |entry, _| before = entry.holders.remove(holder));
        if let Some(until) = before {
            self.forget_holder(id, holder, until);
        }
        before.is_some()
    }

    fn forget_holder(&mut self, id: &ReferenceId, holder: &Holder, until: Time) {
        if until != Time::NEVER {
            self.holder_expiries.remove(&(until, *id, holder.clone()));
        }
        if let Some(held) = self.by_holder.get_mut(holder) {
            held.remove(id);
            if held.is_empty() {
                self.by_holder.remove(holder);
            }
        }
    }

    fn set_expiry(&mut self, id: &ReferenceId, expires: Option<Time>) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if let Some(old) = entry.expires {
            self.expiries.remove(&(old, *id));
        }
        if let Some(new) = expires {
            self.expiries.insert((new, *id));
        }
        entry.expires = expires;
    }

    pub(crate) fn touch(
        &mut self,
        id: &ReferenceId,
        ttl: Option<Duration>,
        now: Time,
    ) -> Result<()> {
        self.must_live(id, now)?;
        self.set_expiry(id, ttl.map(|ttl| now.after(ttl)));
        self.reindex(id, |entry, uses| entry.used = uses);
        Ok(())
    }

    /// Removes an entry, whoever holds it; answers its stored size.
    pub(crate) fn remove(&mut self, id: &ReferenceId) -> Option<u64> {
        self.set_expiry(id, None);
        let entry = self.entries.remove(id)?;
        let index = if entry.info.cache {
            &mut self.cache
        } else {
            &mut self.unheld
        };
        index.remove(&(entry.used, *id));
        self.totals.held -= u64::from(!entry.holders.is_empty());
        for (holder, until) in &entry.holders {
            self.forget_holder(id, holder, *until);
        }
        self.totals.entries -= 1;
        self.totals.stored_bytes -= entry.info.stored_size;
        self.totals.plain_bytes -= entry.info.reference.size;
        Some(entry.info.stored_size)
    }

    /// Removes what has expired, and what nobody holds but cache content.
    pub(crate) fn collect(&mut self, now: Time) -> Collected {
        self.advance(now);
        let mut going = self.expired(now);
        going.extend(self.unheld.iter().map(|(_, id)| *id));
        let mut collected = Collected::default();
        for bytes in going.iter().filter_map(|id| self.remove(id)) {
            collected.entries += 1;
            collected.bytes += bytes;
        }
        self.totals.collections += 1;
        self.totals.evictions += collected.entries;
        collected
    }

    /// The sums, without what has expired.
    pub(crate) fn stats(&self, now: Time) -> ReferenceStats {
        let mut stats = self.totals;
        for entry in self
            .expired(now)
            .iter()
            .filter_map(|id| self.entries.get(id))
        {
            stats.entries -= 1;
            stats.held -= u64::from(!entry.holders.is_empty());
            stats.stored_bytes -= entry.info.stored_size;
            stats.plain_bytes -= entry.info.reference.size;
        }
        stats
    }
}

/// Who will hold it: cache content has no holder.
fn holder_of(content: &PutContent) -> Option<Holder> {
    if content.cache {
        return content.holder.clone();
    }
    Some(content.holder.clone().unwrap_or_else(Holder::random))
}
