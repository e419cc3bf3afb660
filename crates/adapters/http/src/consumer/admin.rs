//! Looking after groups.

use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    Counts, DeadLetter, GroupName, GroupStatus, MessageId, Page, PageCursor, QueueAdmin, Received,
    Result,
};
use statehouse_wire::{
    AgeDoc, CountDoc, CountsDoc, DeadLetterDoc, GroupStatusDoc, ItemsDoc, PageDoc, PeekedDoc,
    PurgeDoc, RedriveDoc, RemovedDoc,
};

use super::HttpConsumer;
use crate::error::nonsense;

#[async_trait]
impl QueueAdmin for HttpConsumer {
    async fn groups(&self) -> Result<Vec<GroupStatus>> {
        let request = self.handle.get("groups", &["v1", "groups"]);
        let groups: ItemsDoc<GroupStatusDoc> = request.answer().await?;
        Ok(groups.items.into_iter().map(Into::into).collect())
    }

    async fn pause(&self, group: &GroupName) -> Result<()> {
        let path = ["v1", "groups", group.as_str(), "pause"];
        self.handle.post("pause", &path).done().await
    }

    async fn resume(&self, group: &GroupName) -> Result<()> {
        let path = ["v1", "groups", group.as_str(), "resume"];
        self.handle.post("resume", &path).done().await
    }

    async fn delete_group(&self, group: &GroupName) -> Result<bool> {
        let path = ["v1", "groups", group.as_str()];
        let answer: RemovedDoc = self.handle.delete("delete_group", &path).answer().await?;
        Ok(answer.removed)
    }

    async fn counts(&self, group: &GroupName) -> Result<Counts> {
        let path = ["v1", "groups", group.as_str(), "counts"];
        let counts: CountsDoc = self.handle.get("counts", &path).answer().await?;
        Ok(counts.into())
    }

    async fn oldest_ready_age(&self, group: &GroupName) -> Result<Option<Duration>> {
        let path = ["v1", "groups", group.as_str(), "oldest-age"];
        let age: AgeDoc = self.handle.get("oldest_ready_age", &path).answer().await?;
        Ok(age.age.map(Into::into))
    }

    async fn peek(&self, group: &GroupName, max: usize) -> Result<Vec<(Received, u32)>> {
        let path = ["v1", "groups", group.as_str(), "peek"];
        let request = self.handle.get("peek", &path).query("max", max);
        request.items::<PeekedDoc, _, _>().await
    }

    async fn dead_letters(
        &self,
        group: &GroupName,
        limit: usize,
        after: Option<&PageCursor>,
    ) -> Result<Page<DeadLetter>> {
        let path = ["v1", "groups", group.as_str(), "dead-letters"];
        let request = self.handle.get("dead_letters", &path).limit(limit);
        let request = request.maybe("cursor", after.map(|cursor| &cursor.0));
        let page: PageDoc<DeadLetterDoc> = request.answer().await?;
        page.page().map_err(nonsense)
    }

    async fn redrive(&self, group: &GroupName, id: Option<MessageId>) -> Result<u64> {
        let path = ["v1", "groups", group.as_str(), "redrive"];
        let request = self
            .handle
            .post("redrive", &path)
            .json(&RedriveDoc { id })?;
        let answer: CountDoc = request.answer().await?;
        Ok(answer.count)
    }

    async fn purge(&self, group: &GroupName, dead: bool) -> Result<u64> {
        let path = ["v1", "groups", group.as_str(), "purge"];
        let request = self.handle.post("purge", &path).json(&PurgeDoc { dead })?;
        let answer: CountDoc = request.answer().await?;
        Ok(answer.count)
    }
}
