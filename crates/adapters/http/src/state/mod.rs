//! State.

mod changes;
mod outbox;
pub(crate) mod write;

use std::collections::HashSet;

use async_trait::async_trait;
use hyper::header::CACHE_CONTROL;
use statehouse_contracts::{
    Applied, Error, ErrorKind, HistoryQuery, ListQuery, Page, PageCursor, Prune, Pruned, Record,
    Result, StateCapability, StateKey, StateManager, Transaction, Version,
};
use statehouse_wire::{
    AppliedDoc, ItemsDoc, KeysDoc, PageDoc, PruneDoc, PrunedDoc, RecordDoc, TransactionDoc,
};

use crate::batch::{Part, parts};
use crate::client::Handle;
use crate::error::nonsense;
use crate::fields::Fields;

/// Keeps state by way of the service.
#[derive(Debug)]
pub(crate) struct HttpState {
    handle: Handle,
    capability: StateCapability,
}

impl HttpState {
    pub(crate) fn new(handle: Handle, capability: StateCapability) -> Self {
        Self { handle, capability }
    }

    /// One record, whose bytes come as they are.
    async fn get_one(&self, key: &StateKey) -> Result<Option<Record>> {
        let path = ["v1", "states", key.kind.as_str(), key.id.as_str()];
        // The service has a cache; what is asked for here is what is stored.
        let request = self.handle.get("get_many", &path);
        let request = request.raw_header(CACHE_CONTROL, "no-cache")?;
        match request.parts().await {
            Ok((headers, data)) => Fields(&headers).record(key, data).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn import_part(&self, part: &Part) -> Result<Vec<bool>> {
        let request = self.handle.post("import", &["v1", "import"]);
        let request = request.json_bytes(part.document("records", ""));
        let written: ItemsDoc<bool> = request.answer().await?;
        Ok(written.items)
    }
}

#[async_trait]
impl StateManager for HttpState {
    fn capability(&self) -> StateCapability {
        self.capability
    }

    async fn apply(&self, transaction: Transaction) -> Result<Applied> {
        let request = match write::alone(&transaction) {
            Some(write) => {
                let op_id = transaction.op_id.as_ref();
                write::request(&self.handle, write, op_id)?
            }
            None => {
                let request = self.handle.post("apply", &["v1", "apply"]);
                request.json(&TransactionDoc::from(transaction))?
            }
        };
        let applied: AppliedDoc = request.answer().await?;
        Ok(applied.into())
    }

    async fn get_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Record>>> {
        if let [key] = keys {
            return Ok(vec![self.get_one(key).await?]);
        }
        let request = self.handle.post("get_many", &["v1", "states:batchGet"]);
        let keys = keys.iter().cloned().map(Into::into).collect();
        let request = request.reads().json(&KeysDoc { keys })?;
        let records: ItemsDoc<Option<RecordDoc>> = request.answer().await?;
        let record = |doc: Option<RecordDoc>| doc.map(Record::try_from).transpose();
        let records: Result<_> = records.items.into_iter().map(record).collect();
        records.map_err(nonsense)
    }

    async fn read_version(&self, key: &StateKey, version: Version) -> Result<Record> {
        let number = version.to_string();
        let (kind, id) = (key.kind.as_str(), key.id.as_str());
        let path = ["v1", "states", kind, id, "versions", &number];
        let (headers, data) = self.handle.get("read_version", &path).parts().await?;
        Fields(&headers).record(key, data)
    }

    async fn list(&self, query: ListQuery) -> Result<Page<Record>> {
        let direction = match query.direction {
            statehouse_contracts::Direction::Ascending => None,
            statehouse_contracts::Direction::Descending => Some("descending"),
        };
        let request = self
            .handle
            .get("list", &["v1", "states", query.kind.as_str()])
            .maybe("prefix", query.prefix.as_ref())
            .maybe("glob", query.glob.as_ref().map(|glob| glob.as_str()))
            .maybe("direction", direction)
            .maybe("tombstones", query.tombstones.then_some(true))
            .limit(query.limit)
            .maybe("cursor", query.after.as_ref().map(|cursor| &cursor.0));
        let page: PageDoc<RecordDoc> = request.answer().await?;
        page.page().map_err(nonsense)
    }

    async fn history(&self, key: &StateKey, query: HistoryQuery) -> Result<Vec<Record>> {
        let (kind, id) = (key.kind.as_str(), key.id.as_str());
        let request = self
            .handle
            .get("history", &["v1", "states", kind, id, "versions"])
            .maybe("before", query.before)
            .limit(query.limit)
            .maybe("data", (!query.data).then_some(false));
        request.items::<RecordDoc, _, _>().await
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned> {
        let request = self.handle.post("prune", &["v1", "prune"]);
        let request = request.json(&PruneDoc::from(prune))?;
        let pruned: PrunedDoc = request.answer().await?;
        Ok(pruned.into())
    }

    async fn export(&self, limit: usize, after: Option<&PageCursor>) -> Result<Page<Record>> {
        let request = self.handle.get("export", &["v1", "export"]).limit(limit);
        let request = request.maybe("cursor", after.map(|cursor| &cursor.0));
        let page: PageDoc<RecordDoc> = request.answer().await?;
        page.page().map_err(nonsense)
    }

    async fn import(&self, records: Vec<Record>) -> Result<Vec<bool>> {
        let mut keys = HashSet::with_capacity(records.len());
        for record in &records {
            // In several requests the service would not see it.
            if !keys.insert(record.key.clone()) {
                let message = format!("the key {} comes twice in one import", record.key);
                return Err(Error::invalid(message).with_operation("import"));
            }
            if record.version == 0 {
                let message = format!("{} has version 0; versions count from 1", record.key);
                return Err(Error::invalid(message).with_operation("import"));
            }
        }
        let mut written = Vec::with_capacity(records.len());
        for part in parts(records.into_iter().map(RecordDoc::from), self.handle.room())? {
            written.extend(self.import_part(&part).await?);
        }
        Ok(written)
    }

    async fn close(&self) -> Result<()> {
        self.handle.close();
        Ok(())
    }
}
