//! What the service has acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use parking_lot::Mutex;
use statehouse_contracts::{MessageId, StateKey, TaskId, Version};

/// Everything that was acknowledged, and what must not happen.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// The data of each acknowledged version.
    written: HashMap<StateKey, BTreeMap<Version, String>>,
    sent: HashSet<MessageId>,
    delivered: HashSet<MessageId>,
    acked: HashSet<MessageId>,
    pushed: HashSet<TaskId>,
    completed: HashSet<TaskId>,
    /// The versions of each key that arrived as events, in the order they first arrived.
    events: HashMap<String, Vec<Version>>,
    violations: Vec<String>,
}

impl Ledger {
    pub(crate) fn wrote(&self, key: &StateKey, version: Version, data: String) {
        self.0
            .lock()
            .written
            .entry(key.clone())
            .or_default()
            .insert(version, data);
    }

    pub(crate) fn sent(&self, id: MessageId) {
        self.0.lock().sent.insert(id);
    }

    pub(crate) fn delivered(&self, id: MessageId) {
        let mut entries = self.0.lock();
        if entries.acked.contains(&id) {
            entries
                .violations
                .push(format!("message {id} came back after its ack"));
        }
        entries.delivered.insert(id);
    }

    pub(crate) fn acked(&self, id: MessageId) {
        self.0.lock().acked.insert(id);
    }

    pub(crate) fn pushed(&self, id: TaskId) {
        self.0.lock().pushed.insert(id);
    }

    pub(crate) fn claimed(&self, id: &TaskId) {
        let mut entries = self.0.lock();
        if entries.completed.contains(id) {
            entries
                .violations
                .push(format!("task {id} was handed out after its completion"));
        }
    }

    pub(crate) fn completed(&self, id: TaskId) {
        self.0.lock().completed.insert(id);
    }

    pub(crate) fn event(&self, key: String, version: Version) {
        let mut entries = self.0.lock();
        let seen = entries.events.entry(key).or_default();
        if !seen.contains(&version) {
            seen.push(version);
        }
    }

    pub(crate) fn written(&self) -> HashMap<StateKey, BTreeMap<Version, String>> {
        self.0.lock().written.clone()
    }

    /// Acknowledged sends that have not arrived.
    pub(crate) fn missing_messages(&self) -> BTreeSet<MessageId> {
        let entries = self.0.lock();
        entries
            .sent
            .difference(&entries.delivered)
            .copied()
            .collect()
    }

    /// Acknowledged pushes that were not completed.
    pub(crate) fn open_tasks(&self) -> BTreeSet<TaskId> {
        let entries = self.0.lock();
        entries
            .pushed
            .difference(&entries.completed)
            .cloned()
            .collect()
    }

    pub(crate) fn events_of(&self, key: &str) -> Vec<Version> {
        self.0.lock().events.get(key).cloned().unwrap_or_default()
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.0.lock().violations.clone()
    }

    /// Whether there was enough load for the test to mean something.
    pub(crate) fn is_worth_it(&self, rounds: usize) -> bool {
        let entries = self.0.lock();
        let versions: usize = entries.written.values().map(BTreeMap::len).sum();
        [versions, entries.acked.len(), entries.completed.len()]
            .iter()
            .all(|count| *count >= rounds)
    }

    pub(crate) fn summary(&self) -> String {
        let entries = self.0.lock();
        let versions: usize = entries.written.values().map(BTreeMap::len).sum();
        format!(
            "{versions} writes, {} messages, {} tasks acknowledged, none lost",
            entries.sent.len(),
            entries.pushed.len(),
        )
    }
}
