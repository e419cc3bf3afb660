//! What is leased to this process and not handed out: kept for a moment, then given back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::groups::Group;
use crate::pop::engine::{Engine, HOLD};
use crate::pop::held::{Content, Held};
use crate::pop::settle::end_after;

/// Of how many messages with an ordering key the errors are remembered.
const REMEMBERED: usize = 1024;

impl Engine {
    /// Makes leases long enough and puts the messages back to be handed out.
    pub(super) async fn renew(
        self: Arc<Self>,
        group: Arc<Group>,
        held: Vec<Held>,
        lease: Duration,
    ) {
        for mut held in held {
            let before = Instant::now();
            let renewed = end_after(
                &self.cluster.client,
                &group,
                &held.place,
                lease + HOLD,
                false,
            );
            // Otherwise its lease runs out.
            if let Ok(handle) = renewed.await {
                held.place.handle = handle;
                held.until = before + lease + HOLD;
                held.since = before;
                self.keep(&group, vec![held]);
            }
        }
    }

    /// Puts what was received into the buffer.
    pub(super) fn keep(self: &Arc<Self>, group: &Arc<Group>, held: Vec<Held>) {
        if held.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        for held in held {
            state.buffer.put(held, group.spec.priorities);
        }
        if !std::mem::replace(&mut state.tidying, true) {
            tokio::spawn(self.clone().tidy());
        }
        drop(state);
        self.news.send_modify(|news| *news += 1);
    }

    /// Gives back what lies here for too long.
    async fn tidy(self: Arc<Self>) {
        loop {
            let oldest = {
                let mut state = self.state.lock();
                let oldest = state.buffer.oldest();
                state.tidying = oldest.is_some();
                oldest
            };
            let Some(oldest) = oldest else { return };
            // sleep: what is taken meanwhile needs nothing
            tokio::time::sleep_until((oldest + HOLD).into()).await;
            let overdue = self.state.lock().buffer.since_before(oldest);
            let group = self.group.lock().clone();
            self.release(&group, overdue).await;
        }
    }

    pub(super) async fn give_back_all(&self, group: &Group) {
        let held = self.state.lock().buffer.drain();
        self.release(group, held).await;
    }

    /// Lets others have messages that were not handed out.
    async fn release(&self, group: &Group, held: Vec<Held>) {
        let client = &self.cluster.client;
        let released = held.iter().map(|held| async move {
            let released = end_after(client, group, &held.place, Duration::ZERO, true).await;
            if let Err(error) = released {
                tracing::debug!(%error, "a message is given back only when its lease ends");
            }
        });
        join_all(released).await;
    }

    /// Remembers the errors of a message that comes again in its place.
    pub(super) fn remember(&self, content: &Content) {
        let errors = content.history.clone().errors();
        let mut state = self.state.lock();
        if state.errors.len() >= REMEMBERED {
            state.errors.clear();
        }
        state.errors.insert(content.id, errors);
    }

    /// What is known of a message's attempts before this one.
    pub(super) fn recall(&self, content: &mut Content) {
        if let Some(errors) = self.state.lock().errors.get(&content.id) {
            content.history.replace(errors.clone());
        }
    }
}
