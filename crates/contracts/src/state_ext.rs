//! Sugar over the state manager.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Applied, ContentType, Error, Precondition, Record, Result, RollbackTo, StateKey, StateManager,
    Transaction, Version, Write,
};

/// Sugar over [`StateManager`]: one key at a time.
#[async_trait]
pub trait StateManagerExt: StateManager {
    /// The live record of `key`.
    ///
    /// # Errors
    /// Those of [`StateManager::get_many`].
    async fn get(&self, key: &StateKey) -> Result<Option<Record>> {
        Ok(self
            .get_many(std::slice::from_ref(key))
            .await?
            .pop()
            .flatten())
    }

    /// Applies one write and answers the key's version.
    ///
    /// # Errors
    /// Those of [`StateManager::apply`].
    async fn write(&self, write: Write) -> Result<Version> {
        single(self.apply(Transaction::of(write)).await?)
    }

    /// Puts `data` under a precondition, without expiry.
    ///
    /// # Errors
    /// Those of [`StateManager::apply`].
    async fn put(
        &self,
        key: &StateKey,
        data: Bytes,
        content_type: ContentType,
        precondition: Precondition,
    ) -> Result<Version> {
        self.write(Write::put(key.clone(), data, content_type).when(precondition))
            .await
    }

    /// Appends `data`.
    ///
    /// # Errors
    /// Those of [`StateManager::apply`].
    async fn append(&self, key: &StateKey, data: Bytes) -> Result<Version> {
        self.write(Write::append(key.clone(), data)).await
    }

    /// Deletes under a precondition.
    ///
    /// # Errors
    /// Those of [`StateManager::apply`].
    async fn delete(&self, key: &StateKey, precondition: Precondition) -> Result<Version> {
        self.write(Write::delete(key.clone()).when(precondition))
            .await
    }

    /// Rolls back under a precondition.
    ///
    /// # Errors
    /// Those of [`StateManager::apply`].
    async fn rollback(
        &self,
        key: &StateKey,
        to: RollbackTo,
        precondition: Precondition,
    ) -> Result<Version> {
        self.write(Write::rollback(key.clone(), to).when(precondition))
            .await
    }
}

impl<S: StateManager + ?Sized> StateManagerExt for S {}

fn single(applied: Applied) -> Result<Version> {
    let version = applied.versions.first().copied();
    version.ok_or_else(|| Error::internal("apply answered no version for one write"))
}
