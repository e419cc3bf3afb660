//! The environment: `STATEHOUSE_SERVER__LISTEN` for `server.listen`.

use std::env;
use std::ffi::{OsStr, OsString};

use super::problem::{Origin, Problem};
use super::schema::{Key, Values};
use super::unknown::{Place, place, unknown};
use super::value::Raw;

const PREFIX: &str = "STATEHOUSE_";

/// Variables with the prefix that are no keys: the command line and the tests read them.
const RESERVED: [&str; 7] = [
    "CONFIG",
    "URL",
    "TOKEN",
    "NAMESPACE",
    "TRAJECTORIES",
    "COMMIT",
    "FEATURES",
];

/// The environment of a process, as a value.
#[derive(Clone, Default)]
pub struct Environment(Vec<(OsString, OsString)>);

/// Shows names only: values may be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        Self(env::vars_os().collect())
    }

    /// The text of the variable `name`; `None` when it is not set.
    ///
    /// # Errors
    /// A sentence when it is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&str>, String> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| utf8(name, value)).transpose()
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

fn utf8<'a>(name: &str, value: &'a OsStr) -> Result<&'a str, String> {
    value
        .to_str()
        .ok_or_else(|| format!("the environment variable {name} is not UTF-8 text"))
}

/// Takes every `STATEHOUSE_…` variable into `values`, and notes what is wrong.
pub(super) fn take(
    environment: &Environment,
    keys: &[&Key],
    values: &mut Values,
    problems: &mut Vec<Problem>,
) {
    for (name, value) in &environment.0 {
        let shown = name.to_string_lossy();
        let Some(rest) = shown.strip_prefix(PREFIX) else {
            continue;
        };
        if RESERVED.contains(&rest) || is_service_link(rest) {
            continue;
        }
        let origin = Origin::Environment(shown.clone().into_owned());
        let path = rest.to_lowercase().replace("__", ".");
        if place(keys, &path) != Place::Key {
            let text = unknown(keys, &path, variable);
            problems.push(Problem::at(&origin, &path, text));
            continue;
        }
        match utf8(&shown, value) {
            Ok(text) => values.set(path, Raw::Word(text.to_owned()), origin),
            Err(text) => problems.push(Problem::at(&origin, &path, text)),
        }
    }
}

/// The variable that sets the key `path`.
fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.to_uppercase().replace('.', "__"))
}

/// Whether Kubernetes sets this variable in every pod beside a service named `statehouse`:
/// `SERVICE_HOST`, `SERVICE_PORT…`, `PORT`, `PORT_7717_TCP…`.
fn is_service_link(rest: &str) -> bool {
    let port = rest.strip_prefix("PORT_").unwrap_or_default();
    rest == "PORT"
        || rest == "SERVICE_HOST"
        || rest == "SERVICE_PORT"
        || rest.starts_with("SERVICE_PORT_")
        || port.starts_with(|c: char| c.is_ascii_digit())
}
