//! The records against a model that is too simple to be wrong: every version of every key, whole.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use statehouse_contracts::{
    ChangeData, ChangeOperation, ContentType, ErrorKind, Operation, Precondition, Principal, Prune,
    RollbackTo, StateKey, Transaction, Trim, Version, Write,
};

use crate::config::Config;
use crate::state::entry::Draft;
use crate::state::read_changes;
use crate::state::records::{Author, Records};
use crate::time::Time;

#[derive(Clone, Debug)]
enum Act {
    Put(Vec<u8>, Option<u64>),
    Append(Vec<u8>),
    Delete,
    Check,
    Rollback(RollbackTo),
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<(u8, Act, Precondition)>),
    Wait(u64),
    Prune(u64),
    Forget,
    Trim(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..4);
    let to = prop_oneof![
        Just(RollbackTo::Previous),
        (0..6_u64).prop_map(RollbackTo::Version)
    ];
    let act = prop_oneof![
        4 => (bytes(), prop::option::of(1..30_u64)).prop_map(|(data, ttl)| Act::Put(data, ttl)),
        4 => bytes().prop_map(Act::Append),
        2 => Just(Act::Delete),
        1 => Just(Act::Check),
        2 => to.prop_map(Act::Rollback),
    ];
    let precondition = prop_oneof![
        5 => Just(Precondition::None),
        1 => Just(Precondition::Absent),
        1 => (1..6_u64).prop_map(Precondition::Version),
    ];
    let writes = prop::collection::vec((0..3_u8, act, precondition), 1..3);
    let step = prop_oneof![
        10 => writes.prop_map(Step::Apply),
        3 => (1..20_u64).prop_map(Step::Wait),
        1 => (1..4_u64).prop_map(Step::Prune),
        1 => Just(Step::Forget),
        1 => (0..9_u64).prop_map(Step::Trim),
    ];
    prop::collection::vec(step, 1..60)
}

/// One version: its content, or nothing of a tombstone; and when it expires.
#[derive(Clone, Debug, PartialEq)]
struct Whole {
    data: Option<Vec<u8>>,
    expires: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Model {
    now: u64,
    floor: Version,
    keys: BTreeMap<u8, BTreeMap<Version, Whole>>,
    /// The first version of each key.
    first: BTreeMap<u8, Version>,
    pruned: BTreeMap<u8, Vec<Version>>,
}

type Current = (Version, Option<Whole>);

impl Model {
    fn current(&self, key: u8) -> Current {
        let last = self
            .keys
            .get(&key)
            .and_then(|versions| versions.last_key_value());
        last.map_or((0, None), |(version, whole)| {
            (
                *version,
                Some(whole.clone()).filter(|whole| whole.data.is_some()),
            )
        })
    }

    fn write(&mut self, key: u8, data: Option<Vec<u8>>, expires: Option<u64>) -> Version {
        let (current, _) = self.current(key);
        let version = if current == 0 {
            self.floor + 1
        } else {
            current + 1
        };
        self.first.entry(key).or_insert(version);
        self.keys
            .entry(key)
            .or_default()
            .insert(version, Whole { data, expires });
        version
    }

    fn advance(&mut self, by: u64) {
        self.now += by;
        for key in 0..3 {
            let (_, live) = self.current(key);
            let due = live.and_then(|whole| whole.expires);
            if due.is_some_and(|due| due <= self.now) {
                self.write(key, None, None);
            }
        }
    }

    fn act(&mut self, key: u8, act: &Act) -> Result<Version, ErrorKind> {
        let (version, live) = self.current(key);
        match act {
            Act::Put(data, ttl) => {
                Ok(self.write(key, Some(data.clone()), ttl.map(|ttl| self.now + ttl)))
            }
            Act::Append(data) => {
                let old = live.unwrap_or(Whole {
                    data: None,
                    expires: None,
                });
                let whole = [old.data.unwrap_or_default(), data.clone()].concat();
                Ok(self.write(key, Some(whole), old.expires))
            }
            Act::Delete if live.is_some() => Ok(self.write(key, None, None)),
            Act::Delete | Act::Check => Ok(version),
            Act::Rollback(to) => {
                let wanted = match to {
                    RollbackTo::Previous => version.saturating_sub(1),
                    RollbackTo::Version(wanted) => *wanted,
                };
                let target = self.read(key, wanted)?;
                match target.data {
                    Some(data) => Ok(self.write(key, Some(data), None)),
                    None if live.is_some() => Ok(self.write(key, None, None)),
                    None => Ok(version),
                }
            }
        }
    }

    fn read(&self, key: u8, version: Version) -> Result<Whole, ErrorKind> {
        if let Some(whole) = self
            .keys
            .get(&key)
            .and_then(|versions| versions.get(&version))
        {
            return Ok(whole.clone());
        }
        let pruned = self
            .pruned
            .get(&key)
            .is_some_and(|pruned| pruned.contains(&version));
        Err(if pruned {
            ErrorKind::Pruned
        } else {
            ErrorKind::NotFound
        })
    }

    fn apply(&mut self, writes: &[(u8, Act, Precondition)]) -> Result<Vec<Version>, ErrorKind> {
        if writes.len() == 2 && writes[0].0 == writes[1].0 {
            return Err(ErrorKind::InvalidArgument);
        }
        let holds = |(key, _, precondition): &(u8, Act, Precondition)| {
            let (version, live) = self.current(*key);
            match precondition {
                Precondition::None => true,
                Precondition::Absent => live.is_none(),
                Precondition::Version(wanted) => live.is_some() && version == *wanted,
            }
        };
        if !writes.iter().all(holds) {
            return Err(ErrorKind::Conflict);
        }
        let mut tried = self.clone();
        let versions: Result<Vec<Version>, ErrorKind> = writes
            .iter()
            .map(|(key, act, _)| tried.act(*key, act))
            .collect();
        if versions.is_ok() {
            *self = tried;
        }
        versions
    }

    fn prune(&mut self, keep: u64) {
        for (key, versions) in &mut self.keys {
            let last = versions.last_key_value().map_or(0, |(version, _)| *version);
            let live = versions
                .iter()
                .rev()
                .find(|(_, whole)| whole.data.is_some());
            let live = live.map_or(0, |(version, _)| *version);
            let kept: Vec<Version> = versions.keys().rev().take(keep as usize).copied().collect();
            let pruned = self.pruned.entry(*key).or_default();
            versions.retain(|version, _| {
                let keep = kept.contains(version) || *version == last || *version == live;
                if !keep {
                    pruned.push(*version);
                }
                keep
            });
        }
    }

    fn forget(&mut self) {
        for key in 0..3 {
            let (version, live) = self.current(key);
            if live.is_none() && version > 0 {
                self.keys.remove(&key);
                self.first.remove(&key);
                self.pruned.remove(&key);
                self.floor = self.floor.max(version);
            }
        }
    }
}

fn time(at: u64) -> Time {
    Time::from_nanos(at as i64)
}

fn state_key(key: u8) -> StateKey {
    StateKey::parse("task", &key.to_string()).unwrap()
}

fn write((key, act, precondition): &(u8, Act, Precondition)) -> Write {
    let operation = match act {
        Act::Put(data, ttl) => Operation::Put {
            data: data.clone().into(),
            content_type: ContentType::BYTES,
            schema: None,
            ttl: ttl.map(Duration::from_nanos),
        },
        Act::Append(data) => Operation::Append {
            data: Bytes::copy_from_slice(data),
        },
        Act::Delete => Operation::Delete,
        Act::Check => Operation::Check,
        Act::Rollback(to) => Operation::Rollback { to: *to },
    };
    Write {
        key: state_key(*key),
        operation,
        precondition: *precondition,
    }
}

/// A copy of the records that is fed by the change log alone.
#[derive(Default)]
struct Fed {
    keys: BTreeMap<StateKey, (Version, Option<Vec<u8>>)>,
}

impl Fed {
    /// Reads all changes after `after`; answers the end.
    fn feed(
        &mut self,
        records: &Records,
        after: statehouse_contracts::Cursor,
    ) -> statehouse_contracts::Cursor {
        let mut next = after;
        loop {
            let page = read_changes(records, &next, 3).unwrap();
            if page.changes.is_empty() {
                return next;
            }
            next = page.next;
            for change in page.changes {
                let old = self.keys.get(&change.key).cloned().unwrap_or_default();
                assert!(change.version > old.0, "{change:?}");
                let gone = matches!(
                    change.operation,
                    ChangeOperation::Delete | ChangeOperation::Expire
                );
                let data = match change.content.map(|content| content.data) {
                    Some(ChangeData::Whole(data)) => Some(data.to_vec()),
                    Some(ChangeData::Appended(data)) => {
                        Some([old.1.unwrap_or_default(), data.to_vec()].concat())
                    }
                    None => None,
                };
                assert_eq!(data.is_none(), gone);
                self.keys.insert(change.key, (change.version, data));
            }
        }
    }
}

fn check(records: &Records, model: &Model) {
    for key in 0..3 {
        let id = state_key(key);
        let (_, live) = model.current(key);
        let data = records.live(&id).map(|live| live.body.read().to_vec());
        assert_eq!(data, live.and_then(|live| live.data));
        for version in 0..40 {
            let read = match records.entry(&id) {
                None => Err(ErrorKind::NotFound),
                Some(entry) => entry.version(&id, version).map_err(|error| error.kind()),
            };
            let read = read.map(|stored| Whole {
                data: stored.is_live().then(|| stored.body.read().to_vec()),
                expires: stored.expiry().map(|due| due.nanos() as u64),
            });
            assert_eq!(read, model.read(key, version), "{id} at {version}");
        }
        let history: Vec<Version> = records
            .entry(&id)
            .into_iter()
            .flat_map(|entry| entry.history(Version::MAX))
            .map(|stored| stored.draft(id.clone()))
            .map(Draft::without_data)
            .map(|record| record.version)
            .collect();
        let kept = model
            .keys
            .get(&key)
            .into_iter()
            .flat_map(|versions| versions.keys());
        let mut expected: Vec<Version> = kept.copied().collect();
        expected.reverse();
        assert_eq!(history, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn it_does_what_the_model_does(steps in steps()) {
        let mut records = Records::new(&Config::default());
        let mut model = Model::default();
        let mut fed = Fed::default();
        let mut cursor = records.log.head();
        let by = Principal::new("p").unwrap();
        for step in steps {
            let now = time(model.now);
            match step {
                Step::Apply(writes) => {
                    let transaction = Transaction {
                        writes: writes.iter().map(write).collect(),
                        ..Transaction::default()
                    };
                    let author = Author { by: &by, now };
                    let applied = records.apply(transaction, [0; 32], author, |_| Ok(()));
                    let versions = applied.map(|a| a.versions).map_err(|error| error.kind());
                    prop_assert_eq!(versions, model.apply(&writes));
                }
                Step::Wait(by) => {
                    model.advance(by);
                    records.advance(time(model.now));
                }
                Step::Prune(keep) => {
                    // Followers that lag read what is kept, so this one reads first.
                    cursor = fed.feed(&records, cursor);
                    let prune = Prune { keep_last: Some(keep), ..Prune::default() };
                    records.prune_step(&prune, None, now);
                    model.prune(keep);
                }
                Step::Forget => {
                    cursor = fed.feed(&records, cursor);
                    let prune = Prune { tombstones: Some(Duration::ZERO), ..Prune::default() };
                    records.prune_step(&prune, None, now);
                    model.forget();
                }
                Step::Trim(keep) => {
                    cursor = fed.feed(&records, cursor);
                    records.log.trim(Trim { keep_last: Some(keep), max_age: None }, now);
                }
            }
            check(&records, &model);
        }
        fed.feed(&records, cursor);
        for key in 0..3 {
            let id = state_key(key);
            let data = fed.keys.get(&id).and_then(|(_, data)| data.clone());
            prop_assert_eq!(data, model.current(key).1.and_then(|live| live.data));
        }
    }
}
