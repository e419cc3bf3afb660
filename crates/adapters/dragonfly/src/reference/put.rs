//! Storing content.

use fred::types::Value;
use statehouse_content::{CHUNK_LEN, Encoded, encode};
use statehouse_contracts::{
    ContentType, Error, ErrorKind, Holder, PutContent, PutOutcome, Reference, ReferenceId, Result,
};

use super::contents::Contents;
use super::{chunk, compute, entry, length};

/// One put on its way.
struct Putting<'c> {
    contents: &'c Contents,
    content: PutContent,
    id: ReferenceId,
    holder: Option<Holder>,
    /// A name of its own.
    made: String,
}

/// Stores content, or adds a holder to it.
pub(super) async fn put(contents: &Contents, content: PutContent) -> Result<PutOutcome> {
    let (bytes, size) = (content.bytes.clone(), content.bytes.len());
    let putting = Putting {
        contents,
        id: compute(size, move || Ok(ReferenceId::of(&bytes))).await?,
        holder: holder_of(&content),
        made: uuid::Uuid::now_v7().simple().to_string(),
        content,
    };
    if size <= CHUNK_LEN {
        let encoded = putting.encode().await?;
        return putting
            .ask("inline", Some(&encoded))
            .await?
            .ok_or_else(lost);
    }
    if let Some(known) = putting.ask("look", None).await? {
        return Ok(known);
    }
    let encoded = putting.encode().await?;
    let key = contents.upload_key(&putting.made);
    contents.upload(&key, &encoded).await?;
    putting
        .ask("upload", Some(&encoded))
        .await?
        .ok_or_else(lost)
}

fn lost() -> Error {
    let message = "the server lost chunks of the content while they were being stored; try again";
    Error::new(ErrorKind::Unavailable, message)
}

/// Who will hold it: cache content has no holder.
fn holder_of(content: &PutContent) -> Option<Holder> {
    if content.cache {
        return content.holder.clone();
    }
    Some(content.holder.clone().unwrap_or_else(Holder::random))
}

impl Putting<'_> {
    async fn encode(&self) -> Result<Encoded> {
        let (bytes, compression) = (self.content.bytes.clone(), self.content.compression);
        compute(bytes.len(), move || encode(&bytes, compression)).await
    }

    /// Calls the script: `how` is what it does with new content. None when that is not stored.
    async fn ask(
        &self,
        how: &'static str,
        encoded: Option<&Encoded>,
    ) -> Result<Option<PutOutcome>> {
        let upload = self.contents.upload_key(&self.made);
        let mut arguments = self.arguments(how, encoded)?;
        if how == "inline" {
            let chunks = encoded.into_iter().flat_map(|encoded| &encoded.chunks);
            arguments.extend(chunks.map(|one| Value::from(chunk::seal(one))));
        }
        let reply = self.contents.put(&self.id, upload, arguments).await?;
        let mut row = reply.row()?;
        match row.text()?.as_str() {
            "again" => {
                let (size, content_type) = (row.number()?, ContentType::new(row.text()?)?);
                Ok(Some(self.outcome(size, content_type, false)))
            }
            "created" => {
                self.sweep(row.number()?).await;
                let size = self.content.bytes.len() as u64;
                Ok(Some(self.outcome(
                    size,
                    self.content.content_type.clone(),
                    true,
                )))
            }
            "full" => {
                let stored = encoded.map_or(0, Encoded::stored_len);
                Err(self.beyond_quota(stored, row.number()?))
            }
            _ => Ok(None),
        }
    }

    fn arguments(&self, how: &'static str, encoded: Option<&Encoded>) -> Result<Vec<Value>> {
        let content = &self.content;
        let (compression, stored, chunks) = match encoded {
            Some(encoded) => (
                entry::word(encoded.compression)?,
                encoded.stored_len(),
                encoded.chunks.len(),
            ),
            None => (String::new(), 0, 0),
        };
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Ok(vec![
            how.into(),
            self.id.to_string().into(),
            self.holder
                .as_ref()
                .map_or("", |holder| holder.as_str())
                .into(),
            length(content.ttl),
            i64::from(content.cache).into(),
            entry::word(content.kind)?.into(),
            content.content_type.as_str().into(),
            number(content.bytes.len() as u64).into(),
            compression.into(),
            number(stored).into(),
            number(chunks as u64).into(),
            match self.contents.session.config().quota {
                Some(quota) => number(quota).into(),
                None => Value::from_static_str(""),
            },
            self.made.as_str().into(),
        ])
    }

    fn outcome(&self, size: u64, content_type: ContentType, created: bool) -> PutOutcome {
        PutOutcome {
            reference: Reference {
                id: self.id,
                size,
                content_type,
            },
            holder: self.holder.clone(),
            created,
        }
    }

    /// Frees what was evicted.
    async fn sweep(&self, evicted: u64) {
        if evicted == 0 {
            return;
        }
        if let Err(error) = self.contents.sweep().await {
            tracing::debug!(%error, "what was evicted is freed by the next collection");
        }
    }

    fn beyond_quota(&self, size: u64, left: u64) -> Error {
        let quota = self.contents.session.config().quota.unwrap_or(0);
        Error::new(
            ErrorKind::QuotaExceeded,
            format!(
                "the content needs {size} bytes, but {left} of the namespace's {quota} are held"
            ),
        )
    }
}
