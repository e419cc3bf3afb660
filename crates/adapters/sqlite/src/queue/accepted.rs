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
    tx.prepare_cached(FIND)?
        .query_row((rules.ns, bucket, message.idempotency.key, begin), |row| {
            let id: [u8; 16] = row.get(2)?;
            Ok(Accepted {
                fingerprint: row.get(0)?,
                routed: row.get::<_, i64>(1)?.cast_unsigned(),
                id: MessageId(uuid::Uuid::from_bytes(id)),
            })
        })
        .optional()
}

/// What was accepted under the key of `message`. The window reaches two buckets.
pub(super) fn find(
    tx: &Tx<'_>,
    rules: Rules,
    message: &Prepared,
) -> rusqlite::Result<Option<Accepted>> {
    let bucket = bucket(tx.now(), rules.window);
    match find_in(tx, rules, message, bucket)? {
        None => find_in(tx, rules, message, bucket - 1),
        found => Ok(found),
    }
}

/// Remembers that `message` is accepted, unless its key was used before: then it says for what.
/// One step less than finding and remembering.
pub(super) fn claim(
    tx: &Tx<'_>,
    rules: Rules,
    message: &Prepared,
    routed: u64,
) -> rusqlite::Result<Option<Accepted>> {
    let bucket = bucket(tx.now(), rules.window);
    if let Some(earlier) = find_in(tx, rules, message, bucket - 1)? {
        return Ok(Some(earlier));
    }
    if remember(tx, rules, message, routed)? {
        return Ok(None);
    }
    find_in(tx, rules, message, bucket)
}

/// Remembers that `message` is accepted; false when its key is in the bucket already.
pub(super) fn remember(
    tx: &Tx<'_>,
    rules: Rules,
    message: &Prepared,
    routed: u64,
) -> rusqlite::Result<bool> {
    let (key, id) = (message.idempotency.key, message.id.0.as_bytes());
    let other_id = (key != *id).then_some(id);
    let inserted = tx
        .prepare_cached(
            "INSERT OR IGNORE INTO queue_accepted (ns, bucket, key, at, fingerprint, routed, id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute((
            rules.ns,
            bucket(tx.now(), rules.window),
            key,
            tx.now(),
            message.idempotency.fingerprint,
            routed.cast_signed(),
            other_id,
        ))?;
    Ok(inserted == 1)
}

/// Which bucket of idempotency keys a time belongs to.
pub(super) fn bucket(at: i64, window: i64) -> i64 {
    at.div_euclid(window.max(1))
}
