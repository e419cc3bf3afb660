//! Transactions.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use statehouse_contracts::{
    Applied, Error, Id, Kind, Message, MessageDelivery, OpId, Operation, Precondition, Result,
    RollbackTo, StateKey, Transaction, Version, Write,
};
use utoipa::ToSchema;

use crate::{ContentDoc, MessageDoc, Span};

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationDoc {
    /// Replaces the whole record by `data`; takes `schema` and `ttl`.
    Put,
    /// Adds `data` to what is there; without a content type.
    Append,
    /// Makes a tombstone.
    Delete,
    /// Writes nothing: only its precondition counts.
    Check,
    /// Goes back to the version `to`.
    Rollback,
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteDoc {
    /// What it does.
    pub operation: OperationDoc,
    /// The kind of its key.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// The id of its key.
    #[schema(value_type = String)]
    pub id: Id,
    /// What must hold: `"none"` (default), `"absent"` or `{"version": n}`.
    #[serde(default)]
    #[schema(value_type = serde_json::Value, example = json!({"version": 3}))]
    pub precondition: Precondition,
    /// Of a put or an append: the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<ContentDoc>,
    /// Of a put: the schema of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Of a put: how long it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// Of a rollback: `"previous"` (default) or `{"version": n}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>, example = json!("previous"))]
    pub to: Option<RollbackTo>,
}

/// Writes and messages that are applied all or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TransactionDoc {
    /// The writes; no key twice.
    pub writes: Vec<WriteDoc>,
    /// The messages.
    pub messages: Vec<MessageDoc>,
    /// Where the messages go: `"outbox"` (default) or `"local"`.
    #[schema(value_type = String, example = "outbox")]
    pub delivery: MessageDelivery,
    /// The identity of the transaction, for repeats; `Idempotency-Key` says the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub op_id: Option<OpId>,
}

/// The answer to a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppliedDoc {
    /// The number of the commit.
    pub commit: u64,
    /// When.
    pub at: Timestamp,
    /// The version of each write's key now, in their order; 0: none.
    pub versions: Vec<Version>,
    /// Whether this is the first result of a repeated op_id.
    pub replayed: bool,
}

/// Which version a rollback takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackDoc {
    /// `"previous"` or `{"version": n}`.
    #[schema(value_type = serde_json::Value, example = json!("previous"))]
    pub to: RollbackTo,
}

impl From<Write> for WriteDoc {
    fn from(write: Write) -> Self {
        let StateKey { kind, id } = write.key;
        let mut doc = Self {
            operation: OperationDoc::Check,
            kind,
            id,
            precondition: write.precondition,
            data: None,
            schema: None,
            ttl: None,
            to: None,
        };
        match write.operation {
            Operation::Put {
                data,
                content_type,
                schema,
                ttl,
            } => {
                doc.operation = OperationDoc::Put;
                doc.data = Some(ContentDoc::new(&data, content_type));
                doc.schema = schema;
                doc.ttl = ttl.map(Span);
            }
            Operation::Append { data } => {
                doc.operation = OperationDoc::Append;
                doc.data = Some(ContentDoc::untyped(&data));
            }
            Operation::Delete => doc.operation = OperationDoc::Delete,
            Operation::Check => {}
            Operation::Rollback { to } => {
                doc.operation = OperationDoc::Rollback;
                doc.to = Some(to);
            }
        }
        doc
    }
}

impl WriteDoc {
    /// Refuses fields that the operation has no use for.
    fn check(&self) -> Result<()> {
        use OperationDoc::{Append, Put, Rollback};
        let fields = [
            ("data", self.data.is_some(), &[Put, Append][..]),
            ("schema", self.schema.is_some(), &[Put]),
            ("ttl", self.ttl.is_some(), &[Put]),
            ("to", self.to.is_some(), &[Rollback]),
        ];
        let wrong = fields
            .iter()
            .find(|(_, given, of)| *given && !of.contains(&self.operation));
        match wrong {
            Some((name, _, _)) => Err(Error::invalid(format!(
                "the operation {:?} of {}/{} takes no {name}",
                self.operation, self.kind, self.id
            ))),
            None => Ok(()),
        }
    }

    fn missing(&self) -> Error {
        Error::invalid(format!("the write of {}/{} needs data", self.kind, self.id))
    }
}

impl TryFrom<WriteDoc> for Write {
    type Error = Error;
    fn try_from(mut doc: WriteDoc) -> Result<Self> {
        doc.check()?;
        let data = doc.data.take();
        let operation = match doc.operation {
            OperationDoc::Put => {
                let (data, content_type) = data.ok_or_else(|| doc.missing())?.into_parts()?;
                Operation::Put {
                    data,
                    content_type,
                    schema: doc.schema,
                    ttl: doc.ttl.map(Into::into),
                }
            }
            OperationDoc::Append => Operation::Append {
                data: data.ok_or_else(|| doc.missing())?.into_bytes()?,
            },
            OperationDoc::Delete => Operation::Delete,
            OperationDoc::Check => Operation::Check,
            OperationDoc::Rollback => Operation::Rollback {
                to: doc.to.unwrap_or(RollbackTo::Previous),
            },
        };
        Ok(Self {
            key: StateKey::new(doc.kind, doc.id),
            operation,
            precondition: doc.precondition,
        })
    }
}

impl From<Transaction> for TransactionDoc {
    fn from(transaction: Transaction) -> Self {
        Self {
            writes: transaction.writes.into_iter().map(Into::into).collect(),
            messages: transaction.messages.into_iter().map(Into::into).collect(),
            delivery: transaction.delivery,
            op_id: transaction.op_id,
        }
    }
}

impl TryFrom<TransactionDoc> for Transaction {
    type Error = Error;
    fn try_from(doc: TransactionDoc) -> Result<Self> {
        let writes: Result<_> = doc.writes.into_iter().map(Write::try_from).collect();
        let messages: Result<_> = doc.messages.into_iter().map(Message::try_from).collect();
        Ok(Self {
            writes: writes?,
            messages: messages?,
            delivery: doc.delivery,
            op_id: doc.op_id,
        })
    }
}

impl From<Applied> for AppliedDoc {
    fn from(applied: Applied) -> Self {
        Self {
            commit: applied.commit,
            at: applied.at,
            versions: applied.versions,
            replayed: applied.replayed,
        }
    }
}

impl From<AppliedDoc> for Applied {
    fn from(doc: AppliedDoc) -> Self {
        Self {
            commit: doc.commit,
            at: doc.at,
            versions: doc.versions,
            replayed: doc.replayed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use statehouse_contracts::ContentType;

    use super::*;

    #[test]
    fn every_write_comes_back() {
        let key = || StateKey::parse("task", "a/b 🦀").unwrap();
        let put = Operation::Put {
            data: "{}".into(),
            content_type: ContentType::JSON,
            schema: Some("s".into()),
            ttl: Some(Duration::from_millis(1500)),
        };
        let writes = [
            Write {
                key: key(),
                operation: put,
                precondition: Precondition::Absent,
            },
            Write::append(key(), &b"\xff"[..]),
            Write::delete(key()).when(Precondition::Version(3)),
            Write::check(key(), Precondition::Absent),
            Write::rollback(key(), RollbackTo::Version(2)),
        ];
        for write in writes {
            let text = serde_json::to_string(&WriteDoc::from(write.clone())).unwrap();
            let doc: WriteDoc = serde_json::from_str(&text).unwrap();
            assert_eq!(Write::try_from(doc).unwrap(), write, "{text}");
        }
    }

    #[test]
    fn a_field_of_another_operation_is_refused() {
        let table = [
            (r#"{"operation":"put","kind":"t","id":"a"}"#, "needs data"),
            (
                r#"{"operation":"delete","kind":"t","id":"a","ttl":"1s"}"#,
                "no ttl",
            ),
            (
                r#"{"operation":"append","kind":"t","id":"a","data":{"text":"","content_type":"a/b"}}"#,
                "keeps its own",
            ),
        ];
        for (text, says) in table {
            let doc: WriteDoc = serde_json::from_str(text).unwrap();
            let error = Write::try_from(doc).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
