//! Large content.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, RANGE};
use serde::Serialize;
use statehouse_contracts::{
    Collected, Content, Error, ErrorKind, Holder, Page, PutContent, PutOutcome,
    ReferenceCapability, ReferenceId, ReferenceInfo, ReferenceQuery, ReferenceStats,
    ReferenceStore, Result,
};
use statehouse_wire::{
    CollectedDoc, HoldDoc, PageDoc, PutOutcomeDoc, ReferenceInfoDoc, ReferenceStatsDoc, RemovedDoc,
    Span, TouchDoc, header,
};

use crate::client::Handle;
use crate::error::nonsense;
use crate::fields::Fields;
use crate::request::Request;

/// Content by way of the service.
#[derive(Debug)]
pub(crate) struct HttpReferences {
    handle: Handle,
    capability: ReferenceCapability,
}

impl HttpReferences {
    pub(crate) fn new(handle: Handle, capability: ReferenceCapability) -> Self {
        Self { handle, capability }
    }

    /// A range that no `Range` header can ask for, or that the service refused: empty at or before
    /// the content's end, else wrong.
    async fn empty_range(&self, id: &ReferenceId, range: &Range<u64>) -> Result<Bytes> {
        let size = self.stat(id).await?.reference.size;
        if range.start <= size {
            return Ok(Bytes::new());
        }
        let Range { start, end } = range;
        let message = format!("the range {start}..{end} begins beyond the end at {size}");
        Err(Error::invalid(message).with_operation("resolve_range"))
    }
}

/// A word as documents write it.
fn word(value: &impl Serialize) -> Result<String> {
    let value = serde_json::to_value(value).map_err(nonsense)?;
    let word = value.as_str().map(str::to_owned);
    word.ok_or_else(|| nonsense("a value that is no word"))
}

fn put_headers<'a>(request: Request<'a>, content: &PutContent) -> Result<Request<'a>> {
    let mut request = request
        .raw_header(CONTENT_TYPE, content.content_type.as_str())?
        .header(header::REFERENCE_KIND, &word(&content.kind)?)?
        .header(header::COMPRESSION, &word(&content.compression)?)?;
    if let Some(holder) = &content.holder {
        request = request.header(header::HOLDER, holder.as_str())?;
    }
    if let Some(ttl) = content.ttl {
        request = request.header(header::TTL, &Span(ttl).to_string())?;
    }
    match content.cache {
        true => request.header(header::CACHE, "true"),
        false => Ok(request),
    }
}

#[async_trait]
impl ReferenceStore for HttpReferences {
    fn capability(&self) -> ReferenceCapability {
        self.capability
    }

    async fn put(&self, content: PutContent) -> Result<PutOutcome> {
        let (got, most) = (content.bytes.len(), self.capability.max_content);
        if got > most {
            // The service would hang up before it has read so much.
            let error = Error::beyond_limit("content", got as u64, "max_content", most as u64);
            return Err(error.with_operation("put"));
        }
        let request = self.handle.post("put", &["v1", "references"]);
        let request = put_headers(request, &content)?.bytes(content.bytes);
        let outcome: PutOutcomeDoc = request.answer().await?;
        Ok(outcome.into())
    }

    async fn retain(
        &self,
        id: &ReferenceId,
        holder: &Holder,
        expires: Option<Duration>,
    ) -> Result<()> {
        let id = id.to_string();
        let path = ["v1", "references", &id, "holders", holder.as_str()];
        let expires = expires.map(Span);
        let request = self.handle.put("retain", &path);
        request.json(&HoldDoc { expires })?.done().await
    }

    async fn release(&self, id: &ReferenceId, holder: &Holder) -> Result<bool> {
        let id = id.to_string();
        let path = ["v1", "references", &id, "holders", holder.as_str()];
        let answer: RemovedDoc = self.handle.delete("release", &path).answer().await?;
        Ok(answer.removed)
    }

    async fn resolve(&self, id: &ReferenceId) -> Result<Content> {
        let text = id.to_string();
        let request = self.handle.get("resolve", &["v1", "references", &text]);
        let (headers, bytes) = request.parts().await?;
        if ReferenceId::of(&bytes) != *id {
            let message = "the content does not match its id, or was changed on its way";
            let error = Error::new(ErrorKind::Corrupted, message).with_operation("resolve");
            return Err(error.with_context("reference", id));
        }
        let info = Fields(&headers).entry(*id, bytes.len() as u64)?;
        Ok(Content { bytes, info })
    }

    async fn resolve_range(&self, id: &ReferenceId, range: Range<u64>) -> Result<Bytes> {
        let Range { start, end } = range;
        if start > end {
            let message = format!("the range {start}..{end} ends before its start");
            return Err(Error::invalid(message).with_operation("resolve_range"));
        }
        if start == end {
            return self.empty_range(id, &range).await;
        }
        let text = id.to_string();
        let path = ["v1", "references", &text];
        let request = self.handle.get("resolve_range", &path);
        let request = request.raw_header(RANGE, &format!("bytes={start}-{}", end - 1))?;
        match request.parts().await {
            Ok((_, bytes)) => Ok(bytes),
            // HTTP has no empty ranges, so one that begins at the end is refused.
            Err(error) if error.kind() == ErrorKind::InvalidArgument => {
                self.empty_range(id, &range).await
            }
            Err(error) => Err(error),
        }
    }

    async fn stat(&self, id: &ReferenceId) -> Result<ReferenceInfo> {
        let id = id.to_string();
        let path = ["v1", "references", &id, "info"];
        let info: ReferenceInfoDoc = self.handle.get("stat", &path).answer().await?;
        Ok(info.into())
    }

    async fn list(&self, query: ReferenceQuery) -> Result<Page<ReferenceInfo>> {
        let kind = query.kind.as_ref().map(word).transpose()?;
        let request = self
            .handle
            .get("list", &["v1", "references"])
            .maybe("kind", kind)
            .maybe("holder", query.holder.as_ref())
            .limit(query.limit)
            .maybe("cursor", query.after.as_ref().map(|cursor| &cursor.0));
        let page: PageDoc<ReferenceInfoDoc> = request.answer().await?;
        Ok(Page {
            items: page.items.into_iter().map(Into::into).collect(),
            next: page.next.map(statehouse_contracts::PageCursor),
        })
    }

    async fn stats(&self) -> Result<ReferenceStats> {
        let request = self.handle.get("stats", &["v1", "references", "stats"]);
        let stats: ReferenceStatsDoc = request.answer().await?;
        Ok(stats.into())
    }

    async fn collect_garbage(&self) -> Result<Collected> {
        let path = ["v1", "references", "gc"];
        let request = self.handle.post("collect_garbage", &path);
        let collected: CollectedDoc = request.answer().await?;
        Ok(collected.into())
    }

    async fn touch(&self, id: &ReferenceId, ttl: Option<Duration>) -> Result<()> {
        let id = id.to_string();
        let path = ["v1", "references", &id, "touch"];
        let request = self.handle.post("touch", &path);
        let ttl = ttl.map(Span);
        request.json(&TouchDoc { ttl })?.done().await
    }

    async fn delete(&self, id: &ReferenceId) -> Result<bool> {
        let id = id.to_string();
        let request = self.handle.delete("delete", &["v1", "references", &id]);
        let answer: RemovedDoc = request.answer().await?;
        Ok(answer.removed)
    }

    async fn close(&self) -> Result<()> {
        self.handle.close();
        Ok(())
    }
}
