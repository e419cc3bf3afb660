//! What is received, and payloads as JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use statehouse_contracts::{Delivery, Error, Message, Payload, Reference, Result};

/// A delivery with its plain payload.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The delivery; its message has the plain payload, unless a budget was too small for it.
    pub delivery: Delivery,
    pub(super) reference: Option<Reference>,
}

impl Incoming {
    /// The message.
    pub fn message(&self) -> &Message {
        self.delivery.message()
    }

    /// The reference by which the payload travelled, if it did.
    pub fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    /// The payload as JSON.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) when it is no such JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        parse_json(self.message())
    }
}

/// The payload of `message` as JSON.
fn parse_json<T: DeserializeOwned>(message: &Message) -> Result<T> {
    serde_json::from_slice(message.bytes()).map_err(|error| {
        Error::invalid(format!("the payload cannot be read as JSON: {error}"))
            .with_context("message", message.id)
    })
}

/// `value` as a JSON payload.
///
/// # Errors
/// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) when it cannot be written as JSON.
pub fn json_payload<T: Serialize + ?Sized>(value: &T) -> Result<Payload> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Error::invalid(format!("the value cannot be written as JSON: {error}")))?;
    Ok(Payload::json(bytes))
}
