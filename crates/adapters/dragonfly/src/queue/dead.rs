//! Dead letters.

use bytes::Bytes;
use fred::types::Value;
use statehouse_contracts::{
    AttemptError, DeadLetter, Error, ErrorKind, GroupName, MessageId, Page, PageCursor, Result,
};

use super::held::Held;
use super::{Desk, MAX_BYTES, MAX_RECEIVE, groups::on_group, scripts};
use crate::reply::Row;
use crate::time::timestamp;

/// The most dead letters one script moves.
const AT_ONCE: &str = "256";

/// A page of its dead letters, oldest first; a limit of 0 is the largest.
pub(crate) async fn dead_letters(
    desk: &Desk,
    name: &GroupName,
    limit: usize,
    after: Option<&PageCursor>,
) -> Result<Page<DeadLetter>> {
    let limit = match limit {
        0 => MAX_RECEIVE,
        limit => limit.min(MAX_RECEIVE),
    };
    let after = match after {
        None => "",
        Some(cursor) => checked(cursor)?,
    };
    let arguments: Vec<Value> = vec![
        limit.to_string().into(),
        MAX_BYTES.to_string().into(),
        after.into(),
    ];
    let reply = on_group(desk, "dead_letters", name, &scripts::LETTERS, arguments);
    page(reply.await?)
}

/// A cursor is the name of the last letter of a page: `time:seq`.
fn checked(cursor: &PageCursor) -> Result<&str> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match cursor.0.split_once(':') {
        Some((time, seq)) if digits(time) && digits(seq) => Ok(&cursor.0),
        _ => Err(
            Error::invalid(format!("{cursor:?} is no cursor of dead letters"))
                .with_operation("dead_letters"),
        ),
    }
}

fn page(mut reply: Row) -> Result<Page<DeadLetter>> {
    let more = reply.text()? == "1";
    let (mut items, mut last) = (Vec::with_capacity(reply.len() / 4), None);
    while !reply.is_empty() {
        last = Some(PageCursor(reply.text()?));
        let record = reply.text()?;
        items.push(letter(
            &record,
            reply.optional_bytes()?,
            reply.optional_bytes()?,
        )?);
    }
    Ok(Page {
        items,
        next: last.filter(|_| more),
    })
}

/// Reads a letter: `time word reason`.
fn letter(record: &str, stored: Option<Bytes>, errors: Option<Bytes>) -> Result<DeadLetter> {
    let mut parts = record.splitn(3, ' ');
    let mut next = || parts.next().ok_or_else(|| damaged("letter"));
    let at: i64 = next()?.parse().map_err(|_| damaged("letter"))?;
    let held = Held::read(next()?)?;
    let reason = next()?.to_owned();
    Ok(DeadLetter {
        received: held.received(stored)?,
        reason,
        at: timestamp(at),
        attempts: held.attempts,
        errors: attempt_errors(&errors.unwrap_or_default())?,
    })
}

/// Reads the errors of a message: `attempt:time:length:error`, one after another.
fn attempt_errors(mut kept: &[u8]) -> Result<Vec<AttemptError>> {
    let mut errors = Vec::new();
    while !kept.is_empty() {
        let (error, rest) = attempt_error(kept).ok_or_else(|| damaged("list of errors"))?;
        errors.push(error);
        kept = rest;
    }
    Ok(errors)
}

fn attempt_error(kept: &[u8]) -> Option<(AttemptError, &[u8])> {
    fn number<T: std::str::FromStr>(kept: &[u8]) -> Option<(T, &[u8])> {
        let end = kept.iter().position(|byte| *byte == b':')?;
        let number = std::str::from_utf8(&kept[..end]).ok()?.parse().ok()?;
        Some((number, &kept[end + 1..]))
    }
    let (attempt, kept) = number(kept)?;
    let (at, kept) = number(kept)?;
    let (length, kept) = number(kept)?;
    let (error, rest) = kept.split_at_checked(length)?;
    let error = AttemptError {
        attempt,
        at: timestamp(at),
        error: String::from_utf8_lossy(error).into_owned(),
    };
    Some((error, rest))
}

fn damaged(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupted,
        format!("a stored {what} cannot be read"),
    )
}

/// Puts dead letters back: the one with this id, or all. Answers how many.
pub(crate) async fn redrive(desk: &Desk, name: &GroupName, id: Option<MessageId>) -> Result<u64> {
    let Some(id) = id else {
        return clear_all(desk, "redrive", name, false).await;
    };
    let bytes = Bytes::copy_from_slice(id.0.as_bytes());
    match clear(desk, "redrive", name, (false, bytes, String::new())).await? {
        0 => Err(Error::not_found("there is no such dead letter")
            .with_operation("redrive")
            .with_context("group", name)
            .with_context("id", id)),
        cleared => Ok(cleared),
    }
}

/// Redrives, or with `purge` deletes, all dead letters that are there now.
pub(super) async fn clear_all(
    desk: &Desk,
    operation: &'static str,
    name: &GroupName,
    purge: bool,
) -> Result<u64> {
    let reply = on_group(desk, operation, name, &scripts::LAST_DEAD, Vec::new());
    let last = reply.await?.text()?;
    let mut cleared = 0;
    while !last.is_empty() {
        match clear(desk, operation, name, (purge, Bytes::new(), last.clone())).await? {
            0 => break,
            some => cleared += some,
        }
    }
    Ok(cleared)
}

/// Redrives or purges the letter with an id, or some of those up to a name.
async fn clear(
    desk: &Desk,
    operation: &'static str,
    name: &GroupName,
    which: (bool, Bytes, String),
) -> Result<u64> {
    let (purge, id, up_to) = which;
    let act = if purge { "purge" } else { "redrive" };
    let arguments: Vec<Value> = vec![act.into(), id.into(), up_to.into(), AT_ONCE.into()];
    let reply = on_group(desk, operation, name, &scripts::CLEAR_DEAD, arguments);
    reply.await?.number()
}
