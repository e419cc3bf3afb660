//! Applying a transaction.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use fred::types::{Key, Value};
use statehouse_contracts::{
    Applied, Conflict, ContentType, Envelope, Error, ErrorKind, Message, MessageDelivery,
    Namespace, Operation, Precondition, Result, RollbackTo, StateKey, Transaction, Version, Write,
};

use super::version::moment;
use super::{DragonflyState, MAX_DATA, scripts};
use crate::error::map;
use crate::queue::deliver::Delivery;
use crate::reply::{Reply, Row};
use crate::rounds::Call;
use crate::session::Store;
use crate::time::micros;

/// The keys that a script has once for all transactions: those of every commit, and the outbox.
const SHARED_KEYS: usize = 5;

/// Applies `transaction`.
pub(super) async fn apply(state: &DragonflyState, transaction: Transaction) -> Result<Applied> {
    check(&transaction)?;
    let names = &state.names;
    let mut keys = names.commit();
    keys.push(names.outbox.clone());
    let alone = put_alone(state, &transaction);
    if alone.is_none() {
        keys.push(names.op(transaction.op_id.as_ref()));
    }
    for write in &transaction.writes {
        keys.extend([
            names.record_of(&write.key),
            names.versions_of(&write.key),
            names.index_of(&write.key.kind),
        ]);
    }
    let arguments = alone.unwrap_or_else(|| arguments(state, &transaction));
    if transaction.delivery == MessageDelivery::Local && !transaction.messages.is_empty() {
        return apply_locally(state, &transaction, keys, arguments).await;
    }
    let session = &state.session;
    session.check_open("apply")?;
    let applying = Applying {
        store: Arc::clone(&session.store),
        bytes: weigh(&transaction),
        keys,
        arguments,
    };
    let lane = session.namespace.clone();
    let answer = session.store.applies.call(lane, applying).await?;
    read(answer, &transaction)
}

/// A transaction on its way to the server, one after the other with those of other callers.
pub(crate) struct Applying {
    store: Arc<Store>,
    keys: Vec<Key>,
    arguments: Vec<Value>,
    bytes: usize,
}

/// About how many bytes the server has to move for it.
fn weigh(transaction: &Transaction) -> usize {
    /// What a write costs beside its bytes.
    const EACH: usize = 4 << 10;
    let data = |write: &Write| match &write.operation {
        Operation::Put { data, .. } | Operation::Append { data } => data.len(),
        _ => 0,
    };
    let writes = transaction.writes.iter().map(|write| EACH + data(write));
    let messages = transaction.messages.iter();
    writes.sum::<usize>()
        + messages
            .map(|message| EACH + message.bytes().len())
            .sum::<usize>()
}

impl Call for Applying {
    type Lane = Namespace;
    type Answer = Value;

    const MOST: usize = 1 << 20;

    fn weight(&self) -> usize {
        self.bytes
    }

    async fn make(calls: Vec<Self>) -> Result<Vec<Value>> {
        let Some(store) = calls.first().map(|call| Arc::clone(&call.store)) else {
            return Ok(Vec::new());
        };
        let (mut keys, mut arguments) = (Vec::new(), Vec::new());
        for call in calls {
            let own = if keys.is_empty() { 0 } else { SHARED_KEYS };
            keys.extend(call.keys.into_iter().skip(own));
            arguments.extend(call.arguments);
        }
        let script = &scripts::APPLY;
        let answer = store
            .client
            .script("apply", script, keys, arguments)
            .await?;
        Ok(answer.into_array())
    }
}

/// Applies a transaction whose messages go into the groups of the same store, inside it.
async fn apply_locally(
    state: &DragonflyState,
    transaction: &Transaction,
    keys: Vec<Key>,
    arguments: Vec<Value>,
) -> Result<Applied> {
    let mut delivery = Delivery::new(&state.desk, &transaction.messages).await?;
    loop {
        let (more_keys, more) = delivery.request();
        let keys = [&keys, more_keys].concat();
        let arguments = [&arguments, more].concat();
        let script = &scripts::APPLY_LOCALLY;
        let answer = state
            .session
            .script("apply", script, keys, arguments)
            .await?;
        let answer = answer
            .into_array()
            .into_iter()
            .next()
            .unwrap_or(Value::Null);
        let mut parts = answer.clone().into_array().into_iter();
        if parts.next().and_then(|word| word.into_string()).as_deref() != Some("undelivered") {
            return read(answer, transaction);
        }
        let why = parts.next().and_then(Value::into_bytes);
        let refused = delivery.refused(why).await;
        refused.map_err(|error| error.with_operation("apply"))?;
    }
}

fn check(transaction: &Transaction) -> Result<()> {
    let writes = &transaction.writes;
    if writes.len() > 1 {
        let mut seen = HashSet::with_capacity(writes.len());
        if let Some(twice) = writes.iter().find(|write| !seen.insert(&write.key)) {
            return Err(Error::invalid(format!(
                "{} stands twice in one transaction; write a key once",
                twice.key
            )));
        }
    }
    Ok(())
}

fn arguments(state: &DragonflyState, transaction: &Transaction) -> Vec<Value> {
    let op_id = transaction.op_id.as_ref().map(|id| id.as_str());
    let fingerprint = match op_id {
        Some(_) => Bytes::copy_from_slice(&transaction.fingerprint()),
        None => Bytes::new(),
    };
    let window = state.session.config().op_window.as_millis().max(1);
    let messages = match transaction.delivery {
        MessageDelivery::Local => &[],
        _ => &transaction.messages[..],
    };
    let mut arguments = vec![
        Value::from_static_str("*"),
        text(state.session.principal.as_str()),
        text(op_id.unwrap_or_default()),
        Value::Bytes(fingerprint),
        text(window),
        text(MAX_DATA),
        text(transaction.writes.len()),
        text(messages.len()),
    ];
    for write in &transaction.writes {
        arguments.extend(of_write(write));
    }
    for message in messages {
        arguments.extend(of_message(message));
    }
    arguments
}

/// The arguments of a transaction that is nothing but a put, as the script takes most of them.
fn put_alone(state: &DragonflyState, transaction: &Transaction) -> Option<Vec<Value>> {
    let [write] = &transaction.writes[..] else {
        return None;
    };
    let Operation::Put {
        data,
        content_type,
        schema,
        ttl: None,
    } = &write.operation
    else {
        return None;
    };
    if transaction.op_id.is_some() || !transaction.messages.is_empty() {
        return None;
    }
    let schema = match schema {
        Some(schema) => text(format!("={schema}")),
        None => Value::from_static_str(""),
    };
    Some(vec![
        precondition(write),
        text(state.session.principal.as_str()),
        text(write.key.kind.as_str()),
        text(write.key.id.as_str()),
        text(content_type.as_str()),
        schema,
        Value::Bytes(data.clone()),
    ])
}

fn precondition(write: &Write) -> Value {
    match write.precondition {
        Precondition::None => Value::from_static_str("none"),
        Precondition::Absent => Value::from_static_str("absent"),
        Precondition::Version(version) => text(version),
    }
}

/// A write as the script takes it: kind, id, operation, precondition, data, content type, whether
/// it has a schema, the schema, and the operation's own argument.
fn of_write(write: &Write) -> [Value; 9] {
    let none = (Bytes::new(), None, None, String::new());
    let (operation, (data, content_type, schema, argument)) = match &write.operation {
        Operation::Put {
            data,
            content_type,
            schema,
            ttl,
        } => {
            let ttl = ttl.map_or(String::new(), |ttl| micros(ttl).to_string());
            (
                "put",
                (data.clone(), Some(content_type), schema.as_deref(), ttl),
            )
        }
        Operation::Append { data } => ("append", (data.clone(), None, None, String::new())),
        Operation::Delete => ("delete", none),
        Operation::Check => ("check", none),
        Operation::Rollback { to } => {
            let to = match to {
                RollbackTo::Previous => "previous".to_owned(),
                RollbackTo::Version(version) => version.to_string(),
            };
            ("rollback", (Bytes::new(), None, None, to))
        }
    };
    [
        text(write.key.kind.as_str()),
        text(write.key.id.as_str()),
        text(operation),
        precondition(write),
        Value::Bytes(data),
        text(content_type.unwrap_or(&ContentType::BYTES).as_str()),
        text(if schema.is_some() { "1" } else { "" }),
        text(schema.unwrap_or_default()),
        text(argument),
    ]
}

/// A message as the script takes it: its ordering key, whether it has one, properties and body.
fn of_message(message: &Message) -> [Value; 4] {
    let envelope = Envelope::seal(message);
    let key = message.ordering_key.as_deref();
    [
        text(key.unwrap_or_default()),
        text(if key.is_some() { "1" } else { "" }),
        text(serde_json::json!(envelope.properties)),
        Value::Bytes(envelope.body),
    ]
}

/// An argument of a script.
pub(super) fn text(value: impl ToString) -> Value {
    Value::String(value.to_string().into())
}

fn read(answer: Value, transaction: &Transaction) -> Result<Applied> {
    if let Some(applied) = answer.as_str() {
        return put(&applied).ok_or_else(|| Error::internal("the script answers no commit"));
    }
    let mut answer = Reply::from(answer).row()?;
    let outcome = answer.text()?;
    match outcome.as_str() {
        "applied" | "replayed" => Ok(Applied {
            commit: answer.number()?,
            at: moment(&answer.text()?)?,
            versions: versions(answer)?,
            replayed: outcome == "replayed",
        }),
        "conflicts" => Err(conflicts(answer, transaction)?),
        "taken" => Err(Error::new(
            ErrorKind::Conflict,
            "the op_id belongs to another transaction; use a new one",
        )),
        "refused" => Err(refusal(answer, transaction)?),
        "failed" => Err(failure(&answer.text()?)),
        other => Err(Error::internal(format!("the script answers {other:?}"))),
    }
    .map_err(|error| error.with_operation("apply"))
}

/// What became of a put that came alone: commit, time and version.
fn put(applied: &str) -> Option<Applied> {
    let mut parts = applied.split(' ');
    Some(Applied {
        commit: parts.next()?.parse().ok()?,
        at: moment(parts.next()?).ok()?,
        versions: vec![parts.next()?.parse().ok()?],
        replayed: false,
    })
}

fn versions(mut answer: Row) -> Result<Vec<Version>> {
    let mut versions = Vec::new();
    while !answer.is_empty() {
        versions.push(answer.number()?);
    }
    Ok(versions)
}

fn write_at(transaction: &Transaction, index: usize) -> Result<&Write> {
    let write = transaction.writes.get(index);
    write.ok_or_else(|| Error::internal("the script names a write that there is not"))
}

fn conflicts(mut answer: Row, transaction: &Transaction) -> Result<Error> {
    let mut conflicts = Vec::new();
    while !answer.is_empty() {
        let index = answer.number()?;
        conflicts.push(Conflict {
            index,
            key: write_at(transaction, index)?.key.clone(),
            current: answer.number()?,
            live: answer.next()?.is("1"),
        });
    }
    Ok(Error::conflicts(conflicts))
}

/// What went wrong on the server while it applied this transaction and others.
fn failure(details: &str) -> Error {
    let error = fred::error::Error::new(fred::error::ErrorKind::Unknown, details.to_owned());
    map("apply", error, true)
}

fn refusal(mut answer: Row, transaction: &Transaction) -> Result<Error> {
    let key = &write_at(transaction, answer.number()?)?.key;
    let (why, number): (String, u64) = (answer.text()?, answer.number()?);
    Ok(match why.as_str() {
        "full" => Error::invalid(format!(
            "{key} is at version {number}: no more versions can be counted"
        )),
        "large" => {
            let what = format!("the content of {key} with what is appended");
            Error::beyond_limit(&what, number, "max_data", MAX_DATA as u64)
        }
        "pruned" => pruned(key, number),
        _ => never(key, number),
    })
}

pub(super) fn pruned(key: &StateKey, version: u64) -> Error {
    let message = format!("version {version} of {key} was pruned");
    Error::new(ErrorKind::Pruned, message)
}

pub(super) fn never(key: &StateKey, version: u64) -> Error {
    Error::not_found(format!("{key} never had a version {version}"))
}
