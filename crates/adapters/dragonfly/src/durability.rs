//! What the server is, and what it keeps through a crash: asked, not assumed.

use std::collections::HashMap;

use fred::interfaces::{ClientLike, ConfigInterface};
use fred::types::InfoKind;
use statehouse_contracts::{Durability, Result};

use crate::client::Client;

/// What the server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Its name and version, such as `Redis 7.0.15`.
    pub(crate) name: String,
    pub(crate) durability: Durability,
    /// What decides the durability, for people.
    pub(crate) persistence: String,
}

/// The settings that decide what survives: of the append-only file, and of snapshots.
const SETTINGS: [&str; 2] = ["*append*", "save"];

impl Server {
    /// Asks the server.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be reached.
    pub(crate) async fn ask(client: &Client) -> Result<Self> {
        let info = client.run("info", false, |commands| async move {
            let server: String = commands.info(Some(InfoKind::Server)).await?;
            let persistence: String = commands.info(Some(InfoKind::Persistence)).await?;
            Ok(format!("{server}\n{persistence}"))
        });
        let info = fields(&info.await?);
        let mut settings = HashMap::new();
        for pattern in SETTINGS {
            settings.extend(settings_of(client, pattern).await);
        }
        Ok(Self::of(&info, &settings))
    }

    fn of(info: &HashMap<String, String>, settings: &HashMap<String, String>) -> Self {
        let field = |name: &str| info.get(name).map(String::as_str);
        let (name, snapshots_only) = match (field("dragonfly_version"), field("valkey_version")) {
            (Some(version), _) => (
                format!("Dragonfly {}", version.trim_start_matches("df-v")),
                true,
            ),
            (_, Some(version)) => (format!("Valkey {version}"), false),
            _ => (
                format!("Redis {}", field("redis_version").unwrap_or("unknown")),
                false,
            ),
        };
        let (durability, persistence) = if snapshots_only {
            (
                Durability::NONE,
                "snapshots: a crash takes what came after the last one".to_owned(),
            )
        } else {
            persistence(info, settings)
        };
        Self {
            name,
            durability,
            persistence,
        }
    }

    /// What an operator should know.
    pub(crate) fn facts(&self) -> Vec<(String, String)> {
        vec![("persistence".to_owned(), self.persistence.clone())]
    }
}

/// What a server with an append-only file keeps.
fn persistence(
    info: &HashMap<String, String>,
    settings: &HashMap<String, String>,
) -> (Durability, String) {
    let setting = |name: &str| settings.get(name).map(String::as_str);
    let appends = match setting("appendonly") {
        Some(value) => value == "yes",
        None => info.get("aof_enabled").is_some_and(|value| value == "1"),
    };
    if !appends {
        let why = match setting("save") {
            Some("") => "none (appendonly no, no snapshots): a crash takes everything",
            _ => "snapshots (appendonly no): a crash takes what came after the last one",
        };
        return (Durability::NONE, why.to_owned());
    }
    let (durability, why) = match (setting("appendfsync"), setting("no-appendfsync-on-rewrite")) {
        (Some("always"), Some("no")) => (
            Durability::DISK,
            "appendfsync always: on the disk when accepted",
        ),
        (Some("always"), _) => (
            Durability::PROCESS,
            "appendfsync always, but not while the file is rewritten: a loss of power then may \
             take the last accepted operations",
        ),
        (Some("no"), _) => (
            Durability::PROCESS,
            "appendfsync no: a loss of power may take the last accepted operations",
        ),
        // A write may be held back in the server's memory while a sync of the disk is under way.
        (Some(other), _) => {
            let why = format!("appendfsync {other}: a crash may take the last 2 seconds");
            return (Durability::NONE, why);
        }
        (None, _) => (
            Durability::NONE,
            "appendonly yes, but CONFIG GET is refused: how it syncs is not known",
        ),
    };
    (durability, why.to_owned())
}

/// The settings of this pattern; none when the server does not tell.
async fn settings_of(client: &Client, pattern: &'static str) -> HashMap<String, String> {
    let answer = client.run("info", false, |commands| async move {
        commands.config_get(pattern).await
    });
    answer.await.unwrap_or_default()
}

/// The fields of an answer to INFO.
fn fields(info: &str) -> HashMap<String, String> {
    info.lines()
        .filter_map(|line| line.trim().split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What INFO says, what CONFIG GET says; the server's name, its durability, and a part of what
    /// is told of it.
    type Row = (
        &'static str,
        Vec<(&'static str, &'static str)>,
        &'static str,
        Durability,
        &'static str,
    );

    fn table() -> [Row; 8] {
        let redis = "redis_version:7.0.15\r\naof_enabled:1";
        let valkey = "redis_version:7.2.4\nserver_name:valkey\nvalkey_version:8.1.1\naof_enabled:1";
        let dragonfly = "redis_version:7.4.0\ndragonfly_version:df-v1.31.0\n";
        let on = |sync| {
            vec![
                ("appendonly", "yes"),
                ("appendfsync", sync),
                ("no-appendfsync-on-rewrite", "no"),
            ]
        };
        let rewrite = vec![
            ("appendonly", "yes"),
            ("appendfsync", "always"),
            ("no-appendfsync-on-rewrite", "yes"),
        ];
        [
            (
                redis,
                on("always"),
                "Redis 7.0.15",
                Durability::DISK,
                "on the disk",
            ),
            (
                redis,
                rewrite,
                "Redis 7.0.15",
                Durability::PROCESS,
                "rewritten",
            ),
            (
                valkey,
                on("no"),
                "Valkey 8.1.1",
                Durability::PROCESS,
                "loss of power",
            ),
            (
                valkey,
                on("everysec"),
                "Valkey 8.1.1",
                Durability::NONE,
                "2 seconds",
            ),
            (
                redis,
                vec![],
                "Redis 7.0.15",
                Durability::NONE,
                "CONFIG GET is refused",
            ),
            (
                redis,
                vec![("appendonly", "no"), ("save", "3600 1")],
                "Redis 7.0.15",
                Durability::NONE,
                "snapshots",
            ),
            (
                redis,
                vec![("appendonly", "no"), ("save", "")],
                "Redis 7.0.15",
                Durability::NONE,
                "everything",
            ),
            (
                dragonfly,
                vec![],
                "Dragonfly 1.31.0",
                Durability::NONE,
                "snapshots",
            ),
        ]
    }

    #[test]
    fn durability_follows_the_settings() {
        for (info, settings, name, durability, says) in table() {
            let settings = settings
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
            let server = Server::of(&fields(info), &settings.collect());
            assert_eq!(
                (server.name.as_str(), server.durability),
                (name, durability)
            );
            assert!(server.persistence.contains(says), "{server:?}");
        }
    }
}
