//! The change log and its followers.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::types::{Key, Value};
use statehouse_contracts::{
    Change, ChangeLog, ChangeOperation, ChangePage, Cursor, Error, Follower, FollowerName,
    FollowerSpec, FollowerStart, Id, Kind, OpId, Principal, Result, StateKey, Timestamp, Trim,
    Version,
};
use uuid::Uuid;

use super::apply::text;
use super::names::Names;
use super::read::page_size;
use super::version::{Stored, damaged, moment};
use super::{DragonflyState, MAX_PAGE_BYTES, scripts};
use crate::client::Client;
use crate::reply::{Reply, Row};
use crate::time::{deadline, micros, timestamp};
use crate::wake::Woken;

/// How many changes one script trims.
const TRIM: usize = 2000;

/// A place in a log: its name, the position of the last change that was read, and the time of that
/// change, which a rewound log does not have there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    log: String,
    position: u64,
    stamp: String,
}

impl Place {
    fn parse(cursor: &Cursor) -> Result<Self> {
        let parsed = || {
            let mut parts = cursor.0.split('-');
            let (log, position, stamp) = (parts.next()?, parts.next()?, parts.next()?);
            let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let valid = log.len() == 32 && log.bytes().all(hex) && parts.next().is_none();
            (valid && digits(position) && digits(stamp)).then_some(())?;
            Some(Self {
                log: log.to_owned(),
                position: position.parse().ok()?,
                stamp: stamp.to_owned(),
            })
        };
        parsed().ok_or_else(|| {
            Error::invalid(format!(
                "{:?} is no cursor of a change log; pass one that a log gave",
                cursor.0
            ))
        })
    }

    fn cursor(&self) -> Cursor {
        Cursor(format!("{}-{}-{}", self.log, self.position, self.stamp))
    }

    fn arguments(&self) -> [Value; 3] {
        [text(&self.log), text(self.position), text(&self.stamp)]
    }
}

/// The ends of a log.
#[derive(Debug)]
struct Extent {
    oldest: Place,
    head: Place,
}

impl Extent {
    fn of(mut answer: Row) -> Result<Self> {
        let log = answer.text()?;
        let mut place = || {
            Ok::<_, Error>(Place {
                log: log.clone(),
                position: answer.number()?,
                stamp: answer.text()?,
            })
        };
        Ok(Self {
            oldest: place()?,
            head: place()?,
        })
    }

    fn lost(&self, why: &str) -> Error {
        Error::cursor_lost(why, self.oldest.cursor(), self.head.cursor())
    }
}

/// A change without its content.
#[derive(Debug)]
struct Entry {
    place: Place,
    commit: u64,
    key: StateKey,
    version: Version,
    operation: ChangeOperation,
    at: Timestamp,
    by: Principal,
    op_id: Option<OpId>,
    /// The bytes of the version's own part of the content.
    size: usize,
}

impl Entry {
    fn of(log: &str, reply: Reply) -> Result<Self> {
        let mut answer = reply.row()?;
        let (position, stamp) = (answer.number()?, answer.text()?);
        Ok(Self {
            at: moment(&stamp)?,
            place: Place {
                log: log.to_owned(),
                position,
                stamp,
            },
            commit: answer.number()?,
            key: StateKey::new(Kind::new(answer.text()?)?, Id::new(answer.text()?)?),
            version: answer.number()?,
            operation: operation(&answer.text()?)?,
            by: Principal::new(answer.text()?)?,
            op_id: answer
                .optional()?
                .map(|id| OpId::new(id.text()?))
                .transpose()?,
            size: answer.number()?,
        })
    }

    fn change(self, content: Reply) -> Result<Change> {
        let content = if content.is_none() {
            None
        } else {
            let mut answer = content.row()?;
            let stored = Stored::of(answer.next()?)?;
            let data: Bytes = answer.bytes()?;
            stored.change(data)
        };
        Ok(Change {
            cursor: self.place.cursor(),
            commit: self.commit,
            key: self.key,
            version: self.version,
            operation: self.operation,
            at: self.at,
            by: self.by,
            op_id: self.op_id,
            content,
        })
    }
}

fn operation(name: &str) -> Result<ChangeOperation> {
    Ok(match name {
        "put" => ChangeOperation::Put,
        "append" => ChangeOperation::Append,
        "delete" => ChangeOperation::Delete,
        "expire" => ChangeOperation::Expire,
        "rollback" => ChangeOperation::Rollback,
        "import" => ChangeOperation::Import,
        other => return Err(damaged(format!("a change did {other:?}"))),
    })
}

/// The first argument of every script of the log: its name if it has none yet.
fn new_log() -> Value {
    text(Uuid::now_v7().simple())
}

impl DragonflyState {
    fn log_keys(&self) -> Vec<Key> {
        vec![self.names.meta.clone(), self.names.changes.clone()]
    }

    fn follower_keys(&self) -> Vec<Key> {
        let mut keys = self.log_keys();
        keys.push(self.names.followers.clone());
        keys
    }

    async fn extent(&self, operation: &'static str) -> Result<Extent> {
        let keys = self.log_keys();
        let answer = self
            .session
            .script(operation, &scripts::EXTENT, keys, vec![new_log()])
            .await?;
        Extent::of(Reply::from(answer).row()?)
    }

    async fn page(&self, after: &Place, limit: usize) -> Result<ChangePage> {
        let mut arguments = vec![new_log()];
        arguments.extend(after.arguments());
        arguments.push(text(page_size(limit)));
        let keys = self.log_keys();
        let answer = self
            .session
            .script("changes", &scripts::PAGE, keys, arguments)
            .await?;
        let mut answer = Reply::from(answer).row()?;
        let extent = Extent::of(answer.next()?.row()?)?;
        let why = answer.text()?;
        if !why.is_empty() {
            return Err(extent.lost(&why).with_operation("changes"));
        }
        let read = |reply| Entry::of(&after.log, reply);
        let entries: Vec<Entry> = answer.next()?.list()?.map(read).collect::<Result<_>>()?;
        self.show(after, entries).await
    }

    /// The entries with their contents, as many as one page should hold.
    async fn show(&self, after: &Place, mut entries: Vec<Entry>) -> Result<ChangePage> {
        let mut room = MAX_PAGE_BYTES;
        let fits = entries.iter().take_while(|entry| {
            let fits = room > 0;
            room = room.saturating_sub(entry.size);
            fits
        });
        let fitting = fits.count();
        entries.truncate(fitting);
        let Some(last) = entries.last() else {
            return Ok(ChangePage {
                changes: Vec::new(),
                next: after.cursor(),
            });
        };
        let next = last.place.cursor();
        let keys = entries
            .iter()
            .map(|entry| self.names.record_of(&entry.key))
            .collect();
        let versions = entries.iter().map(|entry| text(entry.version)).collect();
        let contents = self
            .session
            .script("changes", &scripts::CONTENT, keys, versions)
            .await?;
        let contents = Reply::from(contents).list()?;
        let changes = entries
            .into_iter()
            .zip(contents)
            .map(|(entry, content)| entry.change(content))
            .collect::<Result<_>>()?;
        Ok(ChangePage { changes, next })
    }
}

#[async_trait]
impl ChangeLog for DragonflyState {
    async fn changes(&self, after: &Cursor, limit: usize, wait: Duration) -> Result<ChangePage> {
        let after = Place::parse(after)?;
        let page = self.page(&after, limit).await?;
        if !page.changes.is_empty() || wait.is_zero() {
            return Ok(page);
        }
        let deadline = deadline(wait);
        let channel = self.names.changes.as_str_lossy().into_owned();
        let mut listener = self.changed.listener(&self.session, &channel).await?;
        loop {
            listener.mark();
            let page = self.page(&after, limit).await?;
            if !page.changes.is_empty() {
                return Ok(page);
            }
            if self.session.wait(&mut listener, deadline).await? == Woken::Late {
                return self.page(&after, limit).await;
            }
        }
    }

    async fn head(&self) -> Result<Cursor> {
        Ok(self.extent("head").await?.head.cursor())
    }

    async fn oldest(&self) -> Result<Cursor> {
        Ok(self.extent("oldest").await?.oldest.cursor())
    }

    async fn follow(&self, name: &FollowerName, spec: FollowerSpec) -> Result<Follower> {
        let mut arguments = vec![new_log(), text(name.as_str())];
        match &spec.start {
            FollowerStart::At(cursor) => {
                arguments.push(text("at"));
                arguments.extend(Place::parse(cursor)?.arguments());
            }
            FollowerStart::Oldest => arguments.extend(["oldest", "", "0", ""].map(text)),
            FollowerStart::Head => arguments.extend(["head", "", "0", ""].map(text)),
        }
        let max_lag = spec.max_lag.map(|lag| lag.to_string());
        arguments.push(text(max_lag.unwrap_or_default()));
        let keys = self.follower_keys();
        let answer = self
            .session
            .script("follow", &scripts::FOLLOW, keys, arguments)
            .await?;
        let mut answer = Reply::from(answer).row()?;
        let extent = Extent::of(answer.next()?.row()?)?;
        match answer.text()?.as_str() {
            "" => follower(&extent, answer.next()?.row()?),
            why => Err(extent.lost(why).with_operation("follow")),
        }
    }

    async fn advance(&self, name: &FollowerName, cursor: &Cursor) -> Result<()> {
        let mut arguments = vec![new_log(), text(name.as_str())];
        arguments.extend(Place::parse(cursor)?.arguments());
        let keys = self.follower_keys();
        let answer = self
            .session
            .script("advance", &scripts::ADVANCE, keys, arguments)
            .await?;
        let mut answer = Reply::from(answer).row()?;
        let extent = Extent::of(answer.next()?.row()?)?;
        match answer.text()?.as_str() {
            "" => Ok(()),
            "unknown" => Err(Error::not_found(format!(
                "there is no follower {name}; make it with follow"
            ))),
            why => Err(extent.lost(why)),
        }
        .map_err(|error| error.with_operation("advance"))
    }

    async fn followers(&self) -> Result<Vec<Follower>> {
        let keys = self.follower_keys();
        let answer = self
            .session
            .script("followers", &scripts::FOLLOWERS, keys, vec![new_log()])
            .await?;
        let mut answer = Reply::from(answer).row()?;
        let extent = Extent::of(answer.next()?.row()?)?;
        let read = |reply: Reply| follower(&extent, reply.row()?);
        let mut all: Vec<Follower> = answer.next()?.list()?.map(read).collect::<Result<_>>()?;
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    async fn unfollow(&self, name: &FollowerName) -> Result<bool> {
        use fred::interfaces::HashesInterface;
        self.session.check_open("unfollow")?;
        let (key, name) = (self.names.followers.clone(), name.as_str().to_owned());
        let client = &self.session.store.client;
        let removed = client.run("unfollow", true, |commands| async move {
            commands.hdel::<u64, _, _>(key, name).await
        });
        Ok(removed.await? > 0)
    }

    async fn trim(&self, bound: Trim) -> Result<u64> {
        self.session.check_open("trim")?;
        trim(&self.session.store.client, &self.names, bound).await
    }
}

/// Trims the log in short steps; answers how many changes went.
pub(super) async fn trim(client: &Client, names: &Names, bound: Trim) -> Result<u64> {
    let mut trimmed = 0;
    loop {
        let keys = [&names.meta, &names.changes, &names.followers].map(Key::clone);
        let keep = bound.keep_last.map(|keep| keep.to_string());
        let age = bound.max_age.map(|age| micros(age).to_string());
        let arguments = vec![
            new_log(),
            text(keep.unwrap_or_default()),
            text(age.unwrap_or_default()),
            text(TRIM),
        ];
        let answer = client
            .script("trim", &scripts::TRIM, keys.to_vec(), arguments)
            .await?;
        let mut answer = Reply::from(answer).row()?;
        trimmed += answer.number::<u64>()?;
        if !answer.next()?.is("1") {
            return Ok(trimmed);
        }
    }
}

fn follower(extent: &Extent, mut answer: Row) -> Result<Follower> {
    let name = FollowerName::new(answer.text()?)?;
    let place = Place {
        log: extent.head.log.clone(),
        position: answer.number()?,
        stamp: answer.text()?,
    };
    Ok(Follower {
        name,
        cursor: place.cursor(),
        lag: extent.head.position.saturating_sub(place.position),
        lost: answer.next()?.is("1"),
        advanced_at: timestamp(answer.number()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nonsense_is_refused() {
        let place = Place {
            log: Uuid::now_v7().simple().to_string(),
            position: 7,
            stamp: "1700000000000000000".to_owned(),
        };
        assert_eq!(Place::parse(&place.cursor()).unwrap(), place);
        let log = &place.log;
        for nonsense in [
            String::new(),
            "nonsense".to_owned(),
            format!("{log}-7"),
            format!("{log}-7-"),
            format!("{log}-x-1"),
            format!("{log}-+7-1"),
            format!("{log}-7-1-1"),
            format!("{}-7-1", log.to_uppercase() + "x"),
        ] {
            assert!(
                Place::parse(&Cursor(nonsense.clone())).is_err(),
                "{nonsense}"
            );
        }
    }
}
