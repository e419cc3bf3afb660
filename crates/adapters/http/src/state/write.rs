//! A transaction of one put or append: its bytes go as they are.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH};
use statehouse_contracts::{
    ContentType, MessageDelivery, OpId, Operation, Precondition, Result, StateKey, Transaction,
    Write,
};
use statehouse_wire::{Span, header};

use crate::client::Handle;
use crate::request::Request;

/// The longest schema that is put into a header; the service refuses longer ones from a document.
const MAX_SCHEMA: usize = 1024;

/// The only write of a transaction without messages, where headers can carry all but its bytes.
pub(crate) fn alone(transaction: &Transaction) -> Option<&Write> {
    let [write] = transaction.writes.as_slice() else {
        return None;
    };
    let plain = transaction.messages.is_empty()
        && transaction.delivery == MessageDelivery::Outbox
        && !never_holds(write.precondition)
        && fits(&write.operation);
    plain.then_some(write)
}

/// Whether it names a version that no record has, and no tag can.
fn never_holds(precondition: Precondition) -> bool {
    let versions = 1..=i64::MAX as u64;
    matches!(precondition, Precondition::Version(version) if !versions.contains(&version))
}

fn fits(operation: &Operation) -> bool {
    match operation {
        Operation::Append { .. } => true,
        Operation::Put {
            content_type,
            schema,
            ..
        } => {
            // Spaces at the ends of a header's value get lost.
            let text = content_type.as_str();
            text.trim() == text
                && schema
                    .as_ref()
                    .is_none_or(|schema| schema.len() <= MAX_SCHEMA)
        }
        Operation::Delete | Operation::Check | Operation::Rollback { .. } => false,
    }
}

/// The request of a write that is [`alone`].
pub(crate) fn request<'a>(
    handle: &'a Handle,
    write: &Write,
    op_id: Option<&OpId>,
) -> Result<Request<'a>> {
    let StateKey { kind, id } = &write.key;
    let path = ["v1", "states", kind.as_str(), id.as_str()];
    let request = match &write.operation {
        Operation::Put {
            data,
            content_type,
            schema,
            ttl,
        } => {
            let request = handle.put("apply", &path);
            put(request, content_type, schema.as_deref(), *ttl)?.bytes(data.clone())
        }
        Operation::Append { data } => {
            let [v1, states, kind, id] = path;
            let request = handle.post("apply", &[v1, states, kind, id, "append"]);
            request.bytes(data.clone())
        }
        // Not alone.
        _ => handle.put("apply", &path).bytes(Bytes::new()),
    };
    let request = match op_id {
        Some(op_id) => request.header(header::IDEMPOTENCY_KEY, op_id.as_str())?,
        None => request,
    };
    conditional(request, write.precondition)
}

/// The request under a precondition.
pub(crate) fn conditional(request: Request<'_>, precondition: Precondition) -> Result<Request<'_>> {
    match condition(precondition) {
        Some((name, value)) => request.raw_header(name, &value),
        None => Ok(request),
    }
}

fn put<'a>(
    request: Request<'a>,
    content_type: &ContentType,
    schema: Option<&str>,
    ttl: Option<Duration>,
) -> Result<Request<'a>> {
    let mut request = request.raw_header(CONTENT_TYPE, content_type.as_str())?;
    if let Some(schema) = schema {
        request = request.header(header::SCHEMA, schema)?;
    }
    if let Some(ttl) = ttl {
        request = request.header(header::TTL, &Span(ttl).to_string())?;
    }
    Ok(request)
}

fn condition(precondition: Precondition) -> Option<(HeaderName, String)> {
    match precondition {
        Precondition::None => None,
        Precondition::Absent => Some((IF_NONE_MATCH, "*".to_owned())),
        Precondition::Version(version) => Some((IF_MATCH, format!("\"{version}\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> StateKey {
        StateKey::parse("task", "a").unwrap()
    }

    #[test]
    fn one_put_or_append_goes_alone() {
        let put =
            |content_type: &str| Write::put(key(), "x", ContentType::new(content_type).unwrap());
        let table = [
            (put("text/plain"), true),
            (put("text/plain "), false),
            (Write::append(key(), "x"), true),
            (
                Write::append(key(), "x").when(Precondition::Version(1)),
                true,
            ),
            (
                Write::append(key(), "x").when(Precondition::Version(0)),
                false,
            ),
            (Write::delete(key()), false),
            (Write::check(key(), Precondition::Absent), false),
        ];
        for (write, expected) in table {
            let mut transaction = Transaction::of(write.clone());
            assert_eq!(alone(&transaction).is_some(), expected, "{write:?}");
            transaction.delivery = MessageDelivery::Local;
            assert!(alone(&transaction).is_none());
        }
        let two = Transaction {
            writes: vec![Write::append(key(), "x"), Write::append(key(), "y")],
            ..Transaction::default()
        };
        assert!(alone(&two).is_none());
    }
}
