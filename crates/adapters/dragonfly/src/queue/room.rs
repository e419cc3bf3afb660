//! Waiting for room in full groups.

use std::collections::HashMap;
use std::sync::Arc;

use statehouse_contracts::Result;
use tokio::time::Instant;

use super::Desk;
use super::registry::Group;
use crate::wake::Listener;

/// A message that found a group full, by its place in the batch.
pub(super) type Full = (usize, Arc<Group>);

/// Who waits for room, in any of some groups.
pub(super) struct Listeners {
    heard: HashMap<String, Listener>,
}

impl Listeners {
    pub(super) fn new() -> Self {
        Self {
            heard: HashMap::new(),
        }
    }

    pub(super) async fn listen(&mut self, desk: &Desk, full: &[Full]) -> Result<()> {
        for (_, group) in full {
            if !self.heard.contains_key(&group.id) {
                let listener = desk.session.listen(&group.room_channel()).await?;
                self.heard.insert(group.id.clone(), listener);
            }
        }
        Ok(())
    }

    pub(super) fn mark(&mut self) {
        self.heard.values_mut().for_each(Listener::mark);
    }

    pub(super) async fn wait(&mut self, desk: &Desk, until: Instant) -> Result<()> {
        let waits = self.heard.values_mut();
        let waits = waits.map(|listener| Box::pin(desk.session.wait(listener, until)));
        futures::future::select_all(waits).await.0.map(|_| ())
    }
}
