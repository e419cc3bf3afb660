//! The checks that several roles share.

use std::time::Duration;

use statehouse_contracts::{Backoff, Error, Message, Payload, Result};

/// The longest duration anywhere: 100 years. Beyond it, times would not fit.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The most bytes of an error or reason text that are kept.
const ERROR_BYTES: usize = 4096;

pub(super) fn at_most(what: &str, got: usize, name: &'static str, limit: usize) -> Result<()> {
    if got <= limit {
        Ok(())
    } else {
        Err(Error::beyond_limit(what, got as u64, name, limit as u64))
    }
}

pub(super) fn at_least_one(what: &str, got: usize) -> Result<()> {
    if got > 0 {
        Ok(())
    } else {
        Err(Error::invalid(format!("{what} is 0; it is at least 1")))
    }
}

/// A duration that times can be made of.
pub(super) fn duration(what: &str, got: Duration) -> Result<()> {
    if got <= LONGEST {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{what} is {got:?}; at most 100 years fit"
    )))
}

/// A time to live: not zero.
pub(super) fn ttl(got: Option<Duration>) -> Result<()> {
    match got {
        Some(ttl) if ttl.is_zero() => Err(Error::invalid(
            "ttl is 0; leave it out for ever, or give a time",
        )),
        Some(ttl) => duration("ttl", ttl),
        None => Ok(()),
    }
}

pub(super) fn lease(got: Duration, min: Duration, max: Duration) -> Result<()> {
    if got < min {
        return Err(Error::invalid(format!(
            "lease is {got:?}, shorter than min_lease = {min:?}"
        )));
    }
    if got > max {
        return Err(Error::invalid(format!(
            "lease is {got:?}, longer than max_lease = {max:?}"
        )));
    }
    Ok(())
}

pub(super) fn backoff(got: &Backoff) -> Result<()> {
    duration("backoff.initial", got.initial)?;
    duration("backoff.max", got.max)
}

/// An attribute: short, and without control characters, so that it travels as a property.
fn attribute(name: &str, value: Option<&String>) -> Result<()> {
    let Some(value) = value else { return Ok(()) };
    at_most(name, value.len(), "max_attribute", Message::MAX_ATTRIBUTE)?;
    match value.chars().find(|c| c.is_control()) {
        Some(bad) => Err(Error::invalid(format!(
            "{name} has the control character {bad:?}"
        ))),
        None => Ok(()),
    }
}

/// What holds for a message wherever it goes.
pub(super) fn message(
    message: &Message,
    max_payload: usize,
    headers: (usize, usize),
) -> Result<()> {
    at_most(
        "size of the payload",
        message.payload.inline_len(),
        "max_payload",
        max_payload,
    )?;
    attribute("schema", message.schema.as_ref())?;
    attribute("sender", message.sender.as_ref())?;
    attribute("recipient", message.recipient.as_ref())?;
    attribute("correlation_id", message.correlation_id.as_ref())?;
    attribute("ordering_key", message.ordering_key.as_ref())?;
    attribute("idempotency_key", message.idempotency_key.as_ref())?;
    attribute("traceparent", message.traceparent.as_ref())?;
    header_limits(message, headers)?;
    duration("delay", message.delay)?;
    ttl(message.ttl)?;
    if message.ordering_key.is_some() && !message.delay.is_zero() {
        return Err(Error::invalid(
            "a message with an ordering key cannot be delayed: it would hold up its key",
        ));
    }
    reference(&message.payload)
}

fn header_limits(message: &Message, (max_headers, max_bytes): (usize, usize)) -> Result<()> {
    at_most(
        "number of headers",
        message.headers.len(),
        "max_headers",
        max_headers,
    )?;
    let bytes = message
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    at_most("size of the headers", bytes, "max_header_bytes", max_bytes)?;
    for (name, value) in &message.headers {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(plain) {
            return Err(Error::invalid(format!(
                "header name {name:?} is not made of A-Z a-z 0-9 - _ ."
            )));
        }
        if name.starts_with("statehouse-") {
            return Err(Error::invalid(format!(
                "header {name:?}: the prefix statehouse- is reserved"
            )));
        }
        if let Some(bad) = value.chars().find(|c| c.is_control()) {
            return Err(Error::invalid(format!(
                "header {name:?} has the control character {bad:?}"
            )));
        }
    }
    Ok(())
}

fn reference(payload: &Payload) -> Result<()> {
    match payload {
        Payload::Reference(reference) if reference.size == 0 => Err(Error::invalid(
            "the payload's reference has size 0; empty content is never stored",
        )),
        _ => Ok(()),
    }
}

/// `text`, cut to what is kept, between characters.
pub(super) fn error_text(mut text: String) -> String {
    if text.len() > ERROR_BYTES {
        let end = (0..=ERROR_BYTES)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
    }
    text
}
