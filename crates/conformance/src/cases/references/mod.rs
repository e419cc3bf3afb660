//! Large content, by subject.

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    Compression, Holder, PutContent, Reference, ReferenceId, ReferenceStore,
};

use crate::{Case, Context, Failure};

mod content;
mod expiry;
mod holders;
mod lifetime;
mod listing;
mod quota;
mod ranges;

pub(crate) fn cases() -> Vec<Case> {
    [
        content::cases(),
        expiry::cases(),
        holders::cases(),
        lifetime::cases(),
        listing::cases(),
        quota::cases(),
        ranges::cases(),
    ]
    .concat()
}

/// The holder of this name.
fn holder(name: &str) -> Holder {
    Holder::new(name).unwrap_or_else(|error| panic!("holder {name:?} of a case: {error}"))
}

/// Content of `text`, held by `by`.
fn held(text: &str, by: &str) -> PutContent {
    PutContent::new(text.to_owned()).held_by(holder(by))
}

/// Bytes that do not compress, always the same for one `salt`.
fn noise(salt: u8, length: usize) -> Vec<u8> {
    let blocks = (0u64..).flat_map(move |n| {
        let block = format!("{salt}/{n}");
        *ReferenceId::of(block.as_bytes()).digest()
    });
    blocks.take(length).collect()
}

/// Noise that is stored as it is.
fn raw(salt: u8, length: usize) -> PutContent {
    PutContent {
        compression: Compression::None,
        ..PutContent::new(noise(salt, length))
    }
}

/// A store in the case's namespace, with what the cases ask of it.
#[derive(Clone)]
struct Shelf {
    store: Arc<dyn ReferenceStore>,
    patience: Duration,
}

impl Shelf {
    async fn new(cx: &Context) -> Result<Self, Failure> {
        Ok(Self {
            store: cx.references().await?,
            patience: cx.timing().patience,
        })
    }

    /// Puts content; answers its reference.
    async fn put(&self, content: PutContent) -> Result<Reference, Failure> {
        Ok(self.store.put(content).await?.reference)
    }

    /// How many hold the content.
    async fn holders(&self, id: &ReferenceId) -> Result<u64, Failure> {
        Ok(self.store.stat(id).await?.holders)
    }

    /// Whether the content is there.
    async fn has(&self, id: &ReferenceId) -> Result<bool, Failure> {
        match self.store.stat(id).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == statehouse_contracts::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
