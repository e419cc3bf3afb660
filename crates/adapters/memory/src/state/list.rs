//! Going through the keys of a namespace: lists, export, prune.

use std::collections::BTreeMap;
use std::ops::Bound;

use jiff::Timestamp;
use statehouse_contracts::{
    Direction, Id, Kind, ListQuery, Page, PageCursor, Prune, Pruned, Result, StateKey,
};

use crate::page::{self, MAX_SCAN};
use crate::state::entry::{Draft, Entry};
use crate::state::records::Records;
use crate::time::Time;

/// How many keys one step of a prune looks at.
const PRUNE_STEP: usize = 1_000;

type Ids = BTreeMap<Id, Entry>;

impl Records {
    pub(crate) fn list(&self, query: &ListQuery) -> Result<Page<Draft>> {
        let list = format!("list-{}", query.kind);
        let after = query
            .after
            .as_ref()
            .map(|cursor| page::last(&list, cursor))
            .transpose()?;
        let Some(ids) = self.kinds.get(&query.kind) else {
            return Ok(Page {
                items: Vec::new(),
                next: None,
            });
        };
        let Some(prefix) = common_prefix(query) else {
            return Ok(Page {
                items: Vec::new(),
                next: None,
            });
        };
        let size = page::size(query.limit);
        let mut items = Vec::new();
        let mut last = None;
        for (scanned, (id, entry)) in range(ids, &prefix, query.direction, after).enumerate() {
            if items.len() == size || scanned == MAX_SCAN {
                let next = last.map(|id: &Id| page::cursor(&list, id.as_str()));
                return Ok(Page { items, next });
            }
            last = Some(id);
            if wanted(query, id, entry) {
                let key = StateKey::new(query.kind.clone(), id.clone());
                items.push(entry.current().draft(key));
            }
        }
        Ok(Page { items, next: None })
    }

    pub(crate) fn export(&self, limit: usize, after: Option<&PageCursor>) -> Result<Page<Draft>> {
        let after = after.map(export_cursor).transpose()?;
        let size = page::size(limit);
        let mut items = Vec::new();
        let mut last = None;
        for (kind, id, entry) in self.keys_after(after.as_ref()) {
            if items.len() == size {
                let next = last.map(|(kind, id): (&Kind, &Id)| {
                    page::cursor("export", &format!("{kind}\n{id}"))
                });
                return Ok(Page { items, next });
            }
            last = Some((kind, id));
            items.push(
                entry
                    .current()
                    .draft(StateKey::new(kind.clone(), id.clone())),
            );
        }
        Ok(Page { items, next: None })
    }

    fn keys_after<'a>(
        &'a self,
        after: Option<&'a StateKey>,
    ) -> impl Iterator<Item = (&'a Kind, &'a Id, &'a Entry)> {
        let kinds = match after {
            Some(after) => self.kinds.range::<Kind, _>(&after.kind..),
            None => self.kinds.range::<Kind, _>(..),
        };
        kinds.flat_map(move |(kind, ids)| {
            let from = match after {
                Some(after) if after.kind == *kind => Bound::Excluded(&after.id),
                _ => Bound::Unbounded,
            };
            let ids = ids.range::<Id, _>((from, Bound::Unbounded));
            ids.map(move |(id, entry)| (kind, id, entry))
        })
    }

    /// Prunes the next keys after `after`; answers what went, and where to go on.
    pub(crate) fn prune_step(
        &mut self,
        prune: &Prune,
        after: Option<&StateKey>,
        now: Time,
    ) -> (Pruned, Option<StateKey>) {
        let keys: Vec<StateKey> = match (&prune.key, &prune.kind) {
            (Some(key), kind) if kind.as_ref().is_none_or(|kind| *kind == key.kind) => {
                vec![key.clone()]
            }
            (Some(_), _) => Vec::new(),
            (None, kind) => self
                .keys_after(after)
                .filter(|(of, _, _)| kind.as_ref().is_none_or(|kind| kind == *of))
                .take(PRUNE_STEP)
                .map(|(kind, id, _)| StateKey::new(kind.clone(), id.clone()))
                .collect(),
        };
        let mut pruned = Pruned::default();
        for key in &keys {
            let (versions, forgotten) = self.prune_key(key, prune, now);
            pruned.versions += versions;
            pruned.keys += u64::from(forgotten);
        }
        let next = keys.into_iter().next_back();
        (pruned, next.filter(|_| prune.key.is_none()))
    }

    fn prune_key(&mut self, key: &StateKey, prune: &Prune, now: Time) -> (u64, bool) {
        let before = |age| now.before(age).timestamp();
        let ids = self.kinds.get_mut(&key.kind);
        let Some(entry) = ids.and_then(|ids| ids.get_mut(&key.id)) else {
            return (0, false);
        };
        let current = entry.current();
        let old = |age: Timestamp| !current.is_live() && current.updated_at <= age;
        if prune.tombstones.map(before).is_some_and(old) {
            return (self.forget(key), true);
        }
        (
            entry.prune(prune.keep_last, prune.max_age.map(before)),
            false,
        )
    }
}

fn export_cursor(cursor: &PageCursor) -> Result<StateKey> {
    let last = page::last("export", cursor)?;
    let (kind, id) = last.split_once('\n').unwrap_or_default();
    StateKey::parse(kind, id)
}

fn wanted(query: &ListQuery, id: &Id, entry: &Entry) -> bool {
    (query.tombstones || entry.current().is_live())
        && query
            .glob
            .as_ref()
            .is_none_or(|glob| glob.matches(id.as_str()))
}

/// What every id of the list begins with; `None` when none can match.
fn common_prefix(query: &ListQuery) -> Option<String> {
    let prefix = query.prefix.clone().unwrap_or_default();
    let of_glob = query
        .glob
        .as_ref()
        .map(|glob| glob.prefix())
        .unwrap_or_default();
    if prefix.starts_with(&of_glob) {
        Some(prefix)
    } else {
        Some(of_glob).filter(|longer| longer.starts_with(&prefix))
    }
}

/// The ids that begin with `prefix`, in this direction, behind `after`.
fn range<'a>(
    ids: &'a Ids,
    prefix: &str,
    direction: Direction,
    after: Option<String>,
) -> Box<dyn Iterator<Item = (&'a Id, &'a Entry)> + 'a> {
    let end = successor(prefix);
    let (mut low, mut high) = (
        Bound::Included(prefix),
        end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
    );
    if let Some(after) = &after {
        let outside = !after.starts_with(prefix);
        match direction {
            _ if outside => return Box::new(std::iter::empty()),
            Direction::Ascending => low = Bound::Excluded(after),
            Direction::Descending => high = Bound::Excluded(after),
        }
    }
    // An excluded end that is also the included start would be an empty range, but a panic.
    if let (Bound::Included(low), Bound::Excluded(high)) = (low, high)
        && low >= high
    {
        return Box::new(std::iter::empty());
    }
    let found = ids.range::<str, _>((low, high));
    match direction {
        Direction::Ascending => Box::new(found),
        Direction::Descending => Box::new(found.rev()),
    }
}

/// The least text above all that begin with `prefix`; `None` when there is no such text.
fn successor(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            other => char::from_u32(u32::from(other) + 1),
        };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_successor_of_the_last_character_is_that_of_the_one_before() {
        assert_eq!(successor("a\u{10FFFF}"), Some("b".to_owned()));
        assert_eq!(successor("\u{10FFFF}"), None);
        assert_eq!(successor("\u{D7FF}"), Some("\u{E000}".to_owned()));
    }

    proptest! {
        #[test]
        fn the_successor_is_above_the_prefix_and_all_that_follow_it(
            prefix in any::<String>(),
            rest in any::<String>(),
        ) {
            if let Some(end) = successor(&prefix) {
                let longer = format!("{prefix}{rest}");
                prop_assert!(longer < end);
            }
        }
    }
}
