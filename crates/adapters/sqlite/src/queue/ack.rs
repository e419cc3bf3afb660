//! Acknowledging many deliveries of one receive together: a few statements for all of them.

use statehouse_contracts::SettleAction;

use super::{Count, registry::Group, token::Token};
use crate::engine::Tx;

/// The fewest acks that are worth looking whether they can be done together.
const FEWEST: usize = 4;

/// What is leased of a batch, whether it expires, and whether there is more to an ack of it than to
/// remove it.
const LEASED: &str = "SELECT seq, expires IS NOT NULL,
        key IS NOT NULL OR shared OR attempts > 1
    FROM queue_leased
    WHERE grp = ?1 AND deadline = ?2 AND batch = ?3 AND seq BETWEEN ?4 AND ?5 ORDER BY seq";
const FORGET_EXPIRY: &str = "DELETE FROM queue_expiry WHERE (grp, expires, seq) IN
    (SELECT grp, expires, seq FROM queue_leased
     WHERE grp = ?1 AND deadline = ?2 AND batch = ?3 AND seq BETWEEN ?4 AND ?5)";
const DROP_BODIES: &str = "DELETE FROM queue_message WHERE seq IN
    (SELECT seq FROM queue_leased
     WHERE grp = ?1 AND deadline = ?2 AND batch = ?3 AND seq BETWEEN ?4 AND ?5)";
const REMOVE: &str = "DELETE FROM queue_leased
    WHERE grp = ?1 AND deadline = ?2 AND batch = ?3 AND seq BETWEEN ?4 AND ?5";

/// How many of the first items are acks of one batch.
pub(super) fn run(items: &[(Token, SettleAction)]) -> usize {
    let Some((first, _)) = items.first() else {
        return 0;
    };
    let same = |token: &Token| {
        (token.group, token.deadline, token.batch) == (first.group, first.deadline, first.batch)
    };
    items
        .iter()
        .take_while(|(token, action)| matches!(action, SettleAction::Ack) && same(token))
        .count()
}

/// Acknowledges a [`run`], if that is all that is leased of its batch between its ends, and
/// removing the messages is all that there is to do. Otherwise it does nothing and says false.
pub(super) fn together(
    tx: &Tx<'_>,
    group: &Group,
    run: &[(Token, SettleAction)],
) -> rusqlite::Result<bool> {
    let mut seqs: Vec<i64> = run.iter().map(|(token, _)| token.seq).collect();
    seqs.sort_unstable();
    let (Some((token, _)), Some(low), Some(high)) = (run.first(), seqs.first(), seqs.last()) else {
        return Ok(false);
    };
    let simple = run.len() >= FEWEST && group.spec.max_length.is_none();
    if !simple || token.deadline <= tx.now() {
        return Ok(false);
    }
    let range = (token.group, token.deadline, token.batch, *low, *high);
    let Some(Simple { expires }) = leased(tx, range, &seqs)? else {
        return Ok(false);
    };
    if expires {
        tx.run(FORGET_EXPIRY, range)?;
    }
    tx.run(DROP_BODIES, range)?;
    tx.run(REMOVE, range)?;
    tx.add(Count::Leased.of(group.id), -super::rows(seqs.len()));
    Ok(true)
}

/// Leased messages that an ack has only to remove.
struct Simple {
    /// Whether any of them expires.
    expires: bool,
}

/// What is leased in the range, if that is exactly these, all simple ones.
fn leased(
    tx: &Tx<'_>,
    range: (i64, i64, i64, i64, i64),
    seqs: &[i64],
) -> rusqlite::Result<Option<Simple>> {
    let mut statement = tx.prepare_cached(LEASED)?;
    let mut rows = statement.query(range)?;
    let mut expected = seqs.iter();
    let mut found = Simple { expires: false };
    while let Some(row) = rows.next()? {
        let (seq, expires, more): (i64, bool, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if more || expected.next() != Some(&seq) {
            return Ok(None);
        }
        found.expires |= expires;
    }
    Ok(expected.next().is_none().then_some(found))
}
