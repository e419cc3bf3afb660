//! Applying a transaction: look at every key, refuse or plan, then write.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use statehouse_contracts::{
    Applied, ChangeOperation, ContentType, Error, MessageDelivery, Operation, Result, RollbackTo,
    StateKey, Tombstone, Transaction, Write,
};

use super::{
    MAX_DATA,
    commit::{self, Commit, NewVersion, Target},
    current::{self, Current},
    op_id::Repeat,
    place, read,
    row::{self, Life},
};
use crate::{
    engine::Tx,
    error::Failure,
    outbox::{self, Sealed},
    queue,
    session::Session,
};

/// A transaction with what can be worked out before the writer's turn.
#[derive(Debug)]
pub(crate) struct Prepared {
    transaction: Transaction,
    fingerprint: Option<[u8; 32]>,
    sealed: Vec<Sealed>,
}

impl Prepared {
    /// # Errors
    /// `InvalidArgument` for one key twice.
    pub(crate) fn new(transaction: Transaction) -> Result<Self> {
        let writes = &transaction.writes;
        if writes.len() > 1 {
            let mut seen = HashSet::with_capacity(writes.len());
            if let Some(twice) = writes.iter().find(|write| !seen.insert(&write.key)) {
                return Err(Error::invalid(format!(
                    "{} stands twice in one transaction; write a key once",
                    twice.key
                )));
            }
        }
        let fingerprint = transaction
            .op_id
            .is_some()
            .then(|| transaction.fingerprint());
        let sealed = match transaction.delivery {
            MessageDelivery::Outbox => transaction.messages.iter().map(Sealed::of).collect(),
            MessageDelivery::Local => Vec::new(),
        };
        Ok(Self {
            transaction,
            fingerprint,
            sealed,
        })
    }

    fn repeat(&self) -> Option<Repeat<'_>> {
        Some(Repeat {
            op_id: self.transaction.op_id.as_ref()?,
            fingerprint: self.fingerprint.as_ref()?,
        })
    }

    fn has_messages(&self) -> bool {
        !self.transaction.messages.is_empty()
    }
}

/// What a write comes to.
#[derive(Debug)]
enum Effect {
    /// Nothing at all.
    Check,
    /// A tombstone, unless the key is absent.
    Delete,
    /// A version with content.
    Content(Content),
}

#[derive(Debug)]
struct Content {
    operation: ChangeOperation,
    data: Bytes,
    continues: Option<(i64, i64)>,
    content_type: ContentType,
    schema: Option<String>,
    expires_at: Option<i64>,
}

#[derive(Debug)]
struct Planned<'t> {
    key: &'t StateKey,
    current: Option<Current>,
    effect: Effect,
}

impl Planned<'_> {
    /// Whether executing it adds a version.
    fn writes(&self, now: i64) -> bool {
        match self.effect {
            Effect::Check => false,
            Effect::Delete => self
                .current
                .is_some_and(|current| current.is_live(now) || current.has_expired(now)),
            Effect::Content(_) => true,
        }
    }
}

/// Applies the transaction, as one job.
pub(crate) fn apply(
    tx: &Tx<'_>,
    session: &Session,
    prepared: &Prepared,
) -> Result<Applied, Failure> {
    let (ns, now) = (session.ns, commit::at(tx));
    let window = session.config().op_window;
    if let Some(repeat) = prepared.repeat()
        && let Some(first) = repeat.find(tx, ns, now, window)?
    {
        return Ok(first);
    }
    let plan = plan(tx, ns, now, &prepared.transaction.writes)?;
    if prepared.transaction.delivery == MessageDelivery::Local && prepared.has_messages() {
        queue::enqueue(tx, ns, session.config(), &prepared.transaction.messages)?;
    }
    let leaves_nothing = !prepared.has_messages()
        && prepared.transaction.op_id.is_none()
        && !plan.iter().any(|planned| planned.writes(now));
    if leaves_nothing {
        return unchanged(tx, ns, now, &plan);
    }
    let op_id = prepared.transaction.op_id.as_ref();
    let mut commit = Commit::begin(tx, ns, session.by, op_id.map(|op_id| op_id.as_str()))?;
    let versions = plan
        .iter()
        .map(|planned| execute(&mut commit, planned))
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    outbox::append(tx, ns, now, &prepared.sealed)?;
    let applied = applied(commit.id(), now, &versions);
    if let Some(repeat) = prepared.repeat() {
        repeat.record(tx, ns, now, &applied)?;
    }
    commit.finish();
    Ok(applied)
}

fn applied(commit: i64, now: i64, versions: &[i64]) -> Applied {
    Applied {
        commit: row::version(commit),
        at: row::timestamp(now),
        versions: versions.iter().copied().map(row::version).collect(),
        replayed: false,
    }
}

/// The answer of a transaction that only looked.
fn unchanged(tx: &Tx<'_>, ns: i64, now: i64, plan: &[Planned<'_>]) -> Result<Applied, Failure> {
    let version = |planned: &Planned<'_>| planned.current.map_or(0, |key| key.version_now(now));
    let versions: Vec<i64> = plan.iter().map(version).collect();
    Ok(applied(tx.counter(place::commits(ns))?, now, &versions))
}

/// Decides what each write does, or that the transaction is refused. Conflicts come before other
/// reasons.
fn plan<'t>(
    tx: &Tx<'_>,
    ns: i64,
    now: i64,
    writes: &'t [Write],
) -> Result<Vec<Planned<'t>>, Failure> {
    let mut conflicts = Vec::new();
    let mut refusal = None;
    let mut plan = Vec::with_capacity(writes.len());
    for (index, write) in writes.iter().enumerate() {
        let current = Current::find(tx, ns, &write.key)?;
        let failed =
            current::conflict(index, &write.key, write.precondition, current.as_ref(), now);
        if let Some(conflict) = failed {
            conflicts.push(conflict);
            continue;
        }
        match effect(tx, now, write, current.as_ref()) {
            Ok(effect) => plan.push(Planned {
                key: &write.key,
                current,
                effect,
            }),
            Err(Failure::Refused(error)) => refusal = refusal.or(Some(error)),
            Err(broken) => return Err(broken),
        }
    }
    if !conflicts.is_empty() {
        return Err(Error::conflicts(conflicts).into());
    }
    refusal.map_or(Ok(plan), |error| Err(error.into()))
}

fn effect(
    tx: &Tx<'_>,
    now: i64,
    write: &Write,
    current: Option<&Current>,
) -> Result<Effect, Failure> {
    let gone = current.is_some_and(|current| current.life != Life::Live);
    let adds = match write.operation {
        Operation::Check => false,
        Operation::Delete => !gone,
        _ => true,
    };
    if let Some(last) = current.filter(|current| adds && !current.has_room(now)) {
        let (key, version) = (&write.key, last.version);
        let message = format!("{key} is at version {version}: no more versions can be counted");
        return Err(Error::invalid(message).into());
    }
    match &write.operation {
        Operation::Check => Ok(Effect::Check),
        Operation::Delete => Ok(Effect::Delete),
        Operation::Put {
            data,
            content_type,
            schema,
            ttl,
        } => Ok(Effect::Content(Content {
            operation: ChangeOperation::Put,
            data: data.clone(),
            continues: None,
            content_type: content_type.clone(),
            schema: schema.clone(),
            expires_at: ttl.map(|ttl| after(now, ttl)),
        })),
        Operation::Append { data } => append(tx, now, write, data, current),
        Operation::Rollback { to } => rollback(tx, now, write, *to, current),
    }
}

fn append(
    tx: &Tx<'_>,
    now: i64,
    write: &Write,
    data: &Bytes,
    current: Option<&Current>,
) -> Result<Effect, Failure> {
    let mut content = Content {
        operation: ChangeOperation::Append,
        data: data.clone(),
        continues: None,
        content_type: ContentType::BYTES,
        schema: None,
        expires_at: None,
    };
    let Some(live) = current.filter(|current| current.is_live(now)) else {
        return Ok(Effect::Content(content));
    };
    let mut select = tx.prepare_cached(
        "SELECT base, size, content_type, schema FROM state_version WHERE pos = ?1",
    )?;
    let (base, size, content_type, schema): (i64, i64, String, _) =
        select.query_row((live.pos,), |row| row.try_into())?;
    let whole = row::version(size) + data.len() as u64;
    if whole > MAX_DATA as u64 {
        let what = format!("the content of {} with what is appended", write.key);
        return Err(Error::beyond_limit(&what, whole, "max_data", MAX_DATA as u64).into());
    }
    content.continues = Some((base, size));
    content.content_type = ContentType::new(content_type)?;
    content.schema = schema;
    content.expires_at = live.expires_at;
    Ok(Effect::Content(content))
}

fn rollback(
    tx: &Tx<'_>,
    now: i64,
    write: &Write,
    to: RollbackTo,
    current: Option<&Current>,
) -> Result<Effect, Failure> {
    let version = match to {
        RollbackTo::Previous => current.map_or(0, |current| current.version_now(now) - 1),
        RollbackTo::Version(version) => row::number(version),
    };
    let record = read::version(tx, &write.key, current, version, now)?;
    if record.tombstone.is_some() {
        return Ok(Effect::Delete);
    }
    Ok(Effect::Content(Content {
        operation: ChangeOperation::Rollback,
        data: record.data,
        continues: None,
        content_type: record.content_type,
        schema: record.schema,
        expires_at: None,
    }))
}

/// Writes what is planned, and answers the key's version.
fn execute(commit: &mut Commit<'_>, planned: &Planned<'_>) -> rusqlite::Result<i64> {
    let now = commit.at();
    let mut current = planned.current;
    if matches!(planned.effect, Effect::Check) {
        return Ok(current.map_or(0, |current| current.version_now(now)));
    }
    if let Some(expired) = current.filter(|current| current.has_expired(now)) {
        current = Some(commit.expire(expired)?);
    }
    let next = match &planned.effect {
        Effect::Content(content) => {
            let (target, version) = match current {
                Some(current) => (Target::Known(current), current.version + 1),
                None => {
                    let first = commit.first_version()?;
                    (Target::New(planned.key, first), first)
                }
            };
            Some(commit.add(target, version, &content.version())?)
        }
        Effect::Check | Effect::Delete => match current {
            Some(live) if live.is_live(now) => {
                let deleted = NewVersion::tombstone(ChangeOperation::Delete, Tombstone::Deleted);
                Some(commit.add(Target::Known(live), live.version + 1, &deleted)?)
            }
            absent => absent,
        },
    };
    Ok(next.map_or(0, |next| next.version))
}

impl Content {
    fn version(&self) -> NewVersion<'_> {
        NewVersion {
            operation: self.operation,
            tombstone: None,
            data: Some(&self.data),
            continues: self.continues,
            content_type: &self.content_type,
            schema: self.schema.as_deref(),
            expires_at: self.expires_at,
        }
    }
}

/// The time `span` after `now`, in nanoseconds; at most the largest.
fn after(now: i64, span: Duration) -> i64 {
    now.saturating_add(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
}
