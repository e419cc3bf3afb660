//! Replies to processes that are gone.

use std::time::Duration;

use statehouse_contracts::{GroupName, GroupStatus, Receive, Result, Timestamp, Topic};
use uuid::Uuid;

use super::dispatch::CONTENT;
use super::{GROUP_PREFIX, Requests, TOPIC_PREFIX};
use crate::Mailboxes;

/// A reply that has waited so long waits for a process that is gone.
const ABANDONED: Duration = Duration::from_secs(60);

/// An empty group that is so old is removed; should its process live, it makes it again.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

impl Requests {
    /// Looks for replies to processes that ended without [`Requests::close`], hands them to the
    /// mailboxes of who asked, and removes what those processes left behind. Answers how many groups
    /// it removed. Run it from time to time, in any process.
    ///
    /// # Errors
    /// Those of asking for the groups. A group that fails is left for the next time.
    pub async fn recover(mail: &Mailboxes) -> Result<u64> {
        let mut removed = 0;
        for status in mail.messenger().consumer().groups().await? {
            let Some(instance) = instance(&status) else {
                continue;
            };
            match recover_one(mail, &status.group, instance).await {
                Ok(was_abandoned) => removed += u64::from(was_abandoned),
                Err(error) => {
                    tracing::warn!(group = %status.group, %error, "replies wait for the next time");
                }
            }
        }
        Ok(removed)
    }
}

/// Removes `group` if nobody uses it any more; answers whether it did.
async fn recover_one(mail: &Mailboxes, group: &GroupName, instance: Uuid) -> Result<bool> {
    if !is_abandoned(mail, group, instance).await? {
        return Ok(false);
    }
    let topic = Topic::new(format!("{TOPIC_PREFIX}{instance}"))?;
    hand_over(mail, group, &topic).await?;
    Ok(true)
}

fn instance(status: &GroupStatus) -> Option<Uuid> {
    let name = status.group.as_str().strip_prefix(GROUP_PREFIX)?;
    Uuid::parse_str(name).ok()
}

async fn is_abandoned(mail: &Mailboxes, group: &GroupName, instance: Uuid) -> Result<bool> {
    let consumer = mail.messenger().consumer();
    let counts = consumer.counts(group).await?;
    if counts.ready > 0 && consumer.capability().admin.oldest_age {
        let age = consumer.oldest_ready_age(group).await?;
        return Ok(age.is_some_and(|age| age >= ABANDONED));
    }
    let made = instance.get_timestamp().map(|made| made.to_unix().0);
    let age = made.map(|made| Timestamp::now().as_second().saturating_sub_unsigned(made));
    let old = age.is_some_and(|age| age >= OLD.as_secs().cast_signed());
    Ok(old && counts.ready + counts.in_flight + counts.delayed == 0)
}

/// Takes the replies of `group` to the mailboxes of who asked, then removes it.
pub(super) async fn hand_over(mail: &Mailboxes, group: &GroupName, topic: &Topic) -> Result<()> {
    let messenger = mail.messenger();
    loop {
        let receive = Receive::new(64, Duration::ZERO);
        let replies = messenger.receive_within(group, receive, CONTENT).await?;
        if replies.is_empty() {
            break;
        }
        for reply in replies {
            let Some(reply) = messenger.complete(reply).await else {
                continue;
            };
            if reply.message().recipient.is_some() && reply.message().topic == *topic {
                mail.forward(reply.message().clone()).await?;
            }
            messenger.ack(&reply).await?;
        }
    }
    messenger.consumer().delete_group(group).await.map(drop)
}
