//! Random transactions and prunes, compared with a map.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use statehouse_contracts::{
    ContentType, ErrorKind, Precondition, Prune, RollbackTo, Transaction, Version, Write,
};

use crate::cases::model::agree;
use crate::cases::shelf::{Shelf, append, delete, key, line, put, told, transaction};
use crate::{Context, Outcome, ensure_eq, fail};

const IDS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<(usize, What, When)>),
    Keep(u64),
    Forget,
}

#[derive(Clone, Debug)]
enum What {
    Put(String),
    Append(String),
    Delete,
    Check,
    Back(Option<Version>),
}

/// The precondition, by what the key is at then.
#[derive(Clone, Copy, Debug)]
enum When {
    Always,
    Absent,
    Current,
    Version(Version),
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        4 => "[a-z]{0,3}".prop_map(What::Put),
        4 => "[a-z]{0,3}".prop_map(What::Append),
        3 => Just(What::Delete),
        1 => Just(What::Check),
        3 => prop::option::of(0..8u64).prop_map(What::Back),
    ];
    let when = prop_oneof![
        6 => Just(When::Always),
        1 => Just(When::Absent),
        2 => Just(When::Current),
        1 => (0..6u64).prop_map(When::Version),
    ];
    let writes = prop::collection::vec((0..IDS.len(), what, when), 1..4);
    prop_oneof![
        8 => writes.prop_map(Step::Apply),
        1 => (1..4u64).prop_map(Step::Keep),
        1 => Just(Step::Forget),
    ]
}

/// What a version holds; `None`: a tombstone.
type Content = Option<(String, ContentType)>;

#[derive(Clone, Debug, Default)]
struct Model {
    keys: BTreeMap<usize, BTreeMap<Version, Content>>,
    /// The first version of each key that is known.
    first: BTreeMap<usize, Version>,
    floor: Version,
    log: Vec<(String, usize, Version)>,
}

/// Why the model refuses: any of these kinds is right.
type Refusal = Vec<ErrorKind>;

impl Model {
    fn current(&self, id: usize) -> (Version, Content) {
        let versions = self.keys.get(&id);
        let last = versions.and_then(|versions| versions.last_key_value());
        last.map_or((0, None), |(version, content)| (*version, content.clone()))
    }

    fn holds(&self, id: usize, precondition: Precondition) -> bool {
        let (version, content) = self.current(id);
        match precondition {
            Precondition::None => true,
            Precondition::Absent => content.is_none(),
            Precondition::Version(wanted) => content.is_some() && version == wanted,
        }
    }

    fn read(&self, id: usize, version: Version) -> Result<Content, Refusal> {
        if let Some(content) = self
            .keys
            .get(&id)
            .and_then(|versions| versions.get(&version))
        {
            return Ok(content.clone());
        }
        let (first, current) = (
            self.first.get(&id).copied().unwrap_or(1),
            self.current(id).0,
        );
        Err(match version {
            0 => vec![ErrorKind::NotFound],
            _ if version > current => vec![ErrorKind::NotFound],
            _ if version >= first => vec![ErrorKind::Pruned],
            // Of a life that was forgotten, if it ever was.
            _ => vec![ErrorKind::NotFound, ErrorKind::Pruned],
        })
    }

    /// The content to write next and how the log calls it; `None`: nothing is written.
    fn next(&self, id: usize, what: &What) -> Result<Option<(&'static str, Content)>, Refusal> {
        let (version, content) = self.current(id);
        let deleted = content.is_some().then_some(("delete", None));
        Ok(match what {
            What::Put(text) => Some(("put", Some((text.clone(), ContentType::TEXT)))),
            What::Append(text) => {
                let (old, content_type) = content.unwrap_or_default();
                Some(("append", Some((old + text, content_type))))
            }
            What::Delete => deleted,
            What::Check => None,
            What::Back(to) => match self.read(id, to.unwrap_or(version.saturating_sub(1)))? {
                Some(earlier) => Some(("rollback", Some(earlier))),
                None => deleted,
            },
        })
    }

    /// Applies all writes or none; answers the versions.
    fn apply(&mut self, writes: &[(usize, What, Precondition)]) -> Result<Vec<Version>, Refusal> {
        if writes.iter().any(|(id, _, when)| !self.holds(*id, *when)) {
            return Err(vec![ErrorKind::Conflict]);
        }
        let nexts: Vec<_> = writes
            .iter()
            .map(|(id, what, _)| self.next(*id, what))
            .collect();
        let refusals: Refusal = nexts
            .iter()
            .filter_map(|n| n.as_ref().err())
            .flatten()
            .copied()
            .collect();
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let mut answers = Vec::new();
        for ((id, _, _), next) in writes.iter().zip(nexts.into_iter().flatten()) {
            if let Some((name, content)) = next {
                self.add(*id, name, content);
            }
            answers.push(self.current(*id).0);
        }
        Ok(answers)
    }

    fn add(&mut self, id: usize, name: &str, content: Content) {
        let version = match self.current(id).0 {
            0 => self.floor + 1,
            current => current + 1,
        };
        self.first.entry(id).or_insert(version);
        self.keys.entry(id).or_default().insert(version, content);
        self.log.push((name.to_owned(), id, version));
    }

    fn keep(&mut self, keep: u64) -> (u64, u64) {
        let mut gone = 0;
        for versions in self.keys.values_mut() {
            let all = versions.len();
            let newest: Vec<Version> = versions.keys().rev().take(keep as usize).copied().collect();
            let live = versions
                .iter()
                .rev()
                .find(|(_, c)| c.is_some())
                .map(|(v, _)| *v);
            versions.retain(|version, _| newest.contains(version) || live == Some(*version));
            gone += all - versions.len();
        }
        (gone as u64, 0)
    }

    fn forget(&mut self) -> (u64, u64) {
        let dead: Vec<usize> = self
            .keys
            .keys()
            .copied()
            .filter(|id| self.current(*id).1.is_none())
            .collect();
        let mut gone = 0;
        for id in &dead {
            self.floor = self.floor.max(self.current(*id).0);
            gone += self
                .keys
                .remove(id)
                .map_or(0, |versions| versions.len() as u64);
            self.first.remove(id);
        }
        (gone, dead.len() as u64)
    }

    /// The history of a key in lines, see [`line`].
    fn story(&self, id: usize) -> Vec<String> {
        let versions = self.keys.get(&id).into_iter().flatten().rev();
        versions
            .map(|(version, content)| match content {
                Some((text, _)) => format!("{version} {text}"),
                None => format!("{version} deleted"),
            })
            .collect()
    }
}

fn write(id: usize, what: &What, when: Precondition) -> Write {
    let id = IDS[id];
    let write = match what {
        What::Put(text) => put(id, text),
        What::Append(text) => append(id, text),
        What::Delete => delete(id),
        What::Check => Write::check(key(id), when),
        What::Back(None) => Write::rollback(key(id), RollbackTo::Previous),
        What::Back(Some(version)) => Write::rollback(key(id), RollbackTo::Version(*version)),
    };
    write.when(when)
}

async fn apply(shelf: &Shelf, model: &mut Model, writes: &[(usize, What, When)]) -> Outcome {
    let mut seen = HashSet::new();
    let writes: Vec<(usize, What, Precondition)> = writes
        .iter()
        .filter(|(id, ..)| seen.insert(*id))
        .map(|(id, what, when)| {
            let precondition = match when {
                When::Always => Precondition::None,
                When::Absent => Precondition::Absent,
                When::Current => Precondition::Version(model.current(*id).0),
                When::Version(version) => Precondition::Version(*version),
            };
            (*id, what.clone(), precondition)
        })
        .collect();
    let real: Transaction = transaction(
        writes
            .iter()
            .map(|(id, what, when)| write(*id, what, *when)),
    );
    match (shelf.state.apply(real).await, model.apply(&writes)) {
        (Ok(applied), Ok(versions)) => ensure_eq(applied.versions, versions, "the versions"),
        (Err(error), Err(kinds)) if kinds.contains(&error.kind()) => Ok(()),
        (real, model) => fail(format!("{writes:?}: expected {model:?}, got {real:?}")),
    }
}

async fn forget(shelf: &Shelf, prune: Prune, expected: (u64, u64)) -> Outcome {
    let pruned = shelf.state.prune(prune).await?;
    ensure_eq(
        (pruned.versions, pruned.keys),
        expected,
        "the versions and keys that went",
    )
}

async fn run(shelf: &Shelf, model: &mut Model, step: &Step) -> Outcome {
    match step {
        Step::Apply(writes) => apply(shelf, model, writes).await?,
        Step::Keep(keep) => {
            let prune = Prune {
                keep_last: Some(*keep),
                ..Prune::default()
            };
            forget(shelf, prune, model.keep(*keep)).await?;
        }
        Step::Forget => {
            let prune = Prune {
                tombstones: Some(Duration::ZERO),
                ..Prune::default()
            };
            forget(shelf, prune, model.forget()).await?;
        }
    }
    for (id, name) in IDS.iter().enumerate() {
        let record = shelf.state.get_many(&[key(name)]).await?.pop().flatten();
        let got = record.map(|record| (record.version, record.content_type.clone(), line(&record)));
        let expected = match model.current(id) {
            (version, Some((text, content_type))) => {
                Some((version, content_type, format!("{version} {text}")))
            }
            (_, None) => None,
        };
        ensure_eq(got, expected, &format!("what {name:?} reads as"))?;
    }
    Ok(())
}

/// All histories, and the log with the contents that are kept.
async fn compare(shelf: &Shelf, model: &Model) -> Outcome {
    for (id, name) in IDS.iter().enumerate() {
        let lines: Vec<String> = shelf.history(name).await?.iter().map(line).collect();
        ensure_eq(lines, model.story(id), &format!("the history of {name:?}"))?;
    }
    let changes = shelf.changes(&shelf.state.oldest().await?, 0).await?;
    let log: Vec<String> = changes.iter().map(told).collect();
    let expected: Vec<String> = model
        .log
        .iter()
        .map(|(name, id, version)| format!("{name} {} {version}", IDS[*id]))
        .collect();
    ensure_eq(log, expected, "the changes")?;
    for (change, (_, id, version)) in changes.iter().zip(&model.log) {
        let kept = model.read(*id, *version).ok().flatten().is_some();
        let says = format!("whether {} has content", told(change));
        ensure_eq(change.content.is_some(), kept, &says)?;
    }
    Ok(())
}

pub(super) async fn agrees_with_the_model(cx: Context) -> Outcome {
    let backend = cx.backend().await?;
    agree(step(), |steps| {
        let (cx, backend) = (cx.clone(), backend.clone());
        async move {
            let shelf = Shelf::on(&cx, &*backend, &cx.other_scope()?).await?;
            let mut model = Model::default();
            for step in &steps {
                run(&shelf, &mut model, step).await?;
            }
            compare(&shelf, &model).await
        }
    })
    .await
}
