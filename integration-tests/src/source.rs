//! Where a service's server comes from: a URL, the public image, or the one that stands in.

use std::collections::BTreeMap;
use std::env;
use std::fmt;

use futures::TryStreamExt;
use statehouse_contracts::{Error, ErrorKind, Result};
use testcontainers::bollard::Docker;
use testcontainers::bollard::query_parameters::CreateImageOptionsBuilder;
use testcontainers::core::client::docker_client_instance;
use tokio::sync::Mutex;

use crate::table::Service;

/// Where a server comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It runs already: the URL in `TEST_<NAME>_URL`.
    Running(String),
    /// This image, which is on this machine.
    Image(String),
}

/// Why there is no server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    why: String,
    excused: bool,
}

impl Absent {
    fn new(why: impl fmt::Display, excused: bool) -> Self {
        let why = why.to_string();
        Self { why, excused }
    }

    pub(crate) fn because(error: impl fmt::Display) -> Self {
        Self::new(error, false)
    }

    /// Whether nothing on this machine could change it: the image cannot be fetched for want of a
    /// network, and no packages stand in for it.
    pub fn is_excused(&self) -> bool {
        self.excused
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<Absent> for Error {
    fn from(absent: Absent) -> Self {
        Error::new(ErrorKind::Unavailable, absent.why)
    }
}

impl Service {
    /// Where its server comes from: `TEST_<NAME>_URL`, else an [image](Self::image_here).
    ///
    /// # Errors
    /// Why there is none.
    pub async fn source(&'static self) -> std::result::Result<Source, Absent> {
        match env::var(self.variable("URL")) {
            Ok(url) => Ok(Source::Running(url)),
            Err(_) => self.image_here().await.map(Source::Image),
        }
    }

    /// The image for its containers: the one in `TEST_<NAME>_IMAGE`, else the public one, else the
    /// stand-in. What is on this machine comes before what must be pulled; it is pulled here, once.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn image_here(&'static self) -> std::result::Result<String, Absent> {
        static FOUND: Mutex<BTreeMap<&str, std::result::Result<String, Absent>>> =
            Mutex::const_new(BTreeMap::new());
        let mut found = FOUND.lock().await;
        if let Some(answer) = found.get(self.name()) {
            return answer.clone();
        }
        let answer = self.find_image().await;
        found.insert(self.name(), answer.clone());
        answer
    }

    async fn find_image(&self) -> std::result::Result<String, Absent> {
        let docker = docker().await.map_err(Absent::because)?;
        if let Ok(image) = env::var(self.variable("IMAGE")) {
            if !is_here(&docker, &image).await {
                let refused = |why| Absent::new(format!("{image}: {why}"), false);
                pull(&docker, &image).await.map_err(refused)?;
            }
            return Ok(image);
        }
        let known = [Some(self.image().to_owned()), self.stand_in()];
        for image in known.into_iter().flatten() {
            if is_here(&docker, &image).await {
                return Ok(image);
            }
        }
        match pull(&docker, self.image()).await {
            Ok(()) => Ok(self.image().to_owned()),
            Err(why) => Err(self.without_image(&why)),
        }
    }

    fn without_image(&self, why: &str) -> Absent {
        let (image, unreachable) = (self.image(), is_unreachable(why));
        match self.stand_in() {
            Some(_) => {
                let make = format!(
                    "`cargo xtask images --only {}` gets or makes one",
                    self.name()
                );
                Absent::new(format!("{image} cannot be had ({why}); {make}"), false)
            }
            None => {
                let url = self.variable("URL");
                let message = format!("{image} cannot be had ({why}), and {url} is not set");
                Absent::new(message, unreachable)
            }
        }
    }
}

/// The daemon, when it answers.
pub(crate) async fn docker() -> Result<Docker> {
    let unavailable = |error: String| {
        Error::new(
            ErrorKind::Unavailable,
            format!("Docker cannot be reached: {error}"),
        )
    };
    let docker = docker_client_instance()
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    match docker.ping().await {
        Ok(_) => Ok(docker),
        Err(error) => Err(unavailable(error.to_string())),
    }
}

async fn is_here(docker: &Docker, image: &str) -> bool {
    docker.inspect_image(image).await.is_ok()
}

async fn pull(docker: &Docker, image: &str) -> std::result::Result<(), String> {
    let options = CreateImageOptionsBuilder::new().from_image(image).build();
    let steps = docker.create_image(Some(options), None, None);
    let done: std::result::Result<Vec<_>, _> = steps.try_collect().await;
    done.map(drop).map_err(|error| error.to_string())
}

/// Whether the registry was not reached, as opposed to having said no.
fn is_unreachable(why: &str) -> bool {
    let signs = [
        "dial tcp",
        "Client.Timeout",
        "handshake timeout",
        "deadline exceeded",
    ];
    signs.iter().any(|sign| why.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_NETWORK: &str =
        "Get \"https://registry/v2/\": dial tcp: lookup registry: no such host";
    const NO_IMAGE: &str = "manifest unknown";

    #[test]
    fn only_what_nobody_could_help_is_excused() {
        let table = [
            ("redis", NO_NETWORK, false),
            ("redis", NO_IMAGE, false),
            ("dragonfly", NO_NETWORK, true),
            ("dragonfly", NO_IMAGE, false),
        ];
        for (name, why, excused) in table {
            let absent = Service::named(name).unwrap().without_image(why);
            assert_eq!(absent.is_excused(), excused, "{name}: {absent}");
        }
    }

    #[test]
    fn who_lacks_an_image_reads_what_to_do() {
        let redis = Service::named("redis").unwrap().without_image(NO_NETWORK);
        assert!(
            redis
                .to_string()
                .contains("cargo xtask images --only redis")
        );
        let dragonfly = Service::named("dragonfly").unwrap();
        let dragonfly = dragonfly.without_image(NO_NETWORK);
        assert!(dragonfly.to_string().contains("TEST_DRAGONFLY_URL"));
    }
}
