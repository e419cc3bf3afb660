//! The URL that selects and configures a backend.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use url::Url;

use crate::{Error, Result};

/// Text that shows in no log, error or `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself. Hand it to the client library and to nothing that prints.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A parsed backend URL: `sqlite:statehouse.db?synchronous=normal`, `memory:`,
/// `amqps://user:secret@host/vhost`, `supabase+https://ref.supabase.co?key_env=SUPABASE_KEY`.
///
/// `Display` and `Debug` show it without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: String,
    address: Address,
    query: String,
}

#[derive(Clone, PartialEq, Eq)]
enum Address {
    /// `scheme:path`, decoded.
    Path(String),
    /// `scheme://authority/path`.
    Url(Box<Url>),
}

impl Endpoint {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when there is no scheme, or the part
    /// after `://` is no valid authority. The message never holds the password.
    pub fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once(':').ok_or_else(|| {
            Error::invalid("the backend URL has no scheme; write for example sqlite:statehouse.db")
        })?;
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '+' || c == '-';
        if scheme.is_empty() || !scheme.chars().all(valid) {
            return Err(Error::invalid(format!(
                "the backend URL's scheme {scheme:?} is not valid; use a-z 0-9 + - before the colon"
            )));
        }
        let query = rest
            .split_once('?')
            .map_or("", |(_, query)| query)
            .to_owned();
        let address = if rest.starts_with("//") {
            Address::Url(Box::new(parse_url(scheme, text)?))
        } else {
            let path = rest.split('?').next().unwrap_or_default();
            Address::Path(percent_decode_str(path).decode_utf8_lossy().into_owned())
        };
        Ok(Self {
            scheme: scheme.to_owned(),
            address,
            query,
        })
    }

    /// The scheme, which selects the adapter.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The path: all between `scheme:` and `?`, or the URL's path with its leading slash. Decoded.
    pub fn path(&self) -> String {
        match &self.address {
            Address::Path(path) => path.clone(),
            Address::Url(url) => percent_decode_str(url.path())
                .decode_utf8_lossy()
                .into_owned(),
        }
    }

    /// The host, where there is one.
    pub fn host(&self) -> Option<&str> {
        self.url().and_then(Url::host_str)
    }

    /// The port, where one is given.
    pub fn port(&self) -> Option<u16> {
        self.url().and_then(Url::port)
    }

    /// The user name, decoded, where one is given.
    pub fn username(&self) -> Option<String> {
        let name = self
            .url()
            .map(Url::username)
            .filter(|name| !name.is_empty())?;
        Some(percent_decode_str(name).decode_utf8_lossy().into_owned())
    }

    /// The password, decoded, where one is given.
    pub fn password(&self) -> Option<Secret> {
        let password = self.url().and_then(Url::password)?;
        Some(Secret::new(
            percent_decode_str(password)
                .decode_utf8_lossy()
                .into_owned(),
        ))
    }

    /// The parameters after `?`, as a struct with `#[serde(deny_unknown_fields, default)]`.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) that names the unknown or malformed
    /// parameter.
    pub fn parameters<T: DeserializeOwned>(&self) -> Result<T> {
        serde_urlencoded::from_str(&self.query)
            .map_err(|error| Error::invalid(format!("in the URL {self}: {error}")))
    }

    /// The same endpoint with the parameter `name`, unless the URL already gives it.
    pub fn with_default(mut self, name: &str, value: &str) -> Self {
        let given = url::form_urlencoded::parse(self.query.as_bytes()).any(|(key, _)| key == name);
        if !given {
            let added: String = url::form_urlencoded::Serializer::new(String::new())
                .append_pair(name, value)
                .finish();
            self.query = if self.query.is_empty() {
                added
            } else {
                format!("{}&{added}", self.query)
            };
        }
        self
    }

    fn url(&self) -> Option<&Url> {
        match &self.address {
            Address::Path(_) => None,
            Address::Url(url) => Some(url),
        }
    }
}

fn parse_url(scheme: &str, text: &str) -> Result<Url> {
    Url::parse(text).map_err(|error| {
        Error::invalid(format!(
            "the {scheme} URL is not valid: {error}; write {scheme}://host:port"
        ))
    })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Path(path) => write!(f, "{}:{path}", self.scheme)?,
            Address::Url(url) => {
                let mut shown = url.as_ref().clone();
                shown.set_query(None);
                if shown.password().is_some() {
                    // Fails only for URLs that cannot have a password, and this one has one.
                    let _ = shown.set_password(Some("***"));
                }
                write!(f, "{shown}")?;
            }
        }
        if self.query.is_empty() {
            Ok(())
        } else {
            write!(f, "?{}", redacted(&self.query))
        }
    }
}

/// The query with the values of parameters that may hold a secret hidden.
fn redacted(query: &str) -> String {
    let hide = |name: &str| {
        let name = name.to_ascii_lowercase();
        let points_elsewhere = name.ends_with("_env") || name.ends_with("_file");
        !points_elsewhere
            && ["password", "secret", "token", "key", "pass"]
                .iter()
                .any(|word| name.contains(word))
    };
    let shown: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if hide(name) => format!("{name}=***"),
            _ => pair.to_owned(),
        })
        .collect();
    shown.join("&")
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

impl std::str::FromStr for Endpoint {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Parameters {
        synchronous: Option<String>,
        readers: Option<usize>,
    }

    #[test]
    fn each_form_of_url() {
        let table = [
            (
                "sqlite:statehouse.db",
                "sqlite",
                "statehouse.db",
                None,
                None,
            ),
            (
                "sqlite:/var/lib/a%20b.db?readers=4",
                "sqlite",
                "/var/lib/a b.db",
                None,
                None,
            ),
            ("memory:", "memory", "", None, None),
            (
                "dragonfly://h:6379/0",
                "dragonfly",
                "/0",
                Some("h"),
                Some(6379),
            ),
            ("amqp://h/%2f", "amqp", "//", Some("h"), None),
            (
                "supabase+https://r.example.co?key_env=K",
                "supabase+https",
                "",
                Some("r.example.co"),
                None,
            ),
        ];
        for (text, scheme, path, host, port) in table {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(
                (endpoint.scheme(), endpoint.path().as_str()),
                (scheme, path),
                "{text}"
            );
            assert_eq!((endpoint.host(), endpoint.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let url = "amqps://user:hunter2@host/v?key=hunter2&key_env=K&api_token=hunter2";
        let endpoint = Endpoint::parse(url).unwrap();
        assert_eq!(endpoint.password().unwrap().reveal(), "hunter2");
        for shown in [
            endpoint.to_string(),
            format!("{endpoint:?} {:?}", endpoint.password()),
        ] {
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(
                !shown.contains("api_token") || shown.contains("key_env=K"),
                "{shown}"
            );
        }
        let bad = Endpoint::parse("amqp://user:hunter2@a:1,b:2/").unwrap_err();
        assert!(!bad.to_string().contains("hunter2"), "{bad}");
    }

    #[test]
    fn parameters_are_typed_and_known() {
        let parse = |text: &str| Endpoint::parse(text).unwrap().parameters::<Parameters>();
        let good = parse("sqlite:a?synchronous=normal&readers=3").unwrap();
        assert_eq!(
            good,
            Parameters {
                synchronous: Some("normal".into()),
                readers: Some(3)
            }
        );
        for (bad, names) in [
            ("sqlite:a?reader=3", "reader"),
            ("sqlite:a?readers=x", "invalid digit"),
        ] {
            assert!(parse(bad).unwrap_err().to_string().contains(names), "{bad}");
        }
        let defaulted = Endpoint::parse("sqlite:a?readers=3").unwrap();
        let defaulted = defaulted
            .with_default("readers", "9")
            .with_default("synchronous", "full");
        assert_eq!(defaulted.to_string(), "sqlite:a?readers=3&synchronous=full");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, says) in [
            ("statehouse.db", "no scheme"),
            ("C:x", "not valid"),
            ("amqp://a:x/", "invalid port"),
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
