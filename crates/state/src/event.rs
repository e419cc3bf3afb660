//! The event of a change of state, as a message.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use statehouse_contracts::{
    Change, ChangeContent, ChangeData, ChangeOperation, ContentType, Error, ErrorKind, Kind,
    Message, MessageId, Namespace, Payload, Principal, Result, StateKey, Timestamp, Topic, Version,
};

/// What an event carries of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventData {
    /// The whole content of the version.
    Whole(Bytes),
    /// What was appended to the version before.
    Appended(Bytes),
    /// Nothing: it is too large for a message, or no longer kept. Read the version.
    Omitted,
    /// Nothing: the version is a tombstone.
    Tombstone,
}

/// One change of one key.
///
/// As a message: topic `state.<kind>.<id>`, kind `state.changed`, ordering key `kind/id`, sender
/// `statehouse`, the data as payload, and the headers `state-kind`, `state-id`, `state-version`,
/// `state-operation`, `state-at`, `state-by`, `state-data`, and with data `state-created-at`,
/// `state-created-by`, `state-expires-at`. The id of the message is made from the change, so that
/// one change is one message however often it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEvent {
    /// The key.
    pub key: StateKey,
    /// Its new version.
    pub version: Version,
    /// What was done.
    pub operation: ChangeOperation,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Principal,
    /// What was written.
    pub data: EventData,
    /// The media type of the data.
    pub content_type: ContentType,
    /// The schema of the data.
    pub schema: Option<String>,
    /// When the key came to life, and by whom; not known without data.
    pub created: Option<(Timestamp, Principal)>,
    /// When the record expires.
    pub expires_at: Option<Timestamp>,
}

impl StateEvent {
    /// The message kind of all state events.
    pub const KIND: &'static str = "state.changed";

    /// The event of `change`; data beyond `inline` bytes is omitted.
    pub fn of(change: &Change, inline: usize) -> Self {
        let content = change.content.as_ref();
        let tombstone = matches!(
            change.operation,
            ChangeOperation::Delete | ChangeOperation::Expire
        );
        Self {
            key: change.key.clone(),
            version: change.version,
            operation: change.operation,
            at: change.at,
            by: change.by.clone(),
            data: if tombstone {
                EventData::Tombstone
            } else {
                carried(content, inline)
            },
            content_type: content
                .map(|content| content.content_type.clone())
                .unwrap_or_default(),
            schema: content.and_then(|content| content.schema.clone()),
            created: content.map(|content| (content.created_at, content.created_by.clone())),
            expires_at: content.and_then(|content| content.expires_at),
        }
    }

    /// The message of the event that `change` of `namespace` makes.
    ///
    /// # Errors
    /// [`Internal`](ErrorKind::Internal) never in practice: the fixed kind is a valid name.
    pub fn message(change: &Change, namespace: &Namespace, inline: usize) -> Result<Message> {
        let event = Self::of(change, inline);
        let mut message = Message::new(
            Topic::state(&event.key.kind, &event.key.id),
            event.payload(),
        );
        message.id = event_id(namespace, change);
        message.kind = Some(Kind::new(Self::KIND)?);
        message.sender = Some("statehouse".to_owned());
        message.ordering_key = Some(event.key.to_string());
        message.schema.clone_from(&event.schema);
        message.headers = event
            .headers()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Ok(message)
    }

    /// Reads the event back from its message.
    ///
    /// # Errors
    /// [`Corrupted`](ErrorKind::Corrupted) when the message is no state event, naming the header
    /// that is missing or makes no sense.
    pub fn parse(message: &Message) -> Result<Self> {
        let headers = Headers(message);
        let content_type = match &message.payload {
            Payload::Inline { content_type, .. } => content_type.clone(),
            Payload::Reference(reference) => reference.content_type.clone(),
        };
        let created = match (
            headers.optional("state-created-at")?,
            headers.text("state-created-by"),
        ) {
            (Some(at), Some(by)) => Some((at, Principal::new(by)?)),
            _ => None,
        };
        Ok(Self {
            key: StateKey::parse(
                headers.required("state-kind")?,
                headers.required("state-id")?,
            )?,
            version: headers.parsed("state-version")?,
            operation: operation(headers.required("state-operation")?)?,
            at: headers.parsed("state-at")?,
            by: Principal::new(headers.required("state-by")?)?,
            data: received(headers.required("state-data")?, message)?,
            content_type,
            schema: message.schema.clone(),
            created,
            expires_at: headers.optional("state-expires-at")?,
        })
    }

    fn payload(&self) -> Payload {
        let bytes = match &self.data {
            EventData::Whole(bytes) | EventData::Appended(bytes) => bytes.clone(),
            EventData::Omitted | EventData::Tombstone => Bytes::new(),
        };
        Payload::Inline {
            bytes,
            content_type: self.content_type.clone(),
        }
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("state-kind", self.key.kind.to_string()),
            ("state-id", self.key.id.to_string()),
            ("state-version", self.version.to_string()),
            ("state-operation", operation_name(self.operation).to_owned()),
            ("state-at", self.at.to_string()),
            ("state-by", self.by.to_string()),
            ("state-data", data_name(&self.data).to_owned()),
        ];
        if let Some((at, by)) = &self.created {
            headers.push(("state-created-at", at.to_string()));
            headers.push(("state-created-by", by.to_string()));
        }
        if let Some(at) = self.expires_at {
            headers.push(("state-expires-at", at.to_string()));
        }
        headers
    }
}

fn carried(content: Option<&ChangeContent>, inline: usize) -> EventData {
    match content.map(|content| &content.data) {
        Some(ChangeData::Whole(bytes)) if bytes.len() <= inline => EventData::Whole(bytes.clone()),
        Some(ChangeData::Appended(bytes)) if bytes.len() <= inline => {
            EventData::Appended(bytes.clone())
        }
        _ => EventData::Omitted,
    }
}

fn event_id(namespace: &Namespace, change: &Change) -> MessageId {
    let mut hash = Sha256::new();
    for part in [namespace.as_str(), "\n", change.cursor.0.as_str()] {
        hash.update(part.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    MessageId(uuid::Uuid::new_v8(bytes))
}

fn received(name: &str, message: &Message) -> Result<EventData> {
    let bytes = || match &message.payload {
        Payload::Inline { bytes, .. } => Ok(bytes.clone()),
        Payload::Reference(_) => Err(makes_no_sense("state-data", name)),
    };
    match name {
        "whole" => bytes().map(EventData::Whole),
        "appended" => bytes().map(EventData::Appended),
        "omitted" => Ok(EventData::Omitted),
        "tombstone" => Ok(EventData::Tombstone),
        other => Err(makes_no_sense("state-data", other)),
    }
}

fn data_name(data: &EventData) -> &'static str {
    match data {
        EventData::Whole(_) => "whole",
        EventData::Appended(_) => "appended",
        EventData::Omitted => "omitted",
        EventData::Tombstone => "tombstone",
    }
}

const OPERATIONS: [(ChangeOperation, &str); 6] = [
    (ChangeOperation::Put, "put"),
    (ChangeOperation::Append, "append"),
    (ChangeOperation::Delete, "delete"),
    (ChangeOperation::Expire, "expire"),
    (ChangeOperation::Rollback, "rollback"),
    (ChangeOperation::Import, "import"),
];

fn operation_name(operation: ChangeOperation) -> &'static str {
    let found = OPERATIONS.iter().find(|(known, _)| *known == operation);
    found.map_or("put", |(_, name)| name)
}

fn operation(name: &str) -> Result<ChangeOperation> {
    let found = OPERATIONS.iter().find(|(_, known)| *known == name);
    found
        .map(|(operation, _)| *operation)
        .ok_or_else(|| makes_no_sense("state-operation", name))
}

struct Headers<'a>(&'a Message);

impl<'a> Headers<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.headers.get(name).map(String::as_str)
    }

    fn required(&self, name: &str) -> Result<&'a str> {
        let missing = || {
            Error::new(
                ErrorKind::Corrupted,
                format!("the state event has no header {name}"),
            )
        };
        self.text(name).ok_or_else(missing)
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<T> {
        let text = self.required(name)?;
        text.parse().map_err(|_| makes_no_sense(name, text))
    }

    fn optional<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        self.text(name).map(|_| self.parsed(name)).transpose()
    }
}

fn makes_no_sense(name: &str, value: &str) -> Error {
    Error::new(
        ErrorKind::Corrupted,
        format!("the state event's header {name}={value:?} makes no sense"),
    )
}

#[cfg(test)]
mod tests {
    use statehouse_contracts::Cursor;

    use super::*;

    fn change(operation: ChangeOperation, content: Option<ChangeContent>) -> Change {
        Change {
            cursor: Cursor("7-1".into()),
            commit: 1,
            key: StateKey::parse("task", "ünï/1").unwrap(),
            version: 3,
            operation,
            at: Timestamp::from_microsecond(1_700_000_000_000_001).unwrap(),
            by: Principal::new("a b").unwrap(),
            op_id: None,
            content,
        }
    }

    fn content(data: ChangeData) -> ChangeContent {
        ChangeContent {
            data,
            content_type: ContentType::JSON,
            schema: Some("urn:x".into()),
            created_at: Timestamp::from_microsecond(5).unwrap(),
            created_by: Principal::new("c").unwrap(),
            expires_at: Some(Timestamp::from_second(2_000_000_000).unwrap()),
        }
    }

    #[test]
    fn an_event_survives_its_message() {
        let changes = [
            change(
                ChangeOperation::Put,
                Some(content(ChangeData::Whole("12345".into()))),
            ),
            change(
                ChangeOperation::Append,
                Some(content(ChangeData::Appended("123".into()))),
            ),
            change(ChangeOperation::Put, None),
            change(ChangeOperation::Delete, None),
        ];
        for change in changes {
            let message = StateEvent::message(&change, &Namespace::DEFAULT, 4).unwrap();
            assert_eq!(
                StateEvent::parse(&message).unwrap(),
                StateEvent::of(&change, 4)
            );
            assert_eq!(
                message.id,
                StateEvent::message(&change, &Namespace::DEFAULT, 0)
                    .unwrap()
                    .id
            );
        }
    }

    #[test]
    fn data_beyond_the_limit_is_omitted() {
        let put = change(
            ChangeOperation::Put,
            Some(content(ChangeData::Whole("12345".into()))),
        );
        assert_eq!(StateEvent::of(&put, 4).data, EventData::Omitted);
        assert_eq!(
            StateEvent::of(&put, 5).data,
            EventData::Whole("12345".into())
        );
    }

    #[test]
    fn a_message_that_is_no_event_is_refused() {
        let message = Message::new(Topic::new("a").unwrap(), Payload::text("x"));
        assert_eq!(
            StateEvent::parse(&message).unwrap_err().kind(),
            ErrorKind::Corrupted
        );
    }
}
