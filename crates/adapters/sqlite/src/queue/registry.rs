//! The groups and listeners of a file, kept in memory by its writer thread.
//!
//! Every job begins with [`fresh`], which reads the newest change, unless a job of the same
//! transaction did and nothing has changed since. When it is not the one that the memory stands at,
//! the changes since are applied; when that one is not there any more (it was rolled back, or is
//! too long ago), everything is read again. So the memory always agrees with the transaction,
//! whichever process made the change.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    rc::Rc,
    sync::Arc,
};

use rusqlite::{Connection, OptionalExtension, Row};
use statehouse_contracts::{Error, ErrorKind, GroupName, GroupSpec, Pattern, Topic};

use super::{
    accepted::LastKey,
    handover::{Incoming, Touched},
    slot::Parking,
};
use crate::{engine::Tx, error::Failure};

/// One group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) id: i64,
    pub(super) ns: i64,
    pub(super) name: GroupName,
    pub(super) spec: GroupSpec,
    pub(super) paused: bool,
}

impl Group {
    const COLUMNS: &'static str = "id, ns, name, spec, paused";

    fn of(row: &Row<'_>) -> Result<Self, Failure> {
        let (name, spec): (String, String) = (row.get(2)?, row.get(3)?);
        let damaged = |error: &dyn std::fmt::Display| {
            Error::new(
                ErrorKind::Corrupted,
                format!("the stored group {name:?} cannot be read: {error}"),
            )
        };
        Ok(Self {
            id: row.get(0)?,
            ns: row.get(1)?,
            spec: serde_json::from_str(&spec).map_err(|error| damaged(&error))?,
            paused: row.get(4)?,
            name: GroupName::new(&name).map_err(|error| damaged(&error))?,
        })
    }
}

/// The group of this name.
pub(super) fn find(
    connection: &Connection,
    ns: i64,
    name: &GroupName,
) -> Result<Option<Group>, Failure> {
    let sql = format!(
        "SELECT {} FROM queue_group WHERE ns = ?1 AND name = ?2",
        Group::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((ns, name.as_str()))?;
    rows.next()?.map(Group::of).transpose()
}

/// All groups of a namespace, by name.
pub(super) fn all(connection: &Connection, ns: i64) -> Result<Vec<Group>, Failure> {
    let sql = format!(
        "SELECT {} FROM queue_group WHERE ns = ?1 ORDER BY name",
        Group::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((ns,))?;
    let mut groups = Vec::new();
    while let Some(row) = rows.next()? {
        groups.push(Group::of(row)?);
    }
    Ok(groups)
}

/// The groups that a topic reaches.
pub(super) type Route = Arc<[Arc<Group>]>;

/// The most topics whose routes are remembered, per namespace.
const MAX_ROUTES: usize = 16 * 1024;

/// The changes that are kept for those who are behind.
const KEPT_CHANGES: i64 = 1024;

#[derive(Debug, Default)]
struct Space {
    /// Patterns without wildcards: what a topic's own name finds.
    exact: HashMap<String, Vec<Arc<Group>>>,
    wild: Vec<Arc<Group>>,
    names: HashMap<GroupName, Arc<Group>>,
    routes: HashMap<Topic, Route>,
    listeners: HashMap<i64, Pattern>,
}

impl Space {
    fn insert(&mut self, group: &Arc<Group>) {
        self.routes.clear();
        self.names.insert(group.name.clone(), Arc::clone(group));
        let pattern = group.spec.pattern.as_str();
        if is_wild(pattern) {
            self.wild.push(Arc::clone(group));
        } else {
            let same = self.exact.entry(pattern.to_owned()).or_default();
            same.push(Arc::clone(group));
        }
    }

    fn remove(&mut self, group: &Group) {
        self.routes.clear();
        self.names.remove(&group.name);
        let pattern = group.spec.pattern.as_str();
        if is_wild(pattern) {
            self.wild.retain(|other| other.id != group.id);
        } else if let Some(same) = self.exact.get_mut(pattern) {
            same.retain(|other| other.id != group.id);
            if same.is_empty() {
                self.exact.remove(pattern);
            }
        }
    }

    fn route(&mut self, topic: &Topic) -> Route {
        if let Some(route) = self.routes.get(topic) {
            return Arc::clone(route);
        }
        let exact = self.exact.get(topic.as_str()).into_iter().flatten();
        let wild = self
            .wild
            .iter()
            .filter(|group| group.spec.pattern.matches(topic));
        let route: Route = exact.chain(wild).cloned().collect();
        if self.routes.len() == MAX_ROUTES {
            self.routes.clear();
        }
        self.routes.insert(topic.clone(), Arc::clone(&route));
        route
    }
}

fn is_wild(pattern: &str) -> bool {
    pattern.contains(['*', '#'])
}

/// The memory. One per writer thread, and so one per file and process.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// The newest change it knows: number and stamp.
    at: Option<(i64, i64)>,
    groups: HashMap<i64, Arc<Group>>,
    spaces: HashMap<i64, Space>,
    /// Which namespace each listener is in.
    listeners: HashMap<i64, i64>,
    /// Until when those who wait for a group will sleep.
    pub(super) alarms: HashMap<i64, i64>,
    /// Those who ask for messages.
    pub(super) parking: Parking,
    /// The jobs that the next two are of, see [`Tx::unit`].
    unit: u64,
    /// The groups in which messages were made ready.
    pub(super) touched: Touched,
    /// Messages that do not lie in their places yet.
    pub(super) incoming: Incoming,
    /// What tells that a message's key is not among the older ones.
    pub(super) last_key: LastKey,
}

thread_local! {
    static REGISTRY: Rc<RefCell<Registry>> = Rc::default();
    /// The epoch in which the memory was last compared with the file, until something changes.
    static COMPARED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The memory of this writer thread, in agreement with the transaction.
pub(super) fn fresh(tx: &Tx<'_>) -> Result<Rc<RefCell<Registry>>, Failure> {
    let registry = REGISTRY.with(Rc::clone);
    {
        let mut registry = registry.borrow_mut();
        if registry.unit != tx.unit() {
            registry.begin(tx.unit());
        }
        let epoch = Some(tx.epoch());
        if COMPARED.get() != epoch {
            registry.catch_up(tx)?;
            COMPARED.set(epoch);
        }
    }
    Ok(registry)
}

/// Those who wait for a group will look at `at`, or before.
pub(super) fn lower_alarm(group: i64, at: i64) {
    REGISTRY.with(|registry| {
        if let Some(alarm) = registry.borrow_mut().alarms.get_mut(&group) {
            *alarm = at.min(*alarm);
        }
    });
}

impl Registry {
    /// Begins with other jobs: what those before have left is done, or was taken back.
    fn begin(&mut self, unit: u64) {
        self.unit = unit;
        self.touched.clear();
        self.incoming.clear();
        self.parking.begin();
    }

    /// The group with this number.
    pub(super) fn group(&self, id: i64) -> Option<Arc<Group>> {
        self.groups.get(&id).cloned()
    }

    /// The group of this name.
    pub(super) fn named(&self, ns: i64, name: &GroupName) -> Option<Arc<Group>> {
        self.spaces.get(&ns)?.names.get(name).cloned()
    }

    /// The groups that `topic` reaches.
    pub(super) fn route(&mut self, ns: i64, topic: &Topic) -> Route {
        self.spaces.entry(ns).or_default().route(topic)
    }

    /// Whether a listener hears `topic`.
    pub(super) fn is_heard(&self, ns: i64, topic: &Topic) -> bool {
        self.spaces.get(&ns).is_some_and(|space| {
            let mut patterns = space.listeners.values();
            patterns.any(|pattern| pattern.matches(topic))
        })
    }

    /// Applies the changes that it does not know yet.
    pub(super) fn catch_up(&mut self, tx: &Tx<'_>) -> Result<(), Failure> {
        let newest = tx
            .prepare_cached("SELECT n, stamp FROM queue_change ORDER BY n DESC LIMIT 1")?
            .query_row((), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if newest == self.at {
            return Ok(());
        }
        match self.at {
            Some((n, stamp)) if has_change(tx, n, stamp)? => self.apply_after(tx, n)?,
            _ => self.load(tx)?,
        }
        self.at = newest;
        Ok(())
    }

    fn apply_after(&mut self, tx: &Tx<'_>, n: i64) -> Result<(), Failure> {
        let subjects: Vec<i64> = tx
            .prepare_cached("SELECT DISTINCT subject FROM queue_change WHERE n > ?1")?
            .query_map((n,), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for subject in subjects {
            self.forget(subject);
            if subject < 0 {
                self.read_listeners(tx, "id = ?1", -subject)?;
            } else {
                self.read_groups(tx, "id = ?1", subject)?;
                if !self.groups.contains_key(&subject) {
                    self.alarms.remove(&subject);
                    self.parking.close(subject);
                }
            }
        }
        Ok(())
    }

    fn load(&mut self, tx: &Tx<'_>) -> Result<(), Failure> {
        self.groups.clear();
        self.spaces.clear();
        self.listeners.clear();
        self.read_groups(tx, "id >= ?1", 0)?;
        self.read_listeners(tx, "id >= ?1", 0)
    }

    fn forget(&mut self, subject: i64) {
        if let Some(ns) = self.listeners.remove(&-subject)
            && let Some(space) = self.spaces.get_mut(&ns)
        {
            space.listeners.remove(&-subject);
        }
        if let Some(group) = self.groups.remove(&subject)
            && let Some(space) = self.spaces.get_mut(&group.ns)
        {
            space.remove(&group);
        }
    }

    fn read_groups(&mut self, tx: &Tx<'_>, which: &str, id: i64) -> Result<(), Failure> {
        let sql = format!("SELECT {} FROM queue_group WHERE {which}", Group::COLUMNS);
        let mut statement = tx.prepare_cached(&sql)?;
        let mut rows = statement.query((id,))?;
        while let Some(row) = rows.next()? {
            let group = Arc::new(Group::of(row)?);
            self.spaces.entry(group.ns).or_default().insert(&group);
            self.groups.insert(group.id, group);
        }
        Ok(())
    }

    fn read_listeners(&mut self, tx: &Tx<'_>, which: &str, id: i64) -> Result<(), Failure> {
        let sql = format!("SELECT id, ns, pattern FROM queue_listener WHERE {which}");
        let mut statement = tx.prepare_cached(&sql)?;
        let mut rows = statement.query((id,))?;
        while let Some(row) = rows.next()? {
            let (id, ns, pattern): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let space = self.spaces.entry(ns).or_default();
            space.listeners.insert(id, Pattern::new(pattern)?);
            self.listeners.insert(id, ns);
        }
        Ok(())
    }
}

fn has_change(tx: &Tx<'_>, n: i64, stamp: i64) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT 1 FROM queue_change WHERE n = ?1 AND stamp = ?2")?
        .exists((n, stamp))
}

/// Tells everybody that a group has changed, or with a negative number a listener.
pub(super) fn changed(tx: &Tx<'_>, subject: i64) -> rusqlite::Result<()> {
    COMPARED.set(None);
    tx.prepare_cached("INSERT INTO queue_change (stamp, subject) VALUES (?1, ?2)")?
        .execute((random(), subject))?;
    tx.prepare_cached("DELETE FROM queue_change WHERE n <= ?1")?
        .execute((tx.last_insert_rowid() - KEPT_CHANGES,))?;
    Ok(())
}

/// A number that nobody had before.
pub(super) fn random() -> i64 {
    RandomState::new().hash_one(0).cast_signed()
}
