//! The groups of a namespace as this process knows them, and which of them hear a topic.
//!
//! Each declaration and deletion gives the namespace a new epoch. A script that depends on the
//! groups refuses another epoch; then they are read again.

use std::collections::HashMap;
use std::sync::Arc;

use fred::types::{Key, Value};
use parking_lot::Mutex;
use statehouse_contracts::{
    Error, ErrorKind, Expired, GroupName, GroupSpec, Overflow, Pattern, Result, Topic,
};

use super::{Desk, scripts};
use crate::keys::Keys;
use crate::reply::Row;

/// The parts of a group, in the order in which scripts take their keys after its state.
const PARTS: [&str; 11] = [
    "ready", "leased", "delayed", "expiry", "waiting", "oldest", "heads", "dead", "letters",
    "names", "errors",
];

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    /// Tells it from all others that there ever were under its name.
    pub(super) id: String,
    pub(super) name: GroupName,
    pub(super) spec: GroupSpec,
    /// What scripts are told of the spec.
    pub(super) promise: Value,
    /// The keys of its state and its parts.
    pub(super) keys: Vec<Key>,
    /// How it stands in the registry: its id and its spec.
    pub(super) record: String,
}

impl Group {
    /// Reads how a group stands in the registry.
    pub(super) fn read(keys: &Keys, name: &GroupName, record: String) -> Result<Self> {
        let damaged = || {
            Error::new(
                ErrorKind::Corrupted,
                format!("the stored group {name} cannot be read"),
            )
        };
        let (id, spec) = record.split_once(' ').ok_or_else(damaged)?;
        let spec: GroupSpec =
            serde_json::from_str(spec).map_err(|error| damaged().with_source(error))?;
        Ok(Self {
            promise: promise(&spec).into(),
            keys: keys_of(keys, id),
            id: id.to_owned(),
            name: name.clone(),
            spec,
            record,
        })
    }

    /// How a new group stands in the registry.
    pub(super) fn record(id: &str, spec: &GroupSpec) -> Result<String> {
        let spec = serde_json::to_string(spec)
            .map_err(|error| Error::internal("a group's spec as JSON").with_source(error))?;
        Ok(format!("{id} {spec}"))
    }

    /// The channel that wakes those who wait for messages.
    pub(super) fn ready_channel(&self) -> String {
        format!("{}:ready", self.keys[0].as_str_lossy())
    }

    /// The channel that wakes those who wait for room.
    pub(super) fn room_channel(&self) -> String {
        format!("{}:room", self.keys[0].as_str_lossy())
    }
}

/// The keys of the state and the parts of the group `id`.
pub(super) fn keys_of(keys: &Keys, id: &str) -> Vec<Key> {
    keys_of_state(&keys.of("group", id))
}

/// The same, from the key of the state.
pub(super) fn keys_of_state(state: &str) -> Vec<Key> {
    let parts = PARTS.map(|part| format!("{state}:{part}").into());
    std::iter::once(state.into()).chain(parts).collect()
}

/// What `group_at` in `lua/place.lua` reads.
pub(super) fn promise(spec: &GroupSpec) -> String {
    format!(
        "{} {} {} {} {} {}",
        spec.max_deliveries,
        match spec.expired {
            Expired::Drop => "drop",
            Expired::DeadLetter => "dead",
        },
        spec.max_length.unwrap_or(0),
        match spec.overflow {
            Overflow::Reject => "reject",
            Overflow::DropOldest => "drop",
        },
        u8::from(spec.priorities),
        u8::from(spec.ordering),
    )
}

/// The groups that a topic reaches.
pub(super) type Route = Arc<[Arc<Group>]>;

/// The most topics whose routes are remembered.
const MAX_ROUTES: usize = 16 * 1024;

/// The groups at one epoch.
#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) epoch: Arc<str>,
    names: HashMap<GroupName, Arc<Group>>,
    ids: HashMap<String, Arc<Group>>,
    /// Those whose pattern has no wildcard: what a topic's own name finds.
    exact: HashMap<String, Vec<Arc<Group>>>,
    wild: Vec<Arc<Group>>,
    routes: Mutex<HashMap<Topic, Route>>,
}

impl Registry {
    fn read(keys: &Keys, mut reply: Row) -> Result<Self> {
        let mut registry = Self {
            epoch: reply.text()?.into(),
            ..Self::default()
        };
        while !reply.is_empty() {
            let name = GroupName::new(reply.text()?)?;
            registry.insert(Arc::new(Group::read(keys, &name, reply.text()?)?));
        }
        Ok(registry)
    }

    fn insert(&mut self, group: Arc<Group>) {
        let pattern = &group.spec.pattern;
        if pattern.is_exact() {
            let same = self.exact.entry(pattern.as_str().to_owned()).or_default();
            same.push(Arc::clone(&group));
        } else {
            self.wild.push(Arc::clone(&group));
        }
        self.ids.insert(group.id.clone(), Arc::clone(&group));
        self.names.insert(group.name.clone(), group);
    }

    pub(super) fn named(&self, name: &GroupName) -> Option<&Arc<Group>> {
        self.names.get(name)
    }

    pub(super) fn of_id(&self, id: &str) -> Option<&Arc<Group>> {
        self.ids.get(id)
    }

    /// The promise of the group with this state, as far as it is known: another process may have
    /// declared it a moment ago, or deleted it.
    pub(super) fn promise_of_state(&self, state: &str) -> Value {
        let id = state.rsplit(':').next().unwrap_or_default();
        let known = self.ids.get(id).map(|group| group.promise.clone());
        known.unwrap_or_else(|| promise(&GroupSpec::new(Pattern::ALL)).into())
    }

    /// All groups, by name.
    pub(super) fn all(&self) -> Vec<Arc<Group>> {
        let mut all: Vec<_> = self.names.values().cloned().collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }

    pub(super) fn route(&self, topic: &Topic) -> Route {
        let mut routes = self.routes.lock();
        if let Some(route) = routes.get(topic) {
            return Arc::clone(route);
        }
        let exact = self.exact.get(topic.as_str()).into_iter().flatten();
        let wild = self.wild.iter();
        let wild = wild.filter(|group| group.spec.pattern.matches(topic));
        let route: Route = exact.chain(wild).cloned().collect();
        if routes.len() >= MAX_ROUTES {
            routes.clear();
        }
        routes.insert(topic.clone(), Arc::clone(&route));
        route
    }
}

/// The registry that this process holds of one namespace.
#[derive(Debug, Default)]
pub(super) struct Registries {
    current: Mutex<Option<Arc<Registry>>>,
    reading: tokio::sync::Mutex<()>,
}

impl Registries {
    /// What is known; read when nothing is.
    pub(super) async fn get(&self, desk: &Desk, operation: &'static str) -> Result<Arc<Registry>> {
        let current = self.current.lock().clone();
        match current {
            Some(registry) => Ok(registry),
            None => self.read(desk, operation, None).await,
        }
    }

    /// Another than `stale`; of those who ask at once, one reads it.
    pub(super) async fn after(
        &self,
        desk: &Desk,
        operation: &'static str,
        stale: &Arc<Registry>,
    ) -> Result<Arc<Registry>> {
        self.read(desk, operation, Some(stale)).await
    }

    async fn read(
        &self,
        desk: &Desk,
        operation: &'static str,
        stale: Option<&Arc<Registry>>,
    ) -> Result<Arc<Registry>> {
        let _reading = self.reading.lock().await;
        let current = self.current.lock().clone();
        if let Some(current) = current
            && stale.is_none_or(|stale| !Arc::ptr_eq(stale, &current))
        {
            return Ok(current);
        }
        let keys = ["meta", "groups"].map(|name| desk.session.keys.one(name).into());
        let answer = desk.run(operation, &scripts::REGISTRY, keys.into(), Vec::new());
        let registry = Registry::read(&desk.session.keys, Row::from(answer.await?))?;
        let registry = Arc::new(registry);
        *self.current.lock() = Some(Arc::clone(&registry));
        Ok(registry)
    }
}

#[cfg(test)]
mod tests {
    use statehouse_contracts::Namespace;

    use super::*;
    use crate::keys::Role;

    fn registry(groups: &[(&str, &str)]) -> Registry {
        let keys = Keys::new("sh", &Namespace::new("n").unwrap(), Role::Queue);
        let mut registry = Registry::default();
        for (name, pattern) in groups {
            let spec = GroupSpec::new(Pattern::new(pattern).unwrap());
            let record = Group::record("id", &spec).unwrap();
            let name = GroupName::new(name).unwrap();
            let group = Group::read(&keys, &name, record).unwrap();
            registry.insert(Arc::new(group));
        }
        registry
    }

    #[test]
    fn a_topic_reaches_the_groups_that_match_it() {
        let registry = registry(&[("exact", "a.b"), ("word", "a.*"), ("other", "b.#")]);
        let names = |topic: &str| {
            let route = registry.route(&Topic::new(topic).unwrap());
            let names: Vec<String> = route.iter().map(|group| group.name.to_string()).collect();
            names
        };
        for _ in 0..2 {
            assert_eq!(names("a.b"), ["exact", "word"]);
            assert_eq!(names("b"), ["other"]);
            assert!(names("c").is_empty());
        }
    }

    #[test]
    fn a_group_has_twelve_keys_and_tells_its_promise() {
        let registry = registry(&[("g", "a")]);
        let group = registry.named(&GroupName::new("g").unwrap()).unwrap();
        assert_eq!(group.keys.len(), 12);
        assert_eq!(group.keys[1].as_str_lossy(), "sh:{n}:q:group:id:ready");
        assert_eq!(group.promise.as_str().unwrap(), "4 drop 0 reject 1 1");
        assert_eq!(group.room_channel(), "sh:{n}:q:group:id:room");
    }
}
