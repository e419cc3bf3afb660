//! Dead letters, with their content.

use statehouse_contracts::{DeadLetter, GroupName, MessageId, Payload, Result};

use super::Messenger;

impl Messenger {
    /// All dead letters of a group, oldest first. Their payloads are as they travelled: see
    /// [`Messenger::resolve`].
    ///
    /// # Errors
    /// Those of [`QueueAdmin::dead_letters`](statehouse_contracts::QueueAdmin::dead_letters).
    pub async fn dead_letters(&self, group: &GroupName) -> Result<Vec<DeadLetter>> {
        let (mut letters, mut after) = (Vec::new(), None);
        loop {
            let page = self
                .0
                .consumer
                .dead_letters(group, 0, after.as_ref())
                .await?;
            letters.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(letters),
            }
        }
    }

    /// Puts dead letters back: the one with this id, or all. Their content lives on for as long as
    /// after a send. Answers how many.
    ///
    /// # Errors
    /// Those of [`QueueAdmin::redrive`](statehouse_contracts::QueueAdmin::redrive).
    pub async fn redrive(&self, group: &GroupName, id: Option<MessageId>) -> Result<u64> {
        let letters = self.dead_letters(group).await?;
        let wanted = letters
            .iter()
            .filter(|letter| id.is_none_or(|id| letter.received.message.id == id));
        for letter in wanted {
            self.hold_again(group, &letter.received.message).await?;
        }
        self.0.consumer.redrive(group, id).await
    }

    /// Deletes a group's dead letters, with their content. Answers how many.
    ///
    /// # Errors
    /// Those of [`QueueAdmin::purge`](statehouse_contracts::QueueAdmin::purge).
    pub async fn purge_dead_letters(&self, group: &GroupName) -> Result<u64> {
        let letters = self.dead_letters(group).await?;
        let purged = self.0.consumer.purge(group, true).await?;
        for letter in letters {
            let message = letter.received.message;
            if let Payload::Reference(reference) = &message.payload {
                self.let_go(&reference.id, message.id, group).await;
            }
        }
        Ok(purged)
    }
}
