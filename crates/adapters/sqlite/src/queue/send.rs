//! Taking messages in.

use std::sync::Arc;

use rusqlite::OptionalExtension;
use statehouse_contracts::{
    Error, ErrorKind, GroupName, GroupSpec, MessageId, Pattern, Sent, Topic,
};

use super::{
    Count, accepted, broadcast, groups, handover, overflow,
    place::{Held, Mover},
    prepare::Prepared,
    registry::{self, Group, Registry, Route},
    rows, tidy,
};
use crate::{engine::Tx, error::Failure, time::micros};

/// Under which rules messages are taken in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) ns: i64,
    pub(super) require_route: bool,
    /// The dedup window, in microseconds.
    pub(super) window: i64,
}

/// What became of one message.
#[derive(Debug)]
pub(super) enum Admission {
    /// It was accepted, now or before.
    Accepted(Sent),
    /// It is refused for good.
    Refused(Error),
    /// This group has no room; nothing was written.
    Full(Arc<Group>),
}

/// Takes in messages. One that is not accepted has written nothing. After one that is not
/// accepted, those of the same ordering key are not tried: they have no answer.
pub(super) fn take_in<'p>(
    tx: &Tx<'_>,
    rules: Rules,
    messages: impl Iterator<Item = &'p Prepared>,
) -> Result<Vec<Option<Admission>>, Failure> {
    let registry = registry::fresh(tx)?;
    let registry = &mut *registry.borrow_mut();
    let mut held_up = Vec::new();
    let mut answers = Vec::new();
    for message in messages {
        if message.key.is_some_and(|key| held_up.contains(&key)) {
            answers.push(None);
            continue;
        }
        let admission = take_in_one(tx, registry, rules, message)?;
        if !matches!(admission, Admission::Accepted(_)) {
            held_up.extend(message.key);
        }
        answers.push(Some(admission));
    }
    handover::at_end(tx, registry);
    Ok(answers)
}

/// Takes in one message. When it is not accepted, nothing is written.
pub(super) fn take_in_lone(
    tx: &Tx<'_>,
    rules: Rules,
    message: &Prepared,
) -> Result<Admission, Failure> {
    let registry = registry::fresh(tx)?;
    let registry = &mut *registry.borrow_mut();
    let admission = take_in_one(tx, registry, rules, message)?;
    handover::at_end(tx, registry);
    Ok(admission)
}

fn take_in_one(
    tx: &Tx<'_>,
    registry: &mut Registry,
    rules: Rules,
    message: &Prepared,
) -> Result<Admission, Failure> {
    let route = registry.route(rules.ns, &message.original.topic);
    let topic = &message.original.topic;
    let has_room = route.iter().all(|group| group.spec.max_length.is_none());
    let reaches = |name: &str| route.iter().any(|group| group.name.as_str() == name);
    let reaches_all = !topic.is_mailbox() || reaches(topic.as_str());
    if route.is_empty() || !has_room || !reaches_all {
        return take_in_if_room(tx, registry, rules, message, route);
    }
    match accepted::claim(
        tx,
        &mut registry.last_key,
        rules,
        message,
        route.len() as u64,
    )? {
        Some(earlier) => Ok(earlier.answer(message)),
        None => {
            let routed = write(tx, registry, rules, message, &route)?;
            Ok(newly_accepted(message, routed))
        }
    }
}

fn newly_accepted(message: &Prepared, routed: u64) -> Admission {
    Admission::Accepted(Sent {
        id: message.original.id,
        routed: Some(routed),
        duplicate_of: None,
    })
}

/// Takes in a message that may have no room or no group, or whose mailbox may not be there.
fn take_in_if_room(
    tx: &Tx<'_>,
    registry: &mut Registry,
    rules: Rules,
    message: &Prepared,
    mut route: Route,
) -> Result<Admission, Failure> {
    if let Some(earlier) = accepted::find(tx, &mut registry.last_key, rules, message)? {
        return Ok(earlier.answer(message));
    }
    let new_mailbox = message.original.topic.is_mailbox()
        && registry
            .named(rules.ns, &mailbox_name(&message.original.topic)?)
            .is_none();
    if route.is_empty() && !new_mailbox && rules.require_route {
        return Ok(Admission::Refused(Error::not_found(format!(
            "no group hears the topic {}",
            message.original.topic
        ))));
    }
    for group in route.iter() {
        if !overflow::can_take_one(tx, registry, group)? {
            return Ok(Admission::Full(Arc::clone(group)));
        }
    }
    for group in route.iter() {
        overflow::make_room(tx, registry, group)?;
    }
    if new_mailbox {
        declare_mailbox(tx, rules.ns, &message.original.topic)?;
        registry.catch_up(tx)?;
        route = registry.route(rules.ns, &message.original.topic);
    }
    let routed = write(tx, registry, rules, message, &route)?;
    accepted::remember(tx, &mut registry.last_key, rules, message, routed)?;
    Ok(newly_accepted(message, routed))
}

fn mailbox_name(topic: &Topic) -> Result<GroupName, Failure> {
    Ok(GroupName::new(topic.as_str())?)
}

/// Declares the group of a mailbox.
pub(super) fn declare_mailbox(tx: &Tx<'_>, ns: i64, topic: &Topic) -> Result<(), Failure> {
    let spec = GroupSpec::new(Pattern::from(topic.clone()));
    groups::declare(tx, ns, &mailbox_name(topic)?, &spec)?;
    Ok(())
}

const STORE: &str = "INSERT INTO queue_message (sent_at, meta, payload) VALUES (?1, ?2, ?3)";
const SHARE: &str = "INSERT INTO queue_share (seq, holders) VALUES (?1, ?2)";

/// Writes an accepted message; says how many groups it reached.
fn write(
    tx: &Tx<'_>,
    registry: &mut Registry,
    rules: Rules,
    message: &Prepared,
    route: &Route,
) -> Result<u64, Failure> {
    let now = tx.now();
    let due = now.saturating_add(message.delay);
    let expires = message.ttl.map(|ttl| due.saturating_add(ttl));
    if registry.is_heard(rules.ns, &message.original.topic) {
        broadcast::cast(tx, rules.ns, message, due, expires)?;
    }
    if route.is_empty() {
        return Ok(0);
    }
    tx.run(STORE, (now, &message.meta, &message.payload[..]))?;
    let seq = tx.last_insert_rowid();
    let shared = route.len() > 1;
    if shared {
        tx.run(SHARE, (seq, rows(route.len())))?;
    }
    if message.delay > 0 {
        schedule(tx, rules.ns, message, due, seq, route)?;
    }
    for group in route.iter() {
        let spec = &group.spec;
        let held = Held {
            seq,
            rank: if spec.priorities { message.rank } else { 0 },
            due,
            attempts: 0,
            key: message.key.filter(|_| spec.ordering),
            expires,
            shared,
            waits: false,
        };
        let mut mover = Mover {
            tx,
            registry,
            group,
        };
        if !handover::hold(&mut mover, held, &message.original) {
            mover.admit(held)?;
        }
    }
    Ok(route.len() as u64)
}

/// Keeps what is needed to take a delayed message back.
fn schedule(
    tx: &Tx<'_>,
    ns: i64,
    message: &Prepared,
    due: i64,
    seq: i64,
    route: &Route,
) -> Result<(), Failure> {
    let groups: Vec<i64> = route.iter().map(|group| group.id).collect();
    let groups = serde_json::to_string(&groups)
        .map_err(|error| Error::internal(format!("numbers as JSON: {error}")))?;
    tx.prepare_cached(
        "INSERT OR REPLACE INTO queue_scheduled (ns, id, due, seq, groups)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((ns, message.original.id.0.as_bytes(), due, seq, groups))?;
    Ok(())
}

/// Takes back a message that is not due yet.
pub(super) fn cancel(tx: &Tx<'_>, ns: i64, id: MessageId) -> Result<bool, Failure> {
    let now = tx.now();
    let unheard = broadcast::cancel(tx, ns, id)?;
    let scheduled: Option<(i64, i64, String)> = tx
        .prepare_cached("SELECT due, seq, groups FROM queue_scheduled WHERE ns = ?1 AND id = ?2")?
        .query_row((ns, id.0.as_bytes()), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((due, seq, groups)) = scheduled.filter(|(due, ..)| *due > now) else {
        return Ok(unheard);
    };
    let groups: Vec<i64> = serde_json::from_str(&groups)
        .map_err(|error| Error::new(ErrorKind::Corrupted, format!("groups: {error}")))?;
    tx.prepare_cached("DELETE FROM queue_scheduled WHERE ns = ?1 AND id = ?2")?
        .execute((ns, id.0.as_bytes()))?;
    let registry = registry::fresh(tx)?;
    let registry = &mut *registry.borrow_mut();
    let mut taken = unheard;
    for id in groups {
        let Some(group) = registry.group(id) else {
            continue;
        };
        let held = tx
            .prepare_cached(tidy::TAKE_DELAYED)?
            .query_row((id, due, seq), Held::of)
            .optional()?;
        if let Some(held) = held {
            tx.add(Count::Delayed.of(id), -1);
            taken = true;
            Mover {
                tx,
                registry,
                group: &group,
            }
            .finish(held)?;
        }
    }
    handover::at_end(tx, registry);
    Ok(taken)
}

/// The rules of a handle.
pub(super) fn rules(ns: i64, config: &crate::config::Config, require_route: bool) -> Rules {
    Rules {
        ns,
        require_route,
        window: micros(config.message_window),
    }
}
