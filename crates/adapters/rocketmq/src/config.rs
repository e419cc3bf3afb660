//! The URL: `rocketmq://ns1:9876?nameserver=ns2:9876&access_key_env=…&secret_key_env=…`.

use std::fmt;
use std::time::Duration;

use statehouse_contracts::{Endpoint, Error, Result, Secret};

use crate::naming::MAX_PREFIX;

/// The name server's usual port.
const PORT: u16 = 9876;

/// What the URL says.
///
/// | parameter | meaning | default |
/// |---|---|---|
/// | `nameserver` | one more name server, `host:port`; may be repeated | none |
/// | `topic` | the first part of each topic on the broker | `statehouse` |
/// | `consumer_group` | the first part of each consumer group | `statehouse` |
/// | `producer_group` | the producer group | `statehouse` |
/// | `queues` | over how many queues of each broker ordering keys are spread, for new namespaces | 16 |
/// | `timeout_ms` | how long one request may take | 3000 |
/// | `tls` | whether to speak TLS | false |
/// | `tls_ca_file`, `tls_cert_file`, `tls_key_file` | PEM files: the authority to trust, this client's certificate and key | none |
/// | `tls_verify` | whether the server's certificate is checked | true |
/// | `access_key_env`, `access_key_file` | where the ACL access key is | none |
/// | `secret_key_env`, `secret_key_file` | where the ACL secret key is | none |
///
/// `rocketmq://access:secret@host` gives the ACL keys in the URL itself, which is shown without the
/// secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Name servers as `host:port`, at least one.
    pub name_servers: Vec<String>,
    /// The first part of each topic on the broker.
    pub topic: String,
    /// The first part of each consumer group.
    pub consumer_group: String,
    /// The producer group.
    pub producer_group: String,
    /// Over how many queues of each broker ordering keys are spread.
    pub key_queues: u32,
    /// How long one request may take.
    pub timeout: Duration,
    /// TLS, when it is on.
    pub tls: Option<Tls>,
    /// The ACL keys, when there are any.
    pub keys: Option<Keys>,
}

/// How TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The PEM file of the authority to trust.
    pub ca_file: Option<String>,
    /// The PEM file of this client's certificate.
    pub cert_file: Option<String>,
    /// The PEM file of this client's key.
    pub key_file: Option<String>,
    /// Whether the server's certificate is checked.
    pub verify: bool,
}

/// The keys that sign each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Who signs.
    pub access: String,
    /// What it is signed with.
    pub secret: Secret,
}

impl Config {
    /// Reads the URL.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) for an unknown
    /// parameter, a value that makes no sense, or a key that is not where the URL says.
    pub fn of(endpoint: &Endpoint) -> Result<Self> {
        let mut given = Given(endpoint.parameters::<Vec<(String, String)>>()?);
        let config = Self {
            name_servers: name_servers(endpoint, &mut given)?,
            topic: given.prefix("topic")?,
            consumer_group: given.prefix("consumer_group")?,
            producer_group: given.prefix("producer_group")?,
            key_queues: given.number("queues", 16, 1..=256)? as u32,
            timeout: Duration::from_millis(given.number("timeout_ms", 3_000, 100..=60_000)?),
            tls: tls(&mut given)?,
            keys: keys(endpoint, &mut given)?,
        };
        given.nothing_left()?;
        Ok(config)
    }

    /// The name servers as the client wants them.
    pub(crate) fn name_server_list(&self) -> String {
        self.name_servers.join(";")
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name_servers", &self.name_servers)
            .field("topic", &self.topic)
            .field("consumer_group", &self.consumer_group)
            .field("tls", &self.tls)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// The parameters that were not read yet.
struct Given(Vec<(String, String)>);

const KNOWN: [&str; 15] = [
    "nameserver",
    "topic",
    "consumer_group",
    "producer_group",
    "queues",
    "timeout_ms",
    "tls",
    "tls_ca_file",
    "tls_cert_file",
    "tls_key_file",
    "tls_verify",
    "access_key_env",
    "access_key_file",
    "secret_key_env",
    "secret_key_file",
];

impl Given {
    fn all(&mut self, name: &str) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(key, _)| key == name);
        self.0 = left;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    fn one(&mut self, name: &str) -> Result<Option<String>> {
        let mut values = self.all(name);
        if values.len() > 1 {
            return Err(Error::invalid(format!(
                "the parameter {name} is given {} times; give it once",
                values.len()
            )));
        }
        Ok(values.pop())
    }

    fn prefix(&mut self, name: &str) -> Result<String> {
        let text = self.one(name)?.unwrap_or_else(|| crate::PREFIX.to_owned());
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.is_empty() || text.len() > MAX_PREFIX || !text.chars().all(valid) {
            return Err(Error::invalid(format!(
                "{name} is {text:?}; it has 1 to {MAX_PREFIX} of A-Z a-z 0-9 - _"
            )));
        }
        Ok(text)
    }

    fn number(
        &mut self,
        name: &str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64> {
        let Some(text) = self.one(name)? else {
            return Ok(default);
        };
        text.parse()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                Error::invalid(format!(
                    "{name} is {text:?}; it is a number from {} to {}",
                    range.start(),
                    range.end()
                ))
            })
    }

    fn flag(&mut self, name: &str, default: bool) -> Result<bool> {
        match self.one(name)?.as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(Error::invalid(format!(
                "{name} is {other:?}; it is true or false"
            ))),
        }
    }

    /// The secret in the environment variable or file that `<name>_env` or `<name>_file` names.
    fn kept(&mut self, name: &str) -> Result<Option<String>> {
        let (variable, file) = (
            self.one(&format!("{name}_env"))?,
            self.one(&format!("{name}_file"))?,
        );
        let text = match (variable, file) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(Error::invalid(format!(
                    "both {name}_env and {name}_file are given; give one"
                )));
            }
            (Some(variable), None) => std::env::var(&variable).map_err(|_| {
                Error::invalid(format!(
                    "{name}_env names the environment variable {variable:?}, which is not set"
                ))
            })?,
            (None, Some(path)) => std::fs::read_to_string(&path).map_err(|error| {
                Error::invalid(format!("{name}_file {path:?} cannot be read: {error}"))
            })?,
        };
        Ok(Some(text.trim().to_owned()))
    }

    fn nothing_left(&self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::invalid(format!(
                "the RocketMQ URL has the unknown parameter {name:?}; known are {}",
                KNOWN.join(", ")
            ))),
        }
    }
}

fn name_servers(endpoint: &Endpoint, given: &mut Given) -> Result<Vec<String>> {
    let host = endpoint.host().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| {
        Error::invalid("the RocketMQ URL names no name server; write rocketmq://host:9876")
    })?;
    if !matches!(endpoint.path().as_str(), "" | "/") {
        return Err(Error::invalid(format!(
            "the RocketMQ URL has the path {:?}; it has none",
            endpoint.path()
        )));
    }
    let mut servers = vec![format!("{host}:{}", endpoint.port().unwrap_or(PORT))];
    for more in given.all("nameserver") {
        let port = more.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        servers.push(match port {
            None => format!("{more}:{PORT}"),
            Some(Ok(_)) => more,
            Some(Err(_)) => {
                return Err(Error::invalid(format!(
                    "nameserver is {more:?}; write host:port, and repeat the parameter for more"
                )));
            }
        });
    }
    Ok(servers)
}

fn tls(given: &mut Given) -> Result<Option<Tls>> {
    let on = given.flag("tls", false)?;
    let tls = Tls {
        ca_file: given.one("tls_ca_file")?,
        cert_file: given.one("tls_cert_file")?,
        key_file: given.one("tls_key_file")?,
        verify: given.flag("tls_verify", true)?,
    };
    let files = [&tls.ca_file, &tls.cert_file, &tls.key_file];
    if !on && files.iter().any(|file| file.is_some()) {
        return Err(Error::invalid(
            "a tls_…_file is given, but tls is not true; add tls=true",
        ));
    }
    Ok(on.then_some(tls))
}

fn keys(endpoint: &Endpoint, given: &mut Given) -> Result<Option<Keys>> {
    let access = given.kept("access_key")?.or_else(|| endpoint.username());
    let secret = given
        .kept("secret_key")?
        .map(Secret::new)
        .or_else(|| endpoint.password());
    match (access, secret) {
        (None, None) => Ok(None),
        (Some(access), Some(secret)) => Ok(Some(Keys { access, secret })),
        (Some(_), None) => Err(Error::invalid(
            "an access key is given without its secret key; add secret_key_env or secret_key_file",
        )),
        (None, Some(_)) => Err(Error::invalid(
            "a secret key is given without its access key; add access_key_env or access_key_file",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<Config> {
        Config::of(&Endpoint::parse(url)?)
    }

    #[test]
    fn each_form_of_url() {
        let bare = of("rocketmq://ns1").unwrap();
        assert_eq!(bare.name_server_list(), "ns1:9876");
        assert_eq!((bare.topic.as_str(), bare.key_queues), ("statehouse", 16));
        assert_eq!((bare.tls, bare.keys), (None, None));

        let full = of(
            "rocketmq://ns1:1?nameserver=ns2:2&nameserver=ns3&topic=agent_state_updates\
             &consumer_group=g&producer_group=p&queues=4&timeout_ms=500&tls=true\
             &tls_ca_file=/ca.pem&tls_verify=false",
        )
        .unwrap();
        assert_eq!(full.name_server_list(), "ns1:1;ns2:2;ns3:9876");
        assert_eq!(full.topic, "agent_state_updates");
        assert_eq!(
            (full.consumer_group.as_str(), full.producer_group.as_str()),
            ("g", "p")
        );
        assert_eq!(
            (full.key_queues, full.timeout),
            (4, Duration::from_millis(500))
        );
        let tls = full.tls.unwrap();
        assert_eq!(
            (tls.ca_file.as_deref(), tls.verify),
            (Some("/ca.pem"), false)
        );
    }

    #[test]
    fn keys_are_never_shown() {
        let config = of("rocketmq://me:hunter2@ns1").unwrap();
        let keys = config.keys.clone().unwrap();
        assert_eq!(
            (keys.access.as_str(), keys.secret.reveal()),
            ("me", "hunter2")
        );
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, says) in [
            ("rocketmq:", "names no name server"),
            ("rocketmq://a/x", "path"),
            (
                "rocketmq://a?nameservers=b",
                "unknown parameter \"nameservers\"",
            ),
            ("rocketmq://a?nameserver=b:x", "host:port"),
            ("rocketmq://a?topic=a.b", "topic is \"a.b\""),
            ("rocketmq://a?topic=a&topic=b", "given 2 times"),
            ("rocketmq://a?queues=0", "from 1 to 256"),
            ("rocketmq://a?tls=yes", "true or false"),
            ("rocketmq://a?tls_ca_file=x", "add tls=true"),
            ("rocketmq://me@a", "without its secret key"),
            (
                "rocketmq://a?secret_key_env=STATEHOUSE_TEST_NO_SUCH",
                "is not set",
            ),
            (
                "rocketmq://a?access_key_file=/no/such/file",
                "cannot be read",
            ),
        ] {
            let error = of(url).unwrap_err();
            assert!(error.to_string().contains(says), "{url}: {error}");
        }
    }
}
