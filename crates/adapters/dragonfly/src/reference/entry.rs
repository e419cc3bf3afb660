//! Entries as the scripts show them.

use statehouse_contracts::{ContentType, Error, Reference, ReferenceInfo, Result};

use crate::reply::Reply;

/// An entry, and how its content is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) info: ReferenceInfo,
    /// How many chunks it has.
    pub(super) chunks: usize,
    /// Which put stored it: another one stored the same content anew.
    pub(super) made: String,
}

/// Reads an entry.
pub(super) fn entry(reply: Reply) -> Result<Entry> {
    let mut row = reply.row()?;
    let reference = Reference {
        id: row.text()?.parse()?,
        size: row.number()?,
        content_type: ContentType::new(row.text()?)?,
    };
    let info = ReferenceInfo {
        reference,
        kind: read(&row.text()?)?,
        compression: read(&row.text()?)?,
        stored_size: row.number()?,
        created_at: row.time()?,
        expires_at: row.optional()?.map(Reply::time).transpose()?,
        holders: row.number()?,
        cache: row.number::<u8>()? == 1,
    };
    Ok(Entry {
        info,
        chunks: row.number()?,
        made: row.text()?,
    })
}

/// The word of a value, as in JSON.
pub(super) fn word(value: impl serde::Serialize) -> Result<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        _ => Err(Error::internal("a value without a word of its own")),
    }
}

fn read<T: serde::de::DeserializeOwned>(word: &str) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(word.to_owned()))
        .map_err(|_| Error::internal(format!("the server knows content as {word:?}")))
}
