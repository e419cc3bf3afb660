//! Idempotency keys: what was accepted within the dedup window.

use rusqlite::OptionalExtension;
use statehouse_contracts::{Error, ErrorKind, MessageId, Sent};

use super::{
    prepare::Prepared,
    send::{Admission, Rules},
};
use crate::engine::Tx;

/// What is remembered of an accepted message.
pub(super) struct Accepted {
    fingerprint: i64,
    routed: u64,
    id: MessageId,
}

impl Accepted {
    /// The answer to a message with the same key.
    pub(super) fn answer(self, message: &Prepared) -> Admission {
        if self.fingerprint != message.idempotency.fingerprint {
            return Admission::Refused(Error::new(
                ErrorKind::Conflict,
                format!(
                    "the idempotency key was used by message {} with other content",
                    self.id
                ),
            ));
        }
        Admission::Accepted(Sent {
            id: self.id,
            routed: Some(self.routed),
            duplicate_of: Some(self.id),
        })
    }
}

const REMEMBER: &str = "INSERT OR IGNORE INTO queue_accepted
    (ns, bucket, key, at, fingerprint, routed, id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const FIND: &str = "SELECT fingerprint, routed, coalesce(id, key) FROM queue_accepted
    WHERE ns = ?1 AND bucket = ?2 AND key = ?3 AND at > ?4";

/// What was accepted under the key of `message`, in one bucket.
fn find_in(
    tx: &Tx<'_>,
    rules: Rules,
    message: &Prepared,
    bucket: i64,
) -> rusqlite::Result<Option<Accepted>> {
    let begin = tx.now().saturating_sub(rules.window);
    let key = (rules.ns, bucket, message.idempotency.key, begin);
    tx.with(FIND, |find| {
        find.query_row(key, |row| {
            let id: [u8; 16] = row.get(2)?;
            Ok(Accepted {
                fingerprint: row.get(0)?,
                routed: row.get::<_, i64>(1)?.cast_unsigned(),
                id: MessageId(uuid::Uuid::from_bytes(id)),
            })
        })
        .optional()
    })
}

/// What was accepted under the key of `message`. The window reaches two buckets.
pub(super) fn find(
    tx: &Tx<'_>,
    last: &mut LastKey,
    rules: Rules,
    message: &Prepared,
) -> rusqlite::Result<Option<Accepted>> {
    match find_before(tx, last, rules, message)? {
        None => find_in(tx, rules, message, bucket(tx.now(), rules.window)),
        found => Ok(found),
    }
}

/// What was accepted under the key of `message` in the bucket before the present one.
fn find_before(
    tx: &Tx<'_>,
    last: &mut LastKey,
    rules: Rules,
    message: &Prepared,
) -> rusqlite::Result<Option<Accepted>> {
    let before = bucket(tx.now(), rules.window) - 1;
    if last.is_beyond(tx, (rules.ns, before), &message.idempotency.key)? {
        return Ok(None);
    }
    find_in(tx, rules, message, before)
}

/// The last key of the bucket before the present one, remembered for a transaction. Ids that we
/// make grow with time, so that most keys lie beyond it and need no search there.
#[derive(Debug, Default)]
pub(super) struct LastKey {
    /// Epoch, namespace and bucket.
    of: Option<(u64, i64, i64)>,
    key: Option<[u8; 16]>,
}

const LAST_KEY: &str = "SELECT key FROM queue_accepted WHERE ns = ?1 AND bucket = ?2
    ORDER BY key DESC LIMIT 1";

impl LastKey {
    /// Whether `key` is greater than every key of the bucket.
    fn is_beyond(
        &mut self,
        tx: &Tx<'_>,
        (ns, bucket): (i64, i64),
        key: &[u8; 16],
    ) -> rusqlite::Result<bool> {
        let of = Some((tx.epoch(), ns, bucket));
        if self.of != of {
            self.key = tx.with(LAST_KEY, |last| {
                last.query_row((ns, bucket), |row| row.get(0)).optional()
            })?;
            self.of = of;
        }
        Ok(self.key.is_none_or(|last| *key > last))
    }

    /// Forgets what is no longer true when a key is added to a bucket.
    fn note(&mut self, ns: i64, bucket: i64) {
        let same = |(_, other, of): (u64, i64, i64)| (other, of) == (ns, bucket);
        if self.of.is_some_and(same) {
            self.of = None;
        }
    }
}

/// Remembers that `message` is accepted, unless its key was used before: then it says for what.
/// One step less than finding and remembering.
pub(super) fn claim(
    tx: &Tx<'_>,
    last: &mut LastKey,
    rules: Rules,
    message: &Prepared,
    routed: u64,
) -> rusqlite::Result<Option<Accepted>> {
    if let Some(earlier) = find_before(tx, last, rules, message)? {
        return Ok(Some(earlier));
    }
    if remember(tx, last, rules, message, routed)? {
        return Ok(None);
    }
    find_in(tx, rules, message, bucket(tx.now(), rules.window))
}

/// Remembers that `message` is accepted; false when its key is in the bucket already.
pub(super) fn remember(
    tx: &Tx<'_>,
    last: &mut LastKey,
    rules: Rules,
    message: &Prepared,
    routed: u64,
) -> rusqlite::Result<bool> {
    let bucket = bucket(tx.now(), rules.window);
    last.note(rules.ns, bucket);
    let (key, id) = (message.idempotency.key, message.original.id.0.as_bytes());
    let other_id = (key != *id).then_some(id);
    let row = (
        rules.ns,
        bucket,
        key,
        tx.now(),
        message.idempotency.fingerprint,
        routed.cast_signed(),
        other_id,
    );
    Ok(tx.run(REMEMBER, row)? == 1)
}

/// Which bucket of idempotency keys a time belongs to.
pub(super) fn bucket(at: i64, window: i64) -> i64 {
    at.div_euclid(window.max(1))
}
