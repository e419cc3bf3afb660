//! Records and entries whose content is the body and whose fields are headers.

use std::fmt::Display;
use std::str::FromStr;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};
use statehouse_contracts::{
    ContentType, Record, Reference, ReferenceId, ReferenceInfo, Result, StateKey,
};
use statehouse_wire::header;

use crate::error::nonsense;

/// The headers of an answer.
pub(crate) struct Fields<'a>(pub(crate) &'a HeaderMap);

impl Fields<'_> {
    fn text(&self, name: &str) -> Result<Option<String>> {
        let value = self.0.get(name);
        let text = value.map(|value| header::decode(name, value.as_bytes()));
        text.transpose().map_err(nonsense)
    }

    fn optional<T: FromStr<Err = E>, E: Display>(&self, name: &str) -> Result<Option<T>> {
        let parsed = self.text(name)?.map(|text| text.parse());
        let wrong = |error| nonsense(format!("the header {name}: {error}"));
        parsed.transpose().map_err(wrong)
    }

    fn given<T: FromStr<Err = E>, E: Display>(&self, name: &str) -> Result<T> {
        let value = self.optional(name)?;
        value.ok_or_else(|| nonsense(format!("it has no header {name}")))
    }

    /// A value that documents write as a word.
    fn word<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let word: StrDeserializer<'_, ValueError> = text.as_str().into_deserializer();
        let value = T::deserialize(word);
        let value = value.map_err(|error| nonsense(format!("the header {name}: {error}")))?;
        Ok(Some(value))
    }

    /// As it is: a media type may hold `%` itself.
    fn content_type(&self) -> Result<ContentType> {
        let value = self.0.get(CONTENT_TYPE).map(|value| value.to_str());
        match value {
            Some(Ok(text)) => ContentType::new(text).map_err(nonsense),
            _ => Err(nonsense("it has no content type")),
        }
    }

    /// The record of `key` with this content.
    pub(crate) fn record(&self, key: &StateKey, data: Bytes) -> Result<Record> {
        Ok(Record {
            key: key.clone(),
            version: self.given(header::VERSION)?,
            data,
            content_type: self.content_type()?,
            schema: self.text(header::SCHEMA)?,
            created_at: self.given(header::CREATED_AT)?,
            created_by: self.given(header::CREATED_BY)?,
            updated_at: self.given(header::UPDATED_AT)?,
            updated_by: self.given(header::UPDATED_BY)?,
            expires_at: self.optional(header::EXPIRES_AT)?,
            tombstone: self.word(header::TOMBSTONE)?,
        })
    }

    /// What is known of content of this size.
    pub(crate) fn entry(&self, id: ReferenceId, size: u64) -> Result<ReferenceInfo> {
        let missing = |name: &str| nonsense(format!("it has no header {name}"));
        let kind = self.word(header::REFERENCE_KIND)?;
        let compression = self.word(header::COMPRESSION)?;
        Ok(ReferenceInfo {
            reference: Reference {
                id,
                size,
                content_type: self.content_type()?,
            },
            kind: kind.ok_or_else(|| missing(header::REFERENCE_KIND))?,
            compression: compression.ok_or_else(|| missing(header::COMPRESSION))?,
            stored_size: self.given(header::STORED_SIZE)?,
            created_at: self.given(header::CREATED_AT)?,
            expires_at: self.optional(header::EXPIRES_AT)?,
            holders: self.given(header::HOLDERS)?,
            cache: self.given(header::CACHE)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use statehouse_contracts::{ErrorKind, Tombstone};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                hyper::header::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    const RECORD: [(&str, &str); 8] = [
        ("content-type", "text/x-100%25"),
        ("statehouse-version", "7"),
        ("statehouse-schema", "na%C3%AFve"),
        ("statehouse-created-at", "2026-01-01T00:00:00Z"),
        ("statehouse-created-by", "a%20"),
        ("statehouse-updated-at", "2026-01-02T00:00:00.5Z"),
        ("statehouse-updated-by", "b"),
        ("statehouse-tombstone", "expired"),
    ];

    #[test]
    fn a_record_is_read_from_headers() {
        let key = StateKey::parse("task", "a").unwrap();
        let headers = headers(&RECORD);
        let record = Fields(&headers).record(&key, Bytes::new()).unwrap();
        assert_eq!(
            (record.version, record.tombstone),
            (7, Some(Tombstone::Expired))
        );
        assert_eq!(record.content_type.as_str(), "text/x-100%25");
        assert_eq!(record.schema.as_deref(), Some("naïve"));
        assert_eq!(record.created_by.as_str(), "a ");
        assert_eq!(record.expires_at, None);
    }

    #[test]
    fn a_header_that_makes_no_sense_is_named() {
        let key = StateKey::parse("task", "a").unwrap();
        for (name, value) in [
            ("statehouse-version", "-1"),
            ("statehouse-created-at", "yesterday"),
            ("statehouse-tombstone", "gone"),
        ] {
            let mut headers = headers(&RECORD);
            headers.insert(name, HeaderValue::from_static(value));
            let error = Fields(&headers).record(&key, Bytes::new()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
            assert!(error.to_string().contains(name), "{error}");
        }
        let error = Fields(&HeaderMap::new())
            .record(&key, Bytes::new())
            .unwrap_err();
        assert!(error.to_string().contains("statehouse-version"), "{error}");
    }
}
