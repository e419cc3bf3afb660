//! The change log.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use statehouse_contracts::{
    ChangeLog, ChangePage, Cursor, Follower, FollowerName, FollowerSpec, Result, Trim,
};
use statehouse_wire::{
    AdvanceDoc, ChangePageDoc, CountDoc, CursorDoc, FollowDoc, FollowerDoc, ItemsDoc, RemovedDoc,
    Span, TrimDoc,
};

use super::HttpState;

impl HttpState {
    async fn changes_once(
        &self,
        after: &Cursor,
        limit: usize,
        wait: Duration,
    ) -> Result<ChangePage> {
        let request = self
            .handle
            .get("changes", &["v1", "changes"])
            .query("after", after)
            .limit(limit)
            .maybe("wait", (!wait.is_zero()).then_some(Span(wait)))
            .waits(wait);
        request.answer_into::<ChangePageDoc, _, _>().await
    }

    async fn cursor(&self, operation: &'static str) -> Result<Cursor> {
        let request = self.handle.get(operation, &["v1", "changes", operation]);
        let answer: CursorDoc = request.answer().await?;
        Ok(Cursor(answer.cursor))
    }
}

#[async_trait]
impl ChangeLog for HttpState {
    async fn changes(&self, after: &Cursor, limit: usize, wait: Duration) -> Result<ChangePage> {
        let begun = Instant::now();
        let mut after = after.clone();
        loop {
            let left = wait.saturating_sub(begun.elapsed());
            let asked = Instant::now();
            let once = left.min(self.handle.max_wait());
            let page = self.changes_once(&after, limit, once).await?;
            if !page.changes.is_empty() || begun.elapsed() >= wait {
                return Ok(page);
            }
            after = page.next;
            self.handle.rest(asked).await?;
        }
    }

    async fn head(&self) -> Result<Cursor> {
        self.cursor("head").await
    }

    async fn oldest(&self) -> Result<Cursor> {
        self.cursor("oldest").await
    }

    async fn follow(&self, name: &FollowerName, spec: FollowerSpec) -> Result<Follower> {
        let path = ["v1", "changes", "followers", name.as_str()];
        let request = self.handle.put("follow", &path);
        let request = request.json(&FollowDoc::from(spec))?;
        let follower: FollowerDoc = request.answer().await?;
        Ok(follower.into())
    }

    async fn advance(&self, name: &FollowerName, cursor: &Cursor) -> Result<()> {
        let path = ["v1", "changes", "followers", name.as_str(), "advance"];
        let cursor = cursor.0.clone();
        let request = self.handle.post("advance", &path);
        request.json(&AdvanceDoc { cursor })?.done().await
    }

    async fn followers(&self) -> Result<Vec<Follower>> {
        let path = ["v1", "changes", "followers"];
        let followers: ItemsDoc<FollowerDoc> = self.handle.get("followers", &path).answer().await?;
        Ok(followers.items.into_iter().map(Into::into).collect())
    }

    async fn unfollow(&self, name: &FollowerName) -> Result<bool> {
        let path = ["v1", "changes", "followers", name.as_str()];
        let answer: RemovedDoc = self.handle.delete("unfollow", &path).answer().await?;
        Ok(answer.removed)
    }

    async fn trim(&self, trim: Trim) -> Result<u64> {
        let request = self.handle.post("trim", &["v1", "changes", "trim"]);
        let answer: CountDoc = request.json(&TrimDoc::from(trim))?.answer().await?;
        Ok(answer.count)
    }
}
