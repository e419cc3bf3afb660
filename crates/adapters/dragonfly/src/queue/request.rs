//! What the script that takes messages in is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fred::types::{Key, Value};
use statehouse_contracts::SendOptions;

use super::Desk;
use super::prepare::Prepared;
use super::registry::{Group, Registry, Route};
use crate::keys::Keys;
use crate::time::micros;

/// The keys of what was accepted within the window, which two take in turns.
pub(super) fn accepted_keys(keys: &Keys, window: Duration) -> [Key; 2] {
    let name = window.as_millis().to_string();
    [0, 1].map(|turn| keys.of("accepted", &format!("{name}:{turn}")).into())
}

/// What a script is asked.
pub(super) struct Request {
    pub(super) keys: Vec<Key>,
    pub(super) arguments: Vec<Value>,
    /// How many groups each message reaches.
    pub(super) routes: Vec<usize>,
    pub(super) groups: Vec<Arc<Group>>,
}

impl Request {
    /// Asks for `messages` to be taken in, as `registry` routes them.
    pub(super) fn new(
        desk: &Desk,
        options: SendOptions,
        registry: &Registry,
        messages: &[&Prepared],
    ) -> Self {
        let mut routes = Routes::default();
        let found: Vec<(Route, Arc<str>)> = messages
            .iter()
            .map(|message| routes.of(registry, message))
            .collect();
        let window = desk.session.config().message_window;
        let mut keys = desk.queue.shared_keys();
        keys.extend(accepted_keys(&desk.session.keys, window));
        let mut arguments: Vec<Value> = vec![
            registry.epoch.as_str().into(),
            micros(window).max(1).to_string().into(),
            u8::from(options.require_route).to_string().into(),
            routes.groups.len().to_string().into(),
        ];
        for group in &routes.groups {
            keys.extend_from_slice(&group.keys);
            arguments.push(group.promise.clone());
        }
        for (message, (_, numbers)) in messages.iter().zip(&found) {
            keys.extend(message.schedule.clone());
            arguments.extend([
                format!("{}{numbers}", message.head).into(),
                message.idempotency_key.clone().into(),
                message.remembered.clone().into(),
                message.stored.clone().into(),
            ]);
        }
        Self {
            keys,
            arguments,
            routes: found.iter().map(|(route, _)| route.len()).collect(),
            groups: routes.groups,
        }
    }
}

/// The groups that some messages reach, numbered from 1.
#[derive(Default)]
struct Routes {
    groups: Vec<Arc<Group>>,
    numbers: HashMap<String, usize>,
    /// The last route, which the next message often shares, and its numbers.
    last: Option<(Route, Arc<str>)>,
}

impl Routes {
    fn of(&mut self, registry: &Registry, message: &Prepared) -> (Route, Arc<str>) {
        let route = registry.route(&message.topic);
        if let Some(last) = &self.last
            && Arc::ptr_eq(&last.0, &route)
        {
            return last.clone();
        }
        let numbers: Vec<String> = route
            .iter()
            .map(|group| self.number(group).to_string())
            .collect();
        let found: (Route, Arc<str>) = (route, numbers.join(",").into());
        self.last = Some(found.clone());
        found
    }

    fn number(&mut self, group: &Arc<Group>) -> usize {
        let groups = &mut self.groups;
        *self.numbers.entry(group.id.clone()).or_insert_with(|| {
            groups.push(Arc::clone(group));
            groups.len()
        })
    }
}
