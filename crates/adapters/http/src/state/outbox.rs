//! The outbox.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use statehouse_contracts::{
    Lease, LeaseToken, Outbox, OutboxEntry, OutboxSettle, Page, PageCursor, Result,
};
use statehouse_wire::{
    CountDoc, LeaseDoc, OutboxEntryDoc, OutboxExtendDoc, OutboxLeaseDoc, OutboxReadDoc,
    OutboxReleaseDoc, OutboxSettleBatchDoc, PageDoc, Span,
};

use super::HttpState;
use crate::error::nonsense;

fn text(token: &LeaseToken) -> String {
    token.as_str().to_owned()
}

#[async_trait]
impl Outbox for HttpState {
    async fn outbox_lease(&self, owner: &str, lease: Duration) -> Result<Option<Lease>> {
        let requested = Instant::now();
        let document = OutboxLeaseDoc {
            owner: owner.to_owned(),
            lease: Span(lease),
        };
        let request = self.handle.post("outbox_lease", &["v1", "outbox", "lease"]);
        let answer: Option<LeaseDoc> = request.json(&document)?.answer().await?;
        let lease = answer.map(|lease| lease.lease(requested));
        lease.transpose().map_err(nonsense)
    }

    async fn outbox_extend(&self, token: &LeaseToken, lease: Duration) -> Result<Lease> {
        let requested = Instant::now();
        let document = OutboxExtendDoc {
            token: text(token),
            lease: Span(lease),
        };
        let path = ["v1", "outbox", "extend"];
        let request = self.handle.post("outbox_extend", &path);
        let answer: LeaseDoc = request.json(&document)?.answer().await?;
        answer.lease(requested).map_err(nonsense)
    }

    async fn outbox_release(&self, token: &LeaseToken) -> Result<()> {
        let document = OutboxReleaseDoc { token: text(token) };
        let path = ["v1", "outbox", "release"];
        let request = self.handle.post("outbox_release", &path);
        request.json(&document)?.done().await
    }

    async fn outbox_read(
        &self,
        token: &LeaseToken,
        after: u64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<OutboxEntry>> {
        let once = async |wait: Duration| {
            let document = OutboxReadDoc {
                token: text(token),
                after,
                limit,
                wait: Span(wait),
            };
            let request = self.handle.post("outbox_read", &["v1", "outbox", "read"]);
            let request = request.reads().json(&document)?.waits(wait);
            request.items::<OutboxEntryDoc, _, _>().await
        };
        self.handle.long_poll(wait, once).await
    }

    async fn outbox_settle(&self, token: &LeaseToken, settles: Vec<OutboxSettle>) -> Result<()> {
        let document = OutboxSettleBatchDoc {
            token: text(token),
            settles: settles.into_iter().map(Into::into).collect(),
        };
        let path = ["v1", "outbox", "settle"];
        let request = self.handle.post("outbox_settle", &path);
        request.json(&document)?.done().await
    }

    async fn outbox_depth(&self) -> Result<u64> {
        let request = self.handle.get("outbox_depth", &["v1", "outbox", "depth"]);
        let answer: CountDoc = request.answer().await?;
        Ok(answer.count)
    }

    async fn outbox_parked(
        &self,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<OutboxEntry>> {
        let path = ["v1", "outbox", "parked"];
        let request = self.handle.get("outbox_parked", &path).limit(limit);
        let request = request.maybe("cursor", after.map(|cursor| &cursor.0));
        let page: PageDoc<OutboxEntryDoc> = request.answer().await?;
        page.page().map_err(nonsense)
    }

    async fn outbox_unpark(&self, position: u64) -> Result<()> {
        let position = position.to_string();
        let path = ["v1", "outbox", "parked", &position, "release"];
        self.handle.post("outbox_unpark", &path).done().await
    }

    async fn outbox_discard(&self, position: u64) -> Result<()> {
        let position = position.to_string();
        let path = ["v1", "outbox", "parked", &position];
        self.handle.delete("outbox_discard", &path).done().await
    }
}
