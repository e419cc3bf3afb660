//! Pages of records, in the byte order of their keys.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use fred::interfaces::SortedSetsInterface;
use fred::types::Key;
use statehouse_contracts::{
    Direction, Error, Id, Kind, ListQuery, Page, PageCursor, Record, Result, StateKey,
};

use super::read::{Wanted, current, page_size};
use super::{DragonflyState, MAX_PAGE_BYTES};

/// The most ids that one page looks at; with a rare glob a page may stay empty.
const MAX_LOOKED_AT: usize = 10_000;
/// How many ids are asked for at once.
const RUN: usize = 500;

/// A page of the records of one kind.
pub(super) async fn list(state: &DragonflyState, query: &ListQuery) -> Result<Page<Record>> {
    let after = query.after.as_ref().map(parse).transpose()?;
    let mut range = Range::of(query, after.as_ref().map(|key| key.id.as_str()));
    let wanted = match query.tombstones {
        true => Wanted::All,
        false => Wanted::Live,
    };
    let mut page = Filling::new(state, "list", query.limit, wanted);
    loop {
        let ids = ids(state, "list", &query.kind, &range, RUN).await?;
        let Some(last) = ids.last() else {
            return Ok(page.end());
        };
        range.go_on_after(last);
        let full = ids.len() == RUN;
        let keys = ids
            .into_iter()
            .map(|id| StateKey::new(query.kind.clone(), id));
        let matches = |key: &StateKey| matches(query, key.id.as_str());
        if let Some(page) = page.add(keys.collect(), matches).await? {
            return Ok(page);
        }
        if !full {
            return Ok(page.end());
        }
    }
}

/// A page of the current records of all kinds, tombstones included.
pub(super) async fn export(
    state: &DragonflyState,
    limit: usize,
    after: Option<&PageCursor>,
) -> Result<Page<Record>> {
    let mut from = after.map(parse).transpose()?;
    let mut page = Filling::new(state, "export", limit, Wanted::All);
    for kind in kinds(state, "export", from.as_ref().map(|key| &key.kind)).await? {
        let mut range = Range::all();
        if let Some(key) = from.take_if(|key| key.kind == kind) {
            range.go_on_after(&key.id);
        }
        loop {
            let ids = ids(state, "export", &kind, &range, RUN).await?;
            let Some(last) = ids.last() else { break };
            range.go_on_after(last);
            let full = ids.len() == RUN;
            let keys = ids.into_iter().map(|id| StateKey::new(kind.clone(), id));
            if let Some(page) = page.add(keys.collect(), |_| true).await? {
                return Ok(page);
            }
            if !full {
                break;
            }
        }
    }
    Ok(page.end())
}

/// The kinds there are records of, in order, from one on.
pub(super) async fn kinds(
    state: &DragonflyState,
    operation: &'static str,
    from: Option<&Kind>,
) -> Result<Vec<Kind>> {
    let range = Range {
        from: from.map_or("-".to_owned(), |kind| format!("[{kind}")),
        ..Range::all()
    };
    let found = range.read(state, operation, state.names.kinds.clone(), None);
    found.await?.into_iter().map(Kind::new).collect()
}

/// The first ids of a kind in `range`, at most `limit`.
pub(super) async fn ids(
    state: &DragonflyState,
    operation: &'static str,
    kind: &Kind,
    range: &Range,
    limit: usize,
) -> Result<Vec<Id>> {
    let found = range.read(state, operation, state.names.index_of(kind), Some(limit));
    found.await?.into_iter().map(Id::new).collect()
}

fn matches(query: &ListQuery, id: &str) -> bool {
    let begins = |prefix: &String| id.starts_with(prefix.as_str());
    query.prefix.as_ref().is_none_or(begins)
        && query.glob.as_ref().is_none_or(|glob| glob.matches(id))
}

/// A range of texts in byte order, as the server's commands take it: `from` and `to` each with
/// `[` (inclusive) or `(` (exclusive) before it, or `-` and `+` for the ends.
#[derive(Debug)]
pub(super) struct Range {
    from: String,
    to: String,
    direction: Direction,
}

impl Range {
    pub(super) fn all() -> Self {
        Self {
            from: "-".to_owned(),
            to: "+".to_owned(),
            direction: Direction::Ascending,
        }
    }

    /// The ids that a list may show, after the one that its cursor names.
    fn of(query: &ListQuery, after: Option<&str>) -> Self {
        let mut prefix = query.prefix.clone().unwrap_or_default();
        if let Some(glob) = query.glob.as_ref().map(|glob| glob.prefix())
            && glob.starts_with(&prefix)
        {
            prefix = glob;
        }
        let mut range = Self {
            direction: query.direction,
            ..Self::all()
        };
        if let Some(after) = after {
            // Ids before the first that fits were not shown, so a cursor lies within or after.
            range.go_on_after_text(after);
        }
        if !prefix.is_empty() {
            range.narrow(&prefix);
        }
        range
    }

    /// Leaves only texts that begin with `prefix`, which is not empty.
    fn narrow(&mut self, prefix: &str) {
        if self.from == "-" || self.from[1..] < *prefix {
            self.from = format!("[{prefix}");
        }
        // No text has a byte 0xff; commands take texts, so the end is the next text.
        if let Some(successor) = successor(prefix)
            && (self.to == "+" || self.to[1..] > *successor)
        {
            self.to = format!("({successor}");
        }
    }

    pub(super) fn go_on_after(&mut self, id: &Id) {
        self.go_on_after_text(id.as_str());
    }

    fn go_on_after_text(&mut self, id: &str) {
        match self.direction {
            Direction::Ascending => self.from = format!("({id}"),
            Direction::Descending => self.to = format!("({id}"),
        }
    }

    async fn read(
        &self,
        state: &DragonflyState,
        operation: &'static str,
        key: Key,
        limit: Option<usize>,
    ) -> Result<Vec<String>> {
        state.session.check_open(operation)?;
        let (from, to) = (self.from.clone(), self.to.clone());
        let limit = limit.map(|limit| (0, i64::try_from(limit).unwrap_or(i64::MAX)));
        let descending = self.direction == Direction::Descending;
        let client = &state.session.store.client;
        let found = client.run(operation, false, |commands| async move {
            if descending {
                commands.zrevrangebylex(key, to, from, limit).await
            } else {
                commands.zrangebylex(key, from, to, limit).await
            }
        });
        found.await
    }
}

/// The first text after all that begin with `prefix`; `None` when there is none.
fn successor(prefix: &str) -> Option<String> {
    let mut next = prefix.to_owned();
    while let Some(last) = next.pop() {
        let above = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(above) = above {
            next.push(above);
            return Some(next);
        }
    }
    None
}

/// A page while it is filled.
struct Filling<'s> {
    state: &'s DragonflyState,
    operation: &'static str,
    limit: usize,
    wanted: Wanted,
    items: Vec<Record>,
    bytes: usize,
    looked_at: usize,
}

impl<'s> Filling<'s> {
    fn new(
        state: &'s DragonflyState,
        operation: &'static str,
        limit: usize,
        wanted: Wanted,
    ) -> Self {
        Self {
            state,
            operation,
            limit: page_size(limit),
            wanted,
            items: Vec::new(),
            bytes: 0,
            looked_at: 0,
        }
    }

    /// Adds the records of `keys` that match; answers the page when it is full.
    async fn add(
        &mut self,
        keys: Vec<StateKey>,
        matches: impl Fn(&StateKey) -> bool,
    ) -> Result<Option<Page<Record>>> {
        let end = keys.last().cloned();
        self.looked_at += keys.len();
        let mut rest: &[StateKey] = &keys.into_iter().filter(matches).collect::<Vec<_>>();
        while !rest.is_empty() {
            let room = self.limit - self.items.len();
            let batch = &rest[..rest.len().min(room)];
            let found = current(self.state, self.operation, batch, self.wanted).await?;
            let (read, left) = rest.split_at(found.len());
            self.items
                .extend(found.into_iter().flatten().inspect(|record| {
                    self.bytes += record.data.len();
                }));
            rest = left;
            if self.items.len() == self.limit || self.bytes >= MAX_PAGE_BYTES {
                return Ok(read.last().map(|last| self.cut(last)));
            }
        }
        if self.looked_at >= MAX_LOOKED_AT {
            return Ok(end.map(|end| self.cut(&end)));
        }
        Ok(None)
    }

    /// The page, with where the next one begins.
    fn cut(&mut self, last: &StateKey) -> Page<Record> {
        Page {
            items: std::mem::take(&mut self.items),
            next: Some(cursor(last)),
        }
    }

    /// The last page.
    fn end(self) -> Page<Record> {
        Page {
            items: self.items,
            next: None,
        }
    }
}

fn cursor(key: &StateKey) -> PageCursor {
    PageCursor(BASE64_URL_SAFE_NO_PAD.encode(key.to_string()))
}

fn parse(cursor: &PageCursor) -> Result<StateKey> {
    let parsed = || {
        let text = BASE64_URL_SAFE_NO_PAD.decode(&cursor.0).ok()?;
        let text = String::from_utf8(text).ok()?;
        let (kind, id) = text.split_once('/')?;
        StateKey::parse(kind, id).ok()
    };
    parsed().ok_or_else(|| {
        Error::invalid("the page cursor is none that a list gave; begin without a cursor")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(direction: Direction, prefix: Option<&str>, after: Option<&str>) -> (String, String) {
        let query = ListQuery {
            prefix: prefix.map(str::to_owned),
            direction,
            ..ListQuery::new(Kind::new("k").unwrap())
        };
        let range = Range::of(&query, after);
        (range.from, range.to)
    }

    #[test]
    fn a_range_is_of_its_prefix_and_goes_on_after_its_cursor() {
        use Direction::*;
        let table = [
            (Ascending, None, None, "-", "+"),
            (Ascending, Some("ab"), None, "[ab", "(ac"),
            (Ascending, Some("ab"), Some("abx"), "(abx", "(ac"),
            (Ascending, Some("ab"), Some("aa"), "[ab", "(ac"),
            (Descending, None, Some("x"), "-", "(x"),
            (Descending, Some("ab"), None, "[ab", "(ac"),
            (Descending, Some("ab"), Some("abx"), "[ab", "(abx"),
            (Descending, Some("ab"), Some("b"), "[ab", "(ac"),
            (Ascending, Some("\u{10FFFF}"), None, "[\u{10FFFF}", "+"),
        ];
        for (direction, prefix, after, from, to) in table {
            let found = range(direction, prefix, after);
            assert_eq!(
                found,
                (from.to_owned(), to.to_owned()),
                "{prefix:?} {after:?}"
            );
        }
    }

    #[test]
    fn the_last_character_has_no_successor() {
        assert_eq!(successor(""), None);
        assert_eq!(successor("\u{10FFFF}"), None);
        assert_eq!(successor("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(successor("\u{D7FF}").as_deref(), Some("\u{E000}"));
    }

    #[test]
    fn cursors_are_reversible() {
        let key = StateKey::parse("kind", "a/b c🦀").unwrap();
        assert_eq!(parse(&cursor(&key)).unwrap(), key);
        assert!(parse(&PageCursor("nonsense".to_owned())).is_err());
    }
}
