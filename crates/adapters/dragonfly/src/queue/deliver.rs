//! Messages that go into groups inside the transaction of another role: all of them or none.

use std::sync::Arc;

use bytes::Bytes;
use fred::types::{Key, Value};
use statehouse_contracts::{Error, Message, MessageId, Result, SendOptions};

use super::Desk;
use super::produce::{Sending, no_room, used_before};
use super::registry::Registry;
use super::request::Request;
use crate::reply::senseless;

/// Messages on their way into a transaction.
pub(crate) struct Delivery<'d> {
    desk: &'d Desk,
    sending: Sending<'d>,
    /// The places of the messages.
    all: Vec<usize>,
    registry: Arc<Registry>,
    request: Request,
}

impl<'d> Delivery<'d> {
    /// Prepares the messages and declares the mailboxes that they go to.
    ///
    /// # Errors
    /// What a producer would refuse.
    pub(crate) async fn new(desk: &'d Desk, messages: &[Message]) -> Result<Self> {
        let mut sending = Sending::new(desk, messages);
        for answer in &mut sending.answers {
            if let Some(refused) = answer.take() {
                refused?;
            }
        }
        let all: Vec<usize> = (0..messages.len()).collect();
        let registry = desk.queue.registries.get(desk, "apply").await?;
        let registry = sending.with_mailboxes(registry, &all).await?;
        let request = sending.request(SendOptions::default(), &registry, &all)?;
        Ok(Self {
            desk,
            sending,
            all,
            registry,
            request,
        })
    }

    /// The keys and arguments of the script, which come last.
    pub(crate) fn request(&self) -> (&[Key], &[Value]) {
        (&self.request.keys, &self.request.arguments)
    }

    /// Deals with the answer that they were not taken in: `Ok` when it is to be tried again.
    ///
    /// # Errors
    /// `Conflict` for an idempotency key that was used before, `Overloaded` for a full group.
    pub(crate) async fn refused(&mut self, why: Option<Bytes>) -> Result<()> {
        let why = why.ok_or_else(senseless)?;
        let (kind, rest) = why.split_at_checked(1).ok_or_else(senseless)?;
        match kind {
            b"S" => self.route_again().await,
            b"C" => {
                let id = rest.first_chunk::<16>().ok_or_else(senseless)?;
                Err(used_before(MessageId(uuid::Uuid::from_bytes(*id))))
            }
            _ => Err(self.full(rest)?),
        }
    }

    async fn route_again(&mut self) -> Result<()> {
        let registries = &self.desk.queue.registries;
        let registry = registries.after(self.desk, "apply", &self.registry).await?;
        self.registry = self.sending.with_mailboxes(registry, &self.all).await?;
        let options = SendOptions::default();
        self.request = self.sending.request(options, &self.registry, &self.all)?;
        Ok(())
    }

    fn full(&self, number: &[u8]) -> Result<Error> {
        let number = std::str::from_utf8(number)
            .ok()
            .and_then(|n| n.parse().ok());
        let place = number.and_then(|number: usize| number.checked_sub(1));
        let group = place.and_then(|place| self.request.groups.get(place));
        group.map(|group| no_room(group)).ok_or_else(senseless)
    }
}
