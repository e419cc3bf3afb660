//! What the script that takes messages in is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::types::{Key, Value};
use statehouse_contracts::{Result, SendOptions};

use super::prepare::Prepared;
use super::registry::{Group, Registry, Route};
use super::{Desk, scripts};
use crate::keys::Keys;
use crate::reply::Row;
use crate::rounds::Call;
use crate::script::Script;
use crate::time::micros;

/// The keys of what was accepted within the window, which two take in turns.
pub(super) fn accepted_keys(keys: &Keys, window: Duration) -> [Key; 2] {
    let name = window.as_millis().to_string();
    [0, 1].map(|turn| keys.of("accepted", &format!("{name}:{turn}")).into())
}

/// What a script is asked.
pub(super) struct Request {
    script: &'static Script,
    pub(super) keys: Vec<Key>,
    pub(super) arguments: Vec<Value>,
    /// How many groups each message reaches.
    pub(super) routes: Vec<usize>,
    pub(super) groups: Vec<Arc<Group>>,
}

impl Request {
    /// Asks for `messages` to be taken in, as `registry` routes them: as one batch, or `apart`, so
    /// that none waits for another of its ordering key.
    pub(super) fn new(
        desk: &Desk,
        options: SendOptions,
        registry: &Registry,
        messages: &[&Prepared],
        apart: bool,
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
            Value::from(&*registry.epoch),
            micros(window).max(1).to_string().into(),
            format!(
                "{}{}",
                if options.require_route { "r" } else { "" },
                if apart { "a" } else { "" }
            )
            .into(),
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
                message.idempotency_key().into(),
                message.remembered().into(),
                message.stored.clone().into(),
            ]);
        }
        Self {
            script: &scripts::SEND,
            keys,
            arguments,
            routes: found.iter().map(|(route, _)| route.len()).collect(),
            groups: routes.groups,
        }
    }

    /// Asks the same of messages that are all plain, as [`is_plain`] tells.
    pub(super) fn plain(
        desk: &Desk,
        options: SendOptions,
        registry: &Registry,
        messages: &[&Prepared],
    ) -> Self {
        let window = desk.session.config().message_window;
        let mut arguments: Vec<Value> = Vec::with_capacity(3 + 3 * messages.len());
        arguments.extend([
            Value::from(&*registry.epoch),
            micros(window).max(1).to_string().into(),
            Value::from_static_str(if options.require_route { "r" } else { "" }),
        ]);
        let (mut routes, mut lengths) = (Routes::default(), Vec::with_capacity(messages.len()));
        for message in messages {
            let (route, head) = routes.ranked(registry, message);
            lengths.push(route.len());
            arguments.extend([
                head,
                message.known_by().into(),
                message.stored.clone().into(),
            ]);
        }
        let mut keys = desk.queue.shared_keys();
        keys.extend(accepted_keys(&desk.session.keys, window));
        for group in &routes.groups {
            keys.extend_from_slice(&group.keys[..2]);
        }
        Self {
            script: &scripts::SEND_PLAIN,
            keys,
            arguments,
            routes: lengths,
            groups: routes.groups,
        }
    }
}

/// Whether a message goes straight to what is ready, in groups that all have room without end.
pub(super) fn is_plain(registry: &Registry, message: &Prepared) -> bool {
    let endless = |group: &Arc<Group>| group.spec.max_length.is_none();
    message.is_plain && registry.route(&message.topic).iter().all(endless)
}

/// What became of messages.
pub(super) struct Took {
    /// The answer to each, and how many groups it reaches.
    pub(super) answers: Vec<(Bytes, usize)>,
    /// The groups that answers name by number, from 1.
    pub(super) groups: Arc<[Arc<Group>]>,
}

impl Request {
    /// Sends them; `None` when the groups are not those of the server any more.
    pub(super) async fn send(self, desk: &Desk) -> Result<Option<Took>> {
        let client = &desk.store().client;
        let answer = client.script("send", self.script, self.keys, self.arguments);
        let mut reply = Row::from(answer.await?);
        let mut answers = Vec::with_capacity(self.routes.len());
        for routed in self.routes {
            let answer = reply.bytes()?;
            if answer.first() == Some(&b'S') {
                return Ok(None);
            }
            answers.push((answer, routed));
        }
        Ok(Some(Took {
            answers,
            groups: self.groups.into(),
        }))
    }
}

/// A message that is sent alone, and travels with others that are.
pub(super) struct Alone {
    pub(super) desk: Desk,
    pub(super) registry: Arc<Registry>,
    pub(super) message: Arc<Prepared>,
    pub(super) options: SendOptions,
    /// Whether it needs the least of taking in.
    pub(super) is_plain: bool,
}

impl Call for Alone {
    /// Whether a route is required, whether all are plain, and the epoch of the groups.
    type Lane = (bool, bool, Arc<str>);
    type Answer = Option<Took>;

    const MOST: usize = 1 << 20;

    fn weight(&self) -> usize {
        /// What one costs beside its bytes.
        const EACH: usize = 4 << 10;
        self.message.stored.len() + EACH
    }

    async fn make(calls: Vec<Self>) -> Result<Vec<Option<Took>>> {
        let Some(first) = calls.first() else {
            return Ok(Vec::new());
        };
        let messages: Vec<&Prepared> = calls.iter().map(|call| &*call.message).collect();
        let (desk, options, registry) = (&first.desk, first.options, &first.registry);
        let request = if first.is_plain {
            Request::plain(desk, options, registry, &messages)
        } else {
            Request::new(desk, options, registry, &messages, true)
        };
        let Some(took) = request.send(&first.desk).await? else {
            return Ok(calls.iter().map(|_| None).collect());
        };
        let one = |answer| {
            Some(Took {
                answers: vec![answer],
                groups: Arc::clone(&took.groups),
            })
        };
        Ok(took.answers.into_iter().map(one).collect())
    }
}

/// The groups that some messages reach, numbered from 1.
#[derive(Default)]
struct Routes {
    groups: Vec<Arc<Group>>,
    numbers: HashMap<String, usize>,
    /// The last route, which the next message often shares, and its numbers.
    last: Option<(Route, Arc<str>)>,
    /// The same with the rank, and what a script is told of them.
    last_ranked: Option<(Route, u8, Value)>,
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

    /// The route of a message, and what a script is told of it: each group's number, and the
    /// message's rank there.
    fn ranked(&mut self, registry: &Registry, message: &Prepared) -> (Route, Value) {
        let (route, rank) = (registry.route(&message.topic), message.rank);
        if let Some((last, of, told)) = &self.last_ranked
            && Arc::ptr_eq(last, &route)
            && *of == rank
        {
            return (route, told.clone());
        }
        let each = |group: &Arc<Group>| {
            let rank = if group.spec.priorities { rank } else { 0 };
            format!("{}:{rank}", self.number(group))
        };
        let told: Vec<String> = route.iter().map(each).collect();
        let told = Value::from(told.join(","));
        self.last_ranked = Some((Arc::clone(&route), rank, told.clone()));
        (route, told)
    }

    fn number(&mut self, group: &Arc<Group>) -> usize {
        let groups = &mut self.groups;
        *self.numbers.entry(group.id.clone()).or_insert_with(|| {
            groups.push(Arc::clone(group));
            groups.len()
        })
    }
}
