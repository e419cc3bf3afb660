//! Handing out and settling.

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{GroupName, LeaseToken, Received, Result, SettleAction};
use tokio::sync::Notify;

use crate::queue::leases::{End, LeaseId};
use crate::queue::messages::{Queue, unknown};
use crate::time::Time;

/// The longest error or reason that is kept, in bytes.
const MAX_TEXT: usize = 4096;

/// What is said of an attempt that was given back without a word.
const NACKED: &str = "nacked";

/// One message that is handed out.
pub(crate) struct HandedOut {
    pub(crate) received: Received,
    pub(crate) attempt: u32,
    pub(crate) token: LeaseToken,
}

impl Queue {
    /// Hands out up to `max` messages of a group; or gives what rings when there is one.
    pub(crate) fn receive(
        &mut self,
        name: &GroupName,
        max: usize,
        lease: Option<Duration>,
        now: Time,
    ) -> Result<std::result::Result<Vec<HandedOut>, Arc<Notify>>> {
        let number = self.find(name, now)?;
        let group = self.groups.get_mut(number).ok_or_else(|| unknown(name))?;
        let until = now.after(lease.unwrap_or(group.spec.lease));
        let mut handed_out = Vec::new();
        while handed_out.len() < max && group.has_ready() {
            let lease = self.leases.issue();
            let Some((item, known)) = group.hand_out(lease, until, &mut self.timers) else {
                break;
            };
            let id = LeaseId {
                group: number,
                item,
                number: lease,
            };
            handed_out.push(HandedOut {
                received: known.accepted.received.clone(),
                attempt: known.attempts,
                token: self.leases.token(id)?,
            });
        }
        if group.has_ready() {
            // Each ring wakes one consumer: what it leaves is for the next.
            group.ready_bell.notify_one();
        }
        if handed_out.is_empty() {
            return Ok(Err(group.ready_bell.clone()));
        }
        Ok(Ok(handed_out))
    }

    /// The lease of the group of this name, for those who name none.
    pub(crate) fn lease_of(&self, name: &GroupName) -> Option<Duration> {
        let number = self.names.get(name)?;
        Some(self.groups.get(*number)?.spec.lease)
    }

    /// Settles one delivery; answers the new token of an extended lease.
    pub(crate) fn settle(
        &mut self,
        token: &LeaseToken,
        action: SettleAction,
        now: Time,
    ) -> Result<Option<LeaseToken>> {
        let lease = self.leases.parse(token)?;
        let end = match action {
            SettleAction::Ack => End::Ack,
            SettleAction::Nack { .. } => End::Nack,
            SettleAction::DeadLetter { .. } => End::DeadLetter,
            SettleAction::Extend { .. } => End::None,
        };
        let group = self.groups.get_mut(lease.group);
        let Some(group) = group.filter(|group| group.is_leased(lease.item, lease.number)) else {
            return self.leases.repeat(lease.number, end).map(|()| None);
        };
        match action {
            SettleAction::Ack => {
                group.take_out(lease.item, &mut self.timers, now);
            }
            SettleAction::Nack { delay, error } => {
                let attempt = group.item(lease.item).map_or(1, |item| item.attempts);
                let backoff = || group.spec.backoff.wait(attempt, fastrand::f64());
                let delay = delay.unwrap_or_else(backoff);
                let error = error.map_or_else(|| NACKED.to_owned(), shorten);
                group.fail(lease.item, error, delay, &mut self.timers, now);
            }
            SettleAction::DeadLetter { reason } => {
                group.bury(lease.item, &shorten(reason), &mut self.timers, now);
            }
            SettleAction::Extend { lease: length } => {
                let number = self.leases.issue();
                group.extend(lease.item, number, now.after(length), &mut self.timers);
                return self.leases.token(LeaseId { number, ..lease }).map(Some);
            }
        }
        self.leases.end(lease.number, end);
        Ok(None)
    }
}

/// `text`, cut to what is kept.
pub(crate) fn shorten(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}
