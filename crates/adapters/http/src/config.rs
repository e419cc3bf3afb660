//! The parameters of an `http:` or `https:` URL.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use statehouse_contracts::{Endpoint, Error, ErrorKind, Result, Secret};
use statehouse_wire::Span;

/// How the service is reached: the parameters of its URL, as in
/// `https://state.example.org?token_env=STATEHOUSE_TOKEN&pool=8`. Durations are text with units,
/// such as `5s` or `500ms`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// The environment variable that holds the token.
    pub token_env: Option<String>,
    /// The file that holds the token; white space around it is cut off.
    pub token_file: Option<PathBuf>,
    /// How long connecting may take. Default 5 s.
    pub connect_timeout: Span,
    /// How long an answer may take, beside the time the call itself asked to wait. Default 60 s.
    pub timeout: Span,
    /// How many idle connections are kept, at least 1. Default 32.
    pub pool: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            token_env: None,
            token_file: None,
            connect_timeout: Span(Duration::from_secs(5)),
            timeout: Span(Duration::from_secs(60)),
            pool: 32,
        }
    }
}

impl Config {
    /// The configuration that the URL gives.
    ///
    /// # Errors
    /// `InvalidArgument` for a URL without a host, with a user or a password, or with a parameter
    /// that is unknown or makes no sense.
    pub(crate) fn of(endpoint: &Endpoint) -> Result<Self> {
        if endpoint.host().is_none_or(str::is_empty) {
            return Err(Error::invalid(format!(
                "the URL {endpoint} names no host; write for example http://127.0.0.1:7717"
            )));
        }
        if endpoint.username().is_some() || endpoint.password().is_some() {
            return Err(Error::invalid(format!(
                "the URL {endpoint} has a user or a password; name the token's place with \
                 ?token_env=VARIABLE or ?token_file=PATH"
            )));
        }
        let config: Self = endpoint.parameters()?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        if self.token_env.is_some() && self.token_file.is_some() {
            return Err(Error::invalid(
                "token_env and token_file both say where the token is; give one of them",
            ));
        }
        if self.pool == 0 {
            return Err(Error::invalid("pool is 0; at least 1 is needed"));
        }
        let spans = [
            ("connect_timeout", self.connect_timeout),
            ("timeout", self.timeout),
        ];
        match spans.iter().find(|(_, span)| span.0.is_zero()) {
            Some((name, _)) => Err(Error::invalid(format!(
                "{name} is 0; write a duration such as 5s"
            ))),
            None => Ok(()),
        }
    }

    /// The token, where the URL says that there is one.
    pub(crate) fn token(&self) -> Result<Option<Secret>> {
        let (place, text) = match (&self.token_env, &self.token_file) {
            (Some(name), _) => (
                format!("the environment variable {name}"),
                std::env::var(name).map_err(|error| error.to_string()),
            ),
            (None, Some(path)) => (
                format!("the file {}", path.display()),
                std::fs::read_to_string(path).map_err(|error| error.to_string()),
            ),
            (None, None) => return Ok(None),
        };
        let refused = |why: &str| {
            let message = format!("the token cannot be taken from {place}: {why}");
            Error::new(ErrorKind::PermissionDenied, message)
        };
        let text = text.map_err(|why| refused(&why))?;
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused("it is empty, or not printable ASCII in one word"));
        }
        Ok(Some(Secret::new(token)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<Config> {
        Config::of(&Endpoint::parse(url)?)
    }

    #[test]
    fn each_parameter_is_taken() {
        assert_eq!(of("http://127.0.0.1:7717").unwrap(), Config::default());
        let config = of("https://h/base?token_env=T&connect_timeout=250ms&timeout=2m&pool=3");
        let expected = Config {
            token_env: Some("T".into()),
            connect_timeout: Span(Duration::from_millis(250)),
            timeout: Span(Duration::from_secs(120)),
            pool: 3,
            ..Config::default()
        };
        assert_eq!(config.unwrap(), expected);
        let config = of("http://[::1]:7717?token_file=%2Frun%2Ft").unwrap();
        assert_eq!(config.token_file, Some("/run/t".into()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_hint() {
        let table = [
            ("http:statehouse", "names no host"),
            ("http://user:hunter2@h", "?token_env="),
            ("http://h?token=hunter2", "unknown field `token`"),
            ("http://h?token_env=A&token_file=b", "give one of them"),
            ("http://h?pool=0", "at least 1"),
            ("http://h?timeout=0s", "timeout is 0"),
            ("http://h?timeout=5", "needs a unit"),
        ];
        for (url, says) in table {
            let error = of(url).unwrap_err();
            assert!(error.to_string().contains(says), "{url}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_token_is_read_from_its_place_and_never_shown() {
        let path = std::env::temp_dir().join(format!("token-{}", std::process::id()));
        let config = Config {
            token_file: Some(path.clone()),
            ..Config::default()
        };
        let missing = config.token().unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::PermissionDenied);
        for (text, token) in [("hunter2\n", Some("hunter2")), (" \n", None), ("a b", None)] {
            std::fs::write(&path, text).unwrap();
            let read = config.token();
            assert_eq!(
                read.as_ref()
                    .ok()
                    .and_then(|t| t.as_ref())
                    .map(Secret::reveal),
                token
            );
            assert!(!format!("{read:?}").contains("hunter2"));
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Config::default().token().unwrap(), None);
    }
}
