//! Large content, stored once and passed by reference.

use std::fmt::{self, Debug};
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{ContentType, Error, Holder, Page, PageCursor, ReferenceCapability, Result};

/// The name of content: the SHA-256 of its plain bytes, as 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReferenceId([u8; 32]);

impl ReferenceId {
    /// The id of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// The id with this digest.
    pub fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest.
    pub fn digest(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ReferenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Debug for ReferenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::str::FromStr for ReferenceId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid(format!(
                "reference id {text:?} is not 64 lowercase hex digits"
            ))
        };
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 64 || !text.bytes().all(hex) {
            return Err(wrong());
        }
        let mut digest = [0; 32];
        for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(digest))
    }
}

impl TryFrom<String> for ReferenceId {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ReferenceId> for String {
    fn from(id: ReferenceId) -> String {
        id.to_string()
    }
}

/// What a message carries instead of large content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The content's id.
    pub id: ReferenceId,
    /// Its plain size in bytes.
    pub size: u64,
    /// Its media type.
    pub content_type: ContentType,
}

/// What content is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceKind {
    /// The state of a session.
    SessionState,
    /// What a workflow passes along.
    WorkflowContext,
    /// What collaborating agents share.
    CollaborationState,
    /// A payload too large for a message; the default.
    #[default]
    LargePayload,
    /// Data of a pattern.
    PatternData,
    /// What a tool answered.
    ToolResult,
    /// A recorded trace.
    ObservabilityTrace,
}

/// How content is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// zstd from 1,024 bytes when that is smaller, else none; the default.
    #[default]
    Auto,
    /// As it is.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
    /// LZ4 frames.
    Lz4,
}

/// Content to store, and how.
#[derive(Clone, Debug)]
pub struct PutContent {
    /// The plain bytes; not empty.
    pub bytes: Bytes,
    /// Who holds it; a new holder is made when not given.
    pub holder: Option<Holder>,
    /// What it is for.
    pub kind: ReferenceKind,
    /// Its media type.
    pub content_type: ContentType,
    /// How long it lives at most, whoever holds it; `None`: as long as it is held.
    pub ttl: Option<Duration>,
    /// How to store it.
    pub compression: Compression,
    /// Whether it may be evicted for lack of room: cache content, held by nobody.
    pub cache: bool,
}

impl PutContent {
    /// `bytes` with everything else as by default.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self {
            bytes: bytes.into(),
            holder: None,
            kind: ReferenceKind::default(),
            content_type: ContentType::BYTES,
            ttl: None,
            compression: Compression::Auto,
            cache: false,
        }
    }

    /// Held by `holder`.
    pub fn held_by(mut self, holder: Holder) -> Self {
        self.holder = Some(holder);
        self
    }
}

/// The answer to a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutOutcome {
    /// The content's reference.
    pub reference: Reference,
    /// Who holds it; `None` for cache content.
    pub holder: Option<Holder>,
    /// Whether the content is new; false when it was there already.
    pub created: bool,
}

/// Resolved content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The plain bytes, checked against the id.
    pub bytes: Bytes,
    /// What is known of it.
    pub info: ReferenceInfo,
}

/// What is known of stored content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceInfo {
    /// Its reference.
    pub reference: Reference,
    /// What it is for.
    pub kind: ReferenceKind,
    /// How it is stored; never [`Compression::Auto`].
    pub compression: Compression,
    /// Its stored size in bytes.
    pub stored_size: u64,
    /// When it was first put.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// How many holders it has: the reference count.
    pub holders: u64,
    /// Whether it was put as cache.
    pub cache: bool,
}

/// Which content to list.
#[derive(Clone, Debug, Default)]
pub struct ReferenceQuery {
    /// Only of this kind.
    pub kind: Option<ReferenceKind>,
    /// Only what this holder holds.
    pub holder: Option<Holder>,
    /// The most entries; 0: as many as the backend likes.
    pub limit: usize,
    /// Where the page begins.
    pub after: Option<PageCursor>,
}

/// Sums over a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReferenceStats {
    /// Entries.
    pub entries: u64,
    /// Entries with a holder.
    pub held: u64,
    /// Bytes stored, as they are stored.
    pub stored_bytes: u64,
    /// Plain bytes that this content stands for.
    pub plain_bytes: u64,
    /// Runs of the garbage collector since the store was made.
    pub collections: u64,
    /// Entries that were collected or evicted since the store was made.
    pub evictions: u64,
}

/// What a garbage collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Entries.
    pub entries: u64,
    /// Bytes, as they were stored.
    pub bytes: u64,
}

/// Stores content by its hash.
///
/// # Holders
/// - Content lives as long as somebody holds it. `put`, `retain` and `release` are idempotent per
///   holder: a repeated call never counts twice, so a repeated ack or a replay after a crash is
///   harmless. The reference count is the number of live holders.
/// - A put without a holder makes one and returns it, but for cache content, which has none.
/// - A holder may expire: `retain` with a duration. An expired holder holds nothing.
/// - `resolve` never changes holders.
/// - Content without a holder, but for cache content, is collected by the next garbage collection
///   (every 300 s by default, see the adapter's configuration); until then a put or retain of it
///   keeps it.
///
/// # Content
/// - Equal content in one namespace shares one entry. The options of the first put stand, except
///   expiry: a later put with a longer ttl, or with none, extends it.
/// - Content whose ttl has passed reads as absent at once, whoever holds it; a put of the same
///   content makes it anew.
/// - `resolve` verifies the whole against the id, `resolve_range` the chunks it reads against
///   their checksums; damage is [`Corrupted`](crate::ErrorKind::Corrupted).
/// - Compression is honoured as set; [`Compression::Auto`] stores zstd from 1,024 bytes when that
///   is smaller.
/// - Unknown content is [`NotFound`](crate::ErrorKind::NotFound). Empty content is
///   [`InvalidArgument`](crate::ErrorKind::InvalidArgument).
///
/// # Quota
/// - A put beyond the byte quota of the namespace evicts what has expired, then what nobody
///   holds, then cache content, least recently used first; never what is held. When that is not
///   enough it is [`QuotaExceeded`](crate::ErrorKind::QuotaExceeded) and changes nothing.
#[async_trait]
pub trait ReferenceStore: Debug + Send + Sync {
    /// What this store can do.
    fn capability(&self) -> ReferenceCapability;

    /// Stores content, or adds a holder to it when it is there.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for empty or too large content, or
    /// for cache content with a holder;
    /// [`QuotaExceeded`](crate::ErrorKind::QuotaExceeded).
    async fn put(&self, content: PutContent) -> Result<PutOutcome>;

    /// Adds a holder, or renews it; with `expires` it holds only that long from now.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    async fn retain(
        &self,
        id: &ReferenceId,
        holder: &Holder,
        expires: Option<Duration>,
    ) -> Result<()>;

    /// Removes a holder; answers whether it held. Unknown content is `Ok(false)`.
    ///
    /// # Errors
    /// Those of the backend.
    async fn release(&self, id: &ReferenceId, holder: &Holder) -> Result<bool>;

    /// The whole content, verified.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Corrupted`](crate::ErrorKind::Corrupted).
    async fn resolve(&self, id: &ReferenceId) -> Result<Content>;

    /// The plain bytes of `range`, verified; a range that reaches beyond the end is cut there.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Corrupted`](crate::ErrorKind::Corrupted),
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a range that starts beyond the
    /// end or ends before its start.
    async fn resolve_range(&self, id: &ReferenceId, range: Range<u64>) -> Result<Bytes>;

    /// What is known of the content.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    async fn stat(&self, id: &ReferenceId) -> Result<ReferenceInfo>;

    /// A page of entries in the order of their ids.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a cursor that is none.
    async fn list(&self, query: ReferenceQuery) -> Result<Page<ReferenceInfo>>;

    /// Sums over the namespace.
    ///
    /// # Errors
    /// Those of the backend.
    async fn stats(&self) -> Result<ReferenceStats>;

    /// Removes what has expired and what nobody holds, now.
    ///
    /// # Errors
    /// Those of the backend.
    async fn collect_garbage(&self) -> Result<Collected>;

    /// Sets the ttl anew, counted from now; `None` removes it. Marks the content as used.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    async fn touch(&self, id: &ReferenceId, ttl: Option<Duration>) -> Result<()>;

    /// Removes the content whoever holds it: an operator's act. Answers whether it was there.
    ///
    /// # Errors
    /// Those of the backend.
    async fn delete(&self, id: &ReferenceId) -> Result<bool>;

    /// Closes this handle. Idempotent.
    ///
    /// # Errors
    /// When what was accepted could not be finished.
    async fn close(&self) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_sha_256_of_the_content() {
        let id = ReferenceId::of(b"abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(id.to_string(), hex);
        assert_eq!(hex.parse::<ReferenceId>().unwrap(), id);
        for bad in [
            "",
            "xyz",
            &hex.to_uppercase(),
            &format!("{hex}0"),
            &"é".repeat(32),
        ] {
            assert!(bad.parse::<ReferenceId>().is_err(), "{bad}");
        }
    }
}
