//! Who sees a shared value, and what it is called in the store.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use statehouse_contracts::{Error, Glob, Id, Kind, Result, StateKey};

/// Who sees a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SharedScope {
    /// Everybody in the namespace.
    Global,
    /// The agents of this workflow.
    Workflow(String),
    /// The agents of this swarm.
    Swarm(String),
    /// The agents of this debate.
    Debate(String),
    /// The agents of this session.
    Session(String),
    /// Nobody but the agent itself.
    Agent,
}

impl SharedScope {
    pub(super) const KINDS: usize = 6;

    fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            SharedScope::Global => ("global", None),
            SharedScope::Workflow(id) => ("workflow", Some(id)),
            SharedScope::Swarm(id) => ("swarm", Some(id)),
            SharedScope::Debate(id) => ("debate", Some(id)),
            SharedScope::Session(id) => ("session", Some(id)),
            SharedScope::Agent => ("agent", None),
        }
    }

    /// The number of its sort, below [`SharedScope::KINDS`].
    pub(super) fn kind(&self) -> usize {
        match self {
            SharedScope::Global => 0,
            SharedScope::Workflow(_) => 1,
            SharedScope::Swarm(_) => 2,
            SharedScope::Debate(_) => 3,
            SharedScope::Session(_) => 4,
            SharedScope::Agent => 5,
        }
    }

    /// What the ids of its values begin with: `<sort>/<instance>/`. The instance has no `/` of its
    /// own, so no name of an instance or a key reaches into another's.
    pub(super) fn prefix(&self, agent: &str) -> Result<String> {
        let (sort, instance) = self.parts();
        let instance = match (self, instance) {
            (SharedScope::Agent, _) => agent,
            (_, Some("")) => {
                return Err(Error::invalid(format!(
                    "the {sort} is empty; the scope names which {sort} it is"
                )));
            }
            (_, instance) => instance.unwrap_or_default(),
        };
        let instance = instance.replace('%', "%25").replace('/', "%2F");
        Ok(format!("{sort}/{instance}/"))
    }
}

impl fmt::Display for SharedScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (sort, None) => f.write_str(sort),
            (sort, Some(instance)) => write!(f, "{sort}:{instance}"),
        }
    }
}

impl FromStr for SharedScope {
    type Err = Error;

    /// `global`, `agent`, or `workflow:`, `swarm:`, `debate:` or `session:` and which one.
    fn from_str(text: &str) -> Result<Self> {
        let (sort, instance) = match text.split_once(':') {
            Some((sort, instance)) => (sort, instance.to_owned()),
            None => (text, String::new()),
        };
        match (sort, instance.is_empty()) {
            ("global", true) => Ok(SharedScope::Global),
            ("agent", true) => Ok(SharedScope::Agent),
            ("workflow", false) => Ok(SharedScope::Workflow(instance)),
            ("swarm", false) => Ok(SharedScope::Swarm(instance)),
            ("debate", false) => Ok(SharedScope::Debate(instance)),
            ("session", false) => Ok(SharedScope::Session(instance)),
            _ => Err(Error::invalid(format!(
                "{text:?} is no scope; scopes are global, agent, workflow:<id>, swarm:<id>, \
                 debate:<id> and session:<id>"
            ))),
        }
    }
}

/// The name of a shared value, made once and used often: see
/// [`SharedMemory::key`](super::SharedMemory::key).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedKey {
    pub(super) scope: usize,
    pub(super) state: StateKey,
    /// Where the name begins in the id.
    name: usize,
    /// Whose it is, when it is private.
    pub(super) owner: Option<Arc<str>>,
}

impl SharedKey {
    pub(super) fn new(scope: &SharedScope, agent: &Arc<str>, name: &str) -> Result<Self> {
        if name.is_empty() {
            return Err(Error::invalid("key is empty; a shared value has a name"));
        }
        let prefix = scope.prefix(agent)?;
        let id = Id::new(format!("{prefix}{name}"))?;
        Ok(Self {
            scope: scope.kind(),
            state: StateKey::new(shared_kind()?, id),
            name: prefix.len(),
            owner: (*scope == SharedScope::Agent).then(|| Arc::clone(agent)),
        })
    }

    /// The name, without its scope.
    pub fn name(&self) -> &str {
        &self.state.id.as_str()[self.name..]
    }

    /// The state record that it is.
    pub fn record(&self) -> &StateKey {
        &self.state
    }
}

impl fmt::Display for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

/// The kind of the records of shared memory.
pub(super) fn shared_kind() -> Result<Kind> {
    Kind::new("shared")
}

/// `pattern` for names, behind a prefix that is taken as it is.
pub(super) fn glob_under(prefix: &str, pattern: &str) -> Result<Glob> {
    // By itself first, so that an error shows what was given.
    Glob::new(pattern)?;
    let mut whole = String::with_capacity(prefix.len() + pattern.len());
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            whole.push('\\');
        }
        whole.push(c);
    }
    whole.push_str(pattern);
    Glob::new(&whole)
}
