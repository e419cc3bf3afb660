//! The table of services, `services.toml`.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use serde::Deserialize;
use statehouse_contracts::{Error, Result};

/// A server that tests run on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Service {
    name: String,
    adapter: String,
    image: String,
    url: String,
    ports: BTreeMap<String, Port>,
    ready: Ready,
    entrypoint: Option<String>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    files: Vec<Files>,
    paths: Vec<String>,
    #[serde(default, rename = "variant")]
    variants: Vec<Variant>,
    stand_in: Option<StandIn>,
}

/// Where a server listens in its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Port {
    /// There.
    At(u16),
    /// On the port at which it is published, because it tells clients its own address.
    As(Advertised),
}

/// A port that clients learn from the server itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advertised {
    /// The published port.
    AsPublished,
}

/// How a client sees that a server is ready.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    pub(crate) port: String,
    pub(crate) send: String,
    pub(crate) expect: String,
    /// Seconds.
    within: u64,
}

impl Ready {
    pub(crate) fn within(&self) -> Duration {
        Duration::from_secs(self.within)
    }
}

/// A text file in a container.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Other settings for the same server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Variant {
    name: String,
    /// Lines for a file of the service, by its path.
    #[serde(default)]
    pub(crate) lines: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) files: Vec<Files>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// What it logs when it is ready, where `ready` is not answered with these settings.
    pub(crate) says_ready: Option<String>,
}

/// The image that `cargo xtask images` makes of packages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandIn {
    tag: String,
    #[serde(rename = "suite")]
    _suite: String,
    #[serde(rename = "packages")]
    _packages: Vec<String>,
    #[serde(default, rename = "environment")]
    _environment: BTreeMap<String, String>,
    #[serde(default, rename = "jars")]
    _jars: Option<toml::Table>,
    #[serde(default, rename = "files")]
    _files: Vec<Files>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    service: Vec<Service>,
}

const TABLE: &str = include_str!("../services.toml");

impl Service {
    /// All services, in the order of the table.
    ///
    /// # Errors
    /// [`Internal`](statehouse_contracts::ErrorKind::Internal) when the table cannot be read.
    pub fn all() -> Result<&'static [Service]> {
        static SERVICES: OnceLock<std::result::Result<Vec<Service>, String>> = OnceLock::new();
        let parsed = SERVICES.get_or_init(|| {
            toml::from_str(TABLE)
                .map(|table: Table| table.service)
                .map_err(|error| format!("services.toml: {error}"))
        });
        match parsed {
            Ok(services) => Ok(services),
            Err(message) => Err(Error::internal(message.clone())),
        }
    }

    /// The service called `name`.
    ///
    /// # Errors
    /// [`NotFound`](statehouse_contracts::ErrorKind::NotFound), with the names there are.
    pub fn named(name: &str) -> Result<&'static Service> {
        let services = Self::all()?;
        let found = services.iter().find(|service| service.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = services.iter().map(Service::name).collect();
            Error::not_found(format!(
                "no service `{name}`; there are {}",
                names.join(", ")
            ))
        })
    }

    /// The services that the adapter `name` is tested on.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub fn of_adapter(name: &str) -> Result<Vec<&'static Service>> {
        let of_it = Self::all()?.iter().filter(|s| s.adapter == name);
        Ok(of_it.collect())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The adapter that it serves.
    pub fn adapter(&self) -> &str {
        &self.adapter
    }

    /// The paths, from the root of the checkout, where a change calls for its tests.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// The public image, with its version.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// The image that stands in for the public one, where there is a recipe.
    pub fn stand_in(&self) -> Option<String> {
        let stand_in = self.stand_in.as_ref()?;
        Some(format!("statehouse/{}:{}", self.name, stand_in.tag))
    }

    /// The environment variable `TEST_<NAME>_<what>`.
    pub fn variable(&self, what: &str) -> String {
        let name = self.name.to_uppercase().replace('-', "_");
        format!("TEST_{name}_{what}")
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn ports(&self) -> &BTreeMap<String, Port> {
        &self.ports
    }

    pub(crate) fn ready(&self) -> &Ready {
        &self.ready
    }

    pub(crate) fn entrypoint(&self) -> Option<&str> {
        self.entrypoint.as_deref()
    }

    pub(crate) fn command(&self) -> &[String] {
        &self.command
    }

    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    pub(crate) fn files(&self) -> &[Files] {
        &self.files
    }

    /// The settings called `name`.
    pub(crate) fn variant(&self, name: &str) -> Result<&Variant> {
        let found = self.variants.iter().find(|variant| variant.name == name);
        let (service, unknown) = (&self.name, format!("no variant `{name}` of"));
        found.ok_or_else(|| Error::not_found(format!("{unknown} {service} is in the table")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_makes_sense() {
        let services = Service::all().expect("the table can be read");
        for service in services {
            let name = service.name();
            assert!(
                service.ports().contains_key(&service.ready().port),
                "{name}: ready names one of its ports"
            );
            let tag = service.image().rsplit_once(':').map(|(_, tag)| tag);
            assert!(
                tag.is_some_and(|tag| tag.contains('.')),
                "{name}: the image has a version"
            );
            assert!(!service.paths().is_empty(), "{name}: paths");
            let known = |path: &String| service.files().iter().any(|file| file.path == *path);
            for variant in &service.variants {
                assert!(
                    variant.lines.keys().all(known),
                    "{name}: lines of its files"
                );
            }
            let twins = services.iter().filter(|other| other.name() == name);
            assert_eq!(twins.count(), 1, "{name}: once");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_there_are() {
        let message = Service::named("rediss").unwrap_err().to_string();
        assert!(message.contains("`rediss`") && message.contains("valkey"));
    }

    #[test]
    fn variables_are_called_after_the_service() {
        let service = Service::named("redis").unwrap();
        assert_eq!(service.variable("URL"), "TEST_REDIS_URL");
    }

    #[test]
    fn an_adapter_is_tested_on_the_server_of_its_name() {
        for service in Service::all().unwrap() {
            let own = Service::named(service.adapter());
            assert!(own.is_ok(), "{} has no service", service.adapter());
        }
    }
}
