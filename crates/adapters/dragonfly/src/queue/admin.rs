//! Looking at groups, and purging them.

use std::time::Duration;

use statehouse_contracts::{Counts, GroupName, Received, Result};

use super::held::Held;
use super::{Desk, MAX_BYTES, MAX_RECEIVE, dead, groups::on_group, scripts};

/// The most messages one script purges of each sort.
const AT_ONCE: u64 = 256;

/// How many messages it holds.
pub(crate) async fn counts(desk: &Desk, name: &GroupName) -> Result<Counts> {
    let mut reply = on_group(desk, "counts", name, &scripts::COUNTS, Vec::new()).await?;
    Ok(Counts {
        ready: reply.number()?,
        delayed: reply.number()?,
        in_flight: reply.number()?,
        dead: reply.number()?,
        expired: reply.number()?,
        dropped: reply.number()?,
        exact: true,
    })
}

/// For how long the oldest ready message has been due.
pub(crate) async fn oldest_ready_age(desk: &Desk, name: &GroupName) -> Result<Option<Duration>> {
    let reply = on_group(desk, "oldest_ready_age", name, &scripts::OLDEST, Vec::new());
    let age = reply.await?.text()?;
    Ok(age.parse().ok().map(Duration::from_micros))
}

/// The next ready messages, with the number of their last attempt.
pub(crate) async fn peek(
    desk: &Desk,
    name: &GroupName,
    max: usize,
) -> Result<Vec<(Received, u32)>> {
    let max = max.min(MAX_RECEIVE);
    let arguments = vec![max.to_string().into(), MAX_BYTES.to_string().into()];
    let mut reply = on_group(desk, "peek", name, &scripts::PEEK, arguments).await?;
    let mut shown = Vec::with_capacity(reply.len() / 2);
    while !reply.is_empty() {
        let held = Held::read(&reply.text()?)?;
        shown.push((held.received(reply.optional_bytes()?)?, held.attempts));
    }
    Ok(shown)
}

/// Deletes what is ready and delayed, or with `dead` the dead letters. Answers how many.
pub(crate) async fn purge(desk: &Desk, name: &GroupName, dead: bool) -> Result<u64> {
    if dead {
        return dead::clear_all(desk, "purge", name, true).await;
    }
    let held = counts(desk, name)
        .await
        .map_err(|error| error.with_operation("purge"))?;
    // As many as there are now: what is sent meanwhile is not chased.
    let mut left = held.ready + held.delayed;
    let mut purged = 0;
    while left > 0 {
        let most = vec![left.min(AT_ONCE).to_string().into()];
        let mut reply = on_group(desk, "purge", name, &scripts::PURGE, most).await?;
        let some: u64 = reply.number()?;
        if some == 0 {
            break;
        }
        left = left.saturating_sub(some);
        purged += some;
    }
    Ok(purged)
}
