//! A cache of state records that processes share.
//!
//! Each record is a hash that expires. It belongs to an epoch of the namespace, a random word: a
//! flush, or a server that lost everything, begins another.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fred::types::{Key, Value};
use serde::{Deserialize, Serialize};
use statehouse_contracts::{
    CacheLook, ContentType, Error, FillTicket, Principal, Record, RecordCache, Result, StateKey,
    Timestamp, Version,
};

use crate::reply::{Reply, Row};
use crate::script::Script;
use crate::session::Session;

static LOOK: Script = Script::writing("cache/look", &[include_str!("look.lua")]);
static FILL: Script = Script::writing("cache/fill", &[include_str!("fill.lua")]);
static HEARD: Script = Script::writing("cache/heard", &[include_str!("heard.lua")]);
static FLUSH: Script = Script::writing("cache/flush", &[include_str!("flush.lua")]);

/// The cache of one namespace's records.
#[derive(Debug)]
struct DragonflyCache(Session);

/// What a record says beside its key, version and data.
#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    content_type: ContentType,
    schema: Option<String>,
    created_at: Timestamp,
    created_by: Principal,
    updated_at: Timestamp,
    updated_by: Principal,
    expires_at: Option<Timestamp>,
}

impl DragonflyCache {
    fn epoch_key(&self) -> Key {
        self.0.keys.one("epoch").into()
    }

    fn record_key(&self, key: &StateKey) -> Key {
        self.0.keys.of("record", &key.to_string()).into()
    }

    async fn call(
        &self,
        operation: &'static str,
        script: &'static Script,
        keys: Vec<Key>,
        arguments: Vec<Value>,
    ) -> Result<Reply> {
        let answer = self.0.script(operation, script, keys, arguments).await?;
        Ok(answer.into())
    }
}

#[async_trait]
impl RecordCache for DragonflyCache {
    async fn look(&self, key: &StateKey) -> Result<CacheLook> {
        let keys = vec![self.epoch_key(), self.record_key(key)];
        let answer = self.call("look", &LOOK, keys, vec![epoch()]).await?;
        let mut row = answer.row()?;
        let ticket = FillTicket(row.text()?);
        let record = match row.is_empty() {
            true => None,
            false => Some(record(key, row)?),
        };
        Ok(CacheLook { record, ticket })
    }

    async fn fill(&self, ticket: &FillTicket, record: &Record, ttl: Duration) -> Result<bool> {
        let keys = vec![self.epoch_key(), self.record_key(&record.key)];
        let arguments = vec![
            ticket.0.as_str().into(),
            milliseconds(ttl),
            version(record.version),
            record.data.clone().into(),
            meta(record)?.into(),
        ];
        let kept = self.call("fill", &FILL, keys, arguments).await?;
        Ok(kept.number::<u8>()? == 1)
    }

    async fn heard(&self, versions: &[(StateKey, Version)], ttl: Duration) -> Result<()> {
        if versions.is_empty() {
            return Ok(());
        }
        let records = versions.iter().map(|(key, _)| self.record_key(key));
        let keys = std::iter::once(self.epoch_key()).chain(records).collect();
        let told = versions.iter().map(|(_, number)| version(*number));
        let arguments = std::iter::once(milliseconds(ttl)).chain(told).collect();
        self.call("heard", &HEARD, keys, arguments)
            .await
            .map(|_| ())
    }

    async fn flush(&self) -> Result<()> {
        let keys = vec![self.epoch_key()];
        self.call("flush", &FLUSH, keys, vec![epoch()])
            .await
            .map(|_| ())
    }
}

/// A word that no epoch had.
fn epoch() -> Value {
    uuid::Uuid::now_v7().simple().to_string().into()
}

/// A version that compares as text.
fn version(number: Version) -> Value {
    format!("{number:020}").into()
}

fn milliseconds(span: Duration) -> Value {
    i64::try_from(span.as_millis())
        .unwrap_or(i64::MAX >> 11)
        .max(1)
        .into()
}

fn meta(record: &Record) -> Result<String> {
    let meta = Meta {
        content_type: record.content_type.clone(),
        schema: record.schema.clone(),
        created_at: record.created_at,
        created_by: record.created_by.clone(),
        updated_at: record.updated_at,
        updated_by: record.updated_by.clone(),
        expires_at: record.expires_at,
    };
    serde_json::to_string(&meta)
        .map_err(|error| Error::internal("a record cannot be written").with_source(error))
}

fn record(key: &StateKey, mut row: Row) -> Result<Record> {
    let version = row.number()?;
    let data = row.bytes()?;
    let meta: Meta = serde_json::from_slice(&row.bytes()?)
        .map_err(|error| Error::internal("a cached record cannot be read").with_source(error))?;
    Ok(Record {
        key: key.clone(),
        version,
        data,
        content_type: meta.content_type,
        schema: meta.schema,
        created_at: meta.created_at,
        created_by: meta.created_by,
        updated_at: meta.updated_at,
        updated_by: meta.updated_by,
        expires_at: meta.expires_at,
        tombstone: None,
    })
}

/// A cache of one namespace.
pub(crate) fn open(session: Session) -> Arc<dyn RecordCache> {
    Arc::new(DragonflyCache(session))
}
