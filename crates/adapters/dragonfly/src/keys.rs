//! Key names. All keys of a namespace share one hash tag, so that a script may touch any of them
//! on a cluster: `<prefix>:{<namespace>}:<role>:…`.

use statehouse_contracts::Namespace;

/// The roles, each with a prefix of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    State,
    Queue,
    Tasks,
    References,
    Cache,
}

impl Role {
    fn letter(self) -> char {
        match self {
            Role::State => 's',
            Role::Queue => 'q',
            Role::Tasks => 't',
            Role::References => 'r',
            Role::Cache => 'c',
        }
    }
}

/// The keys of one role in one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    stem: String,
}

impl Keys {
    /// Those of `role` in `namespace` of the installation `prefix`.
    pub(crate) fn new(prefix: &str, namespace: &Namespace, role: Role) -> Self {
        let stem = format!("{prefix}:{{{namespace}}}:{}:", role.letter());
        Self { stem }
    }

    /// A key there is one of.
    pub(crate) fn one(&self, name: &str) -> String {
        format!("{}{name}", self.stem)
    }

    /// The key for `id`, which may be any text, among those called `name`.
    pub(crate) fn of(&self, name: &str, id: &str) -> String {
        [&self.stem, name, ":", id].concat()
    }

    /// The key for `id` of `kind` among those called `name`.
    pub(crate) fn of_kind(&self, name: &str, kind: &str, id: &str) -> String {
        [&self.stem, name, ":", kind, "/", id].concat()
    }
}

/// The set of all namespaces that a handle was ever opened for.
pub(crate) fn namespaces(prefix: &str) -> String {
    format!("{prefix}:namespaces")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_the_hash_tag_of_all_its_keys() {
        let namespace = Namespace::new("team-1").unwrap();
        let keys = Keys::new("sh", &namespace, Role::State);
        assert_eq!(keys.one("meta"), "sh:{team-1}:s:meta");
        assert_eq!(
            keys.of("record", "task/{x}"),
            "sh:{team-1}:s:record:task/{x}"
        );
        assert_eq!(namespaces("sh"), "sh:namespaces");
    }
}
