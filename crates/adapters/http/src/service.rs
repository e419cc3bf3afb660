//! What a service can do beyond the contracts.

use statehouse_contracts::{Endpoint, Precondition, Result, Scope, StateKey, Version};
use statehouse_wire::{AppliedDoc, TrioStatusDoc};

use crate::backend::HttpBackend;
use crate::client::Handle;
use crate::error::nonsense;
use crate::state::write::conditional;

/// A running service, for what its own kind of backend adds to the contracts: the trio.
#[derive(Debug)]
pub struct Service {
    handle: Handle,
}

impl Service {
    /// The service at `endpoint`, for `scope`.
    ///
    /// # Errors
    /// [`Unavailable`](statehouse_contracts::ErrorKind::Unavailable) when it does not answer.
    pub async fn open(endpoint: &Endpoint, scope: &Scope) -> Result<Self> {
        let handle = HttpBackend::at(endpoint).await?.handle(scope)?;
        Ok(Self { handle })
    }

    /// The three stores of its trio as they stand.
    ///
    /// # Errors
    /// [`Unsupported`](statehouse_contracts::ErrorKind::Unsupported) where it has none.
    pub async fn trio(&self) -> Result<TrioStatusDoc> {
        self.handle.get("trio", &["v1", "trio"]).answer().await
    }

    /// Writes the version before the latest to main; answers its version.
    ///
    /// # Errors
    /// [`NotFound`](statehouse_contracts::ErrorKind::NotFound) when there is none;
    /// [`Conflict`](statehouse_contracts::ErrorKind::Conflict) when `precondition` does not hold.
    pub async fn restore(&self, key: &StateKey, precondition: Precondition) -> Result<Version> {
        let path = [
            "v1",
            "states",
            key.kind.as_str(),
            key.id.as_str(),
            "restore",
        ];
        let request = conditional(self.handle.post("restore", &path), precondition)?;
        let applied: AppliedDoc = request.answer().await?;
        let version = applied.versions.first().copied();
        version.ok_or_else(|| nonsense("a transaction of one write has no version"))
    }
}
