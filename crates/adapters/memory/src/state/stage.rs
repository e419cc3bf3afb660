//! What each write of a transaction will do, before anything is done.

use bytes::Bytes;
use statehouse_contracts::{
    ChangeOperation, ContentType, Error, Operation, Result, RollbackTo, StateKey, Tombstone,
    Version, Write,
};

use crate::state::MAX_DATA;
use crate::state::body::Body;
use crate::state::entry::{Stored, never_was};
use crate::state::records::{Author, Records};

/// What a write will do.
pub(super) enum Staged {
    Nothing(Version),
    Version(Box<Stored>, ChangeOperation),
}

impl Records {
    pub(super) fn stage_all(&self, writes: &[Write], author: Author<'_>) -> Result<Vec<Staged>> {
        writes
            .iter()
            .map(|write| self.stage(write, author))
            .collect()
    }

    fn stage(&self, write: &Write, author: Author<'_>) -> Result<Staged> {
        let key = &write.key;
        match &write.operation {
            Operation::Put {
                data,
                content_type,
                schema,
                ttl,
            } => {
                let mut stored = self.fresh(key, Body::whole(data.clone()), author)?;
                stored.content_type = content_type.clone();
                stored.schema = schema.clone();
                stored.expires_at = ttl.map(|ttl| author.now.after(ttl).timestamp());
                Ok(Staged::Version(Box::new(stored), ChangeOperation::Put))
            }
            Operation::Append { data } => self.stage_append(key, data, author),
            Operation::Delete => self.stage_delete(key, author),
            Operation::Check => Ok(Staged::Nothing(self.current_version(key))),
            Operation::Rollback { to } => self.stage_rollback(key, *to, author),
        }
    }

    fn stage_append(&self, key: &StateKey, data: &Bytes, author: Author<'_>) -> Result<Staged> {
        let Some(current) = self.live(key) else {
            let stored = self.fresh(key, Body::whole(data.clone()), author)?;
            return Ok(Staged::Version(Box::new(stored), ChangeOperation::Append));
        };
        let len = current.body.len() + data.len();
        if len > MAX_DATA {
            let what = format!("the size of {key} after the append");
            let limit = MAX_DATA as u64;
            return Err(Error::beyond_limit(&what, len as u64, "max_data", limit));
        }
        let stored = Stored {
            version: self.next_version(key)?,
            body: current.body.append(data.clone()),
            appended: true,
            updated_at: author.now.timestamp(),
            updated_by: author.by.clone(),
            ..current.clone()
        };
        Ok(Staged::Version(Box::new(stored), ChangeOperation::Append))
    }

    fn stage_delete(&self, key: &StateKey, author: Author<'_>) -> Result<Staged> {
        if self.live(key).is_none() {
            return Ok(Staged::Nothing(self.current_version(key)));
        }
        let version = self.next_version(key)?;
        let stored = self.tombstone(key, version, author, Tombstone::Deleted);
        Ok(Staged::Version(Box::new(stored), ChangeOperation::Delete))
    }

    fn stage_rollback(&self, key: &StateKey, to: RollbackTo, author: Author<'_>) -> Result<Staged> {
        let wanted = match to {
            RollbackTo::Previous => self.current_version(key).saturating_sub(1),
            RollbackTo::Version(version) => version,
        };
        let entry = self.entry(key).ok_or_else(|| never_was(key, wanted))?;
        let target = entry.version(key, wanted)?;
        if !target.is_live() {
            return self.stage_delete(key, author);
        }
        let mut stored = self.fresh(key, target.body.clone(), author)?;
        stored.content_type = target.content_type.clone();
        stored.schema = target.schema.clone();
        Ok(Staged::Version(Box::new(stored), ChangeOperation::Rollback))
    }

    /// A live version of `body` without media type, schema and expiry.
    fn fresh(&self, key: &StateKey, body: Body, author: Author<'_>) -> Result<Stored> {
        let at = author.now.timestamp();
        let life = self.live(key);
        Ok(Stored {
            version: self.next_version(key)?,
            body,
            appended: false,
            content_type: ContentType::BYTES,
            schema: None,
            created_at: life.map_or(at, |life| life.created_at),
            created_by: life.map_or(author.by, |life| &life.created_by).clone(),
            updated_at: at,
            updated_by: author.by.clone(),
            expires_at: None,
            tombstone: None,
        })
    }

    pub(super) fn tombstone(
        &self,
        key: &StateKey,
        version: Version,
        author: Author<'_>,
        why: Tombstone,
    ) -> Stored {
        let at = author.now.timestamp();
        let life = self.live(key);
        Stored {
            version,
            body: Body::default(),
            appended: false,
            content_type: ContentType::BYTES,
            schema: None,
            created_at: life.map_or(at, |life| life.created_at),
            created_by: life.map_or(author.by, |life| &life.created_by).clone(),
            updated_at: at,
            updated_by: author.by.clone(),
            expires_at: None,
            tombstone: Some(why),
        }
    }
}
