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
            id: message.id,
            routed: Some(self.routed),
            duplicate_of: Some(self.id),
        })
    }
}

const FIND_ACCEPTED: &str = "SELECT fingerprint, routed, coalesce(id, key) FROM queue_accepted
    WHERE ns = ?1 AND bucket IN (?2, ?2 - 1) AND key = ?3 AND at > ?4";

/// What was accepted under the key of `message`.
pub(super) fn find(
    tx: &Tx<'_>,
    rules: Rules,
    message: &Prepared,
) -> rusqlite::Result<Option<Accepted>> {
    let (now, bucket) = (tx.now(), bucket(tx.now(), rules.window));
    tx.prepare_cached(FIND_ACCEPTED)?
        .query_row(
            (
                rules.ns,
                bucket,
                message.idempotency.key,
                now.saturating_sub(rules.window),
            ),
            |row| {
                let id: [u8; 16] = row.get(2)?;
                Ok(Accepted {
                    fingerprint: row.get(0)?,
                    routed: row.get::<_, i64>(1)?.cast_unsigned(),
                    id: MessageId(uuid::Uuid::from_bytes(id)),
                })
            },
        )
        .optional()
}

/// Remembers that `message` was accepted.
pub(super) fn remember(
    tx: &Tx<'_>,
    rules: Rules,
    message: &Prepared,
    routed: u64,
) -> rusqlite::Result<()> {
    let (key, id) = (message.idempotency.key, message.id.0.as_bytes());
    let other_id = (key != *id).then_some(id);
    // A key whose window is over may still lie in the bucket.
    tx.prepare_cached(
        "INSERT OR REPLACE INTO queue_accepted (ns, bucket, key, at, fingerprint, routed, id)
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
    Ok(())
}

/// Which bucket of idempotency keys a time belongs to.
pub(super) fn bucket(at: i64, window: i64) -> i64 {
    at.div_euclid(window.max(1))
}
