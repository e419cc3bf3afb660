//! Declaring, finding, pausing and deleting groups.

use std::sync::Arc;

use fred::interfaces::HashesInterface;
use fred::types::{Key, Value};
use statehouse_contracts::{
    Declared, Detail, Error, ErrorKind, GroupName, GroupSpec, GroupStatus, Namespace, Pattern,
    Result, Topic,
};

use super::registry::{Group, Registry, keys_of};
use super::{Desk, random_word, request, scripts};
use crate::keys::Role;
use crate::reply::{Reply, Row, senseless};
use crate::script::Script;
use crate::session::Store;
use crate::time::micros;

/// How many groups one script asks about.
const AT_ONCE: usize = 500;

/// The error of a group that is not there.
pub(super) fn unknown(operation: &'static str, name: &GroupName) -> Error {
    Error::not_found("there is no such group; declare it first")
        .with_operation(operation)
        .with_context("group", name)
}

/// Makes the group, or checks that it is there with the same spec.
pub(crate) async fn declare(desk: &Desk, name: &GroupName, spec: &GroupSpec) -> Result<Declared> {
    let keys = &desk.session.keys;
    let id = random_word();
    let record = Group::record(&id, spec)?;
    let arguments = [
        name.as_str().into(),
        record.as_str().into(),
        random_word().into(),
    ];
    let state = keys_of(keys, &id).swap_remove(0);
    let keys_used = vec![keys.one("meta").into(), keys.one("groups").into(), state];
    let answer = desk.run("declare", &scripts::DECLARE, keys_used, arguments.into());
    let known = answer.await?.into_string().ok_or_else(senseless)?;
    if known == record {
        return Ok(Declared { created: true });
    }
    let known = Group::read(keys, name, known)?;
    match known.spec.difference(spec) {
        None => Ok(Declared { created: false }),
        Some(field) => Err(Error::new(
            ErrorKind::Conflict,
            format!("the group was declared with another {field}"),
        )
        .with_detail(Detail::SpecField(field))
        .with_operation("declare")
        .with_context("group", name)),
    }
}

/// Declares the group of a mailbox.
pub(super) async fn declare_mailbox(desk: &Desk, topic: &Topic) -> Result<()> {
    let name = GroupName::new(topic.as_str())?;
    let spec = GroupSpec::new(Pattern::from(topic.clone()));
    match declare(desk, &name, &spec).await {
        // It was made with another spec meanwhile.
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        declared => declared.map(|_| ()),
    }
}

/// The group of this name, as far as this process or the server knows it.
pub(super) async fn find(
    desk: &Desk,
    operation: &'static str,
    name: &GroupName,
) -> Result<(Arc<Group>, Arc<Registry>)> {
    let registries = &desk.queue.registries;
    let registry = registries.get(desk, operation).await?;
    if let Some(group) = registry.named(name) {
        return Ok((Arc::clone(group), registry));
    }
    let registry = registries.after(desk, operation, &registry).await?;
    match registry.named(name) {
        Some(group) => Ok((Arc::clone(group), Arc::clone(&registry))),
        None => Err(unknown(operation, name)),
    }
}

/// Groups of one name: the one that is there, and when it is gone, another that took its name.
pub(super) struct Named<'d> {
    desk: &'d Desk,
    operation: &'static str,
    registry: Arc<Registry>,
    pub(super) group: Arc<Group>,
}

impl<'d> Named<'d> {
    pub(super) async fn find(
        desk: &'d Desk,
        operation: &'static str,
        name: &GroupName,
    ) -> Result<Self> {
        desk.session.check_open(operation)?;
        let (group, registry) = find(desk, operation, name).await?;
        Ok(Self {
            desk,
            operation,
            registry,
            group,
        })
    }

    /// The next, since this one is gone.
    pub(super) async fn next(&mut self) -> Result<()> {
        let registries = &self.desk.queue.registries;
        let (desk, operation) = (self.desk, self.operation);
        self.registry = registries.after(desk, operation, &self.registry).await?;
        match self.registry.named(&self.group.name) {
            Some(other) if other.id != self.group.id => self.group = Arc::clone(other),
            _ => return Err(unknown(operation, &self.group.name)),
        }
        Ok(())
    }
}

/// Runs a script on the group of this name.
pub(super) async fn on_group(
    desk: &Desk,
    operation: &'static str,
    name: &GroupName,
    script: &'static Script,
    arguments: Vec<Value>,
) -> Result<Row> {
    let mut named = Named::find(desk, operation, name).await?;
    loop {
        let reply = desk.run_on(operation, script, &named.group, arguments.clone());
        if let Some(reply) = reply.await? {
            return Ok(reply);
        }
        named.next().await?;
    }
}

/// The groups, by name.
pub(crate) async fn groups(desk: &Desk) -> Result<Vec<GroupStatus>> {
    let registries = &desk.queue.registries;
    let stale = registries.get(desk, "groups").await?;
    let registry = registries.after(desk, "groups", &stale).await?;
    let mut listed = Vec::new();
    for some in registry.all().chunks(AT_ONCE) {
        let states = some.iter().map(|group| group.keys[0].clone()).collect();
        let answer = desk
            .run("groups", &scripts::PAUSED, states, Vec::new())
            .await?;
        for (group, paused) in some.iter().zip(answer.into_array()) {
            listed.push(GroupStatus {
                group: group.name.clone(),
                spec: group.spec.clone(),
                paused: Reply::from(paused).number::<i64>()? == 1,
            });
        }
    }
    Ok(listed)
}

/// Pauses or resumes.
pub(crate) async fn set_paused(
    desk: &Desk,
    operation: &'static str,
    name: &GroupName,
    paused: bool,
) -> Result<()> {
    let mut named = Named::find(desk, operation, name).await?;
    loop {
        let arguments = vec![u8::from(paused).to_string().into()];
        let state = vec![named.group.keys[0].clone()];
        let done = desk.run(operation, &scripts::PAUSE, state, arguments);
        if Reply::from(done.await?).number::<i64>()? == 1 {
            return Ok(());
        }
        named.next().await?;
    }
}

/// Deletes the group and what it holds; answers whether it was there.
pub(crate) async fn delete(desk: &Desk, name: &GroupName) -> Result<bool> {
    let gone = |error: Error| match error.kind() {
        ErrorKind::NotFound => Ok(false),
        _ => Err(error),
    };
    let mut named = match Named::find(desk, "delete_group", name).await {
        Ok(named) => named,
        Err(error) => return gone(error),
    };
    while !delete_one(desk, &named.group).await? {
        if let Err(error) = named.next().await {
            return gone(error);
        }
    }
    clear_doomed(desk.store(), &desk.session.namespace).await?;
    Ok(true)
}

/// Deletes this group; answers whether it was there.
async fn delete_one(desk: &Desk, group: &Group) -> Result<bool> {
    let keys = &desk.session.keys;
    let shared = ["meta", "groups", "doomed"].map(|name| Key::from(keys.one(name)));
    let keys = shared.into_iter().chain([group.keys[0].clone()]).collect();
    let arguments = [
        group.name.as_str().into(),
        group.id.as_str().into(),
        group.record.as_str().into(),
        random_word().into(),
        group.promise.clone(),
    ];
    let done = desk.run("delete_group", &scripts::DELETE, keys, arguments.into());
    Ok(Reply::from(done.await?).number::<i64>()? == 1)
}

/// Clears away what nobody needs any more: what deleted groups held, and what was accepted long ago.
pub(crate) async fn look_after(store: &Arc<Store>, namespace: &Namespace) -> Result<()> {
    let keys = store.keys(namespace, Role::Queue);
    let window = store.config.message_window;
    let accepted = request::accepted_keys(&keys, window).into();
    let arguments = vec![micros(window).max(1).to_string().into()];
    let client = &store.client;
    client
        .script("send", &scripts::FORGET, accepted, arguments)
        .await?;
    clear_doomed(store, namespace).await
}

/// Clears away what deleted groups held, in pieces, so that others are not held up.
async fn clear_doomed(store: &Arc<Store>, namespace: &Namespace) -> Result<()> {
    let keys = store.keys(namespace, Role::Queue);
    let key = keys.one("doomed");
    let doomed = store
        .client
        .run("delete_group", false, |commands| async move {
            commands.hgetall::<Vec<(String, String)>, _>(key).await
        });
    for (id, promise) in doomed.await? {
        let shared = ["meta", "body", "shares"].map(|name| Key::from(keys.one(name)));
        let mut used: Vec<Key> = shared.into();
        used.extend(keys_of(&keys, &id));
        used.push(keys.one("doomed").into());
        let arguments: Vec<Value> = vec![promise.into(), id.into()];
        loop {
            let (used, arguments) = (used.clone(), arguments.clone());
            let client = &store.client;
            let more = client.script("delete_group", &scripts::CLEAR, used, arguments);
            if Reply::from(more.await?).number::<i64>()? == 0 {
                break;
            }
        }
    }
    Ok(())
}
