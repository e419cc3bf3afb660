//! Which adapters there are: a value, put together by the program.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{Backend, Endpoint, Error, ErrorKind, Result};

/// Opens backends of one adapter.
#[async_trait]
pub trait Factory: Debug + Send + Sync {
    /// The adapter's name: its folder, its crate's suffix and its feature.
    fn name(&self) -> &'static str;

    /// The URL schemes it answers to.
    fn schemes(&self) -> &'static [&'static str];

    /// The parameters of its URLs that the configuration sets for the whole service where a URL does
    /// not: of `gc_interval` and `task_retention` (durations, such as `60000ms`) and `quota` (bytes)
    /// those that it takes. See [`Registry::tuned`].
    fn parameters(&self) -> &'static [&'static str] {
        &[]
    }

    /// Opens the backend at `endpoint`.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a URL that makes no sense,
    /// [`Unavailable`](ErrorKind::Unavailable) when it cannot be reached,
    /// [`Corrupted`](ErrorKind::Corrupted) or [`PermissionDenied`](ErrorKind::PermissionDenied).
    async fn open(&self, endpoint: &Endpoint) -> Result<Arc<dyn Backend>>;
}

/// The adapters of this build, by URL scheme.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    factories: Vec<Arc<dyn Factory>>,
    absent: Vec<(&'static str, &'static str)>,
}

impl Registry {
    /// No adapters.
    pub fn new() -> Self {
        Self::default()
    }

    /// With the adapter of `factory`.
    pub fn with(mut self, factory: impl Factory + 'static) -> Self {
        self.factories.push(Arc::new(factory));
        self
    }

    /// Remembers that `scheme` would be there with the cargo feature `feature`.
    pub fn absent(mut self, scheme: &'static str, feature: &'static str) -> Self {
        self.absent.push((scheme, feature));
        self
    }

    /// The schemes of this build.
    pub fn schemes(&self) -> Vec<&'static str> {
        self.factories
            .iter()
            .flat_map(|factory| factory.schemes())
            .copied()
            .collect()
    }

    /// Whether this build has an adapter for `endpoint`.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where it has none, as for [`Registry::open`].
    pub fn check(&self, endpoint: &Endpoint) -> Result<()> {
        let scheme = endpoint.scheme();
        match self.factory(scheme) {
            Some(_) => Ok(()),
            None => Err(self.unknown(scheme)),
        }
    }

    /// `endpoint` with those of `parameters` that its adapter takes and the URL does not set.
    pub fn tuned(&self, endpoint: &Endpoint, parameters: &[(&str, String)]) -> Endpoint {
        let factory = self.factory(endpoint.scheme());
        let takes = factory.map_or(&[] as &[&str], |factory| factory.parameters());
        parameters
            .iter()
            .filter(|(name, _)| takes.contains(name))
            .fold(endpoint.clone(), |endpoint, (name, value)| {
                endpoint.with_default(name, value)
            })
    }

    /// Opens the backend at `endpoint`.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a scheme that is not in this build, with the
    /// feature that would add it or the schemes there are; and those of [`Factory::open`].
    pub async fn open(&self, endpoint: &Endpoint) -> Result<Arc<dyn Backend>> {
        let scheme = endpoint.scheme();
        match self.factory(scheme) {
            Some(factory) => factory.open(endpoint).await,
            None => Err(self.unknown(scheme)),
        }
    }

    fn factory(&self, scheme: &str) -> Option<&Arc<dyn Factory>> {
        self.factories
            .iter()
            .find(|factory| factory.schemes().contains(&scheme))
    }

    fn unknown(&self, scheme: &str) -> Error {
        let message = match self.absent.iter().find(|(absent, _)| *absent == scheme) {
            Some((_, feature)) => format!(
                "the scheme {scheme:?} is not in this build; build with --features {feature}"
            ),
            None => format!(
                "the scheme {scheme:?} is unknown; this build has {}",
                self.schemes().join(", ")
            ),
        };
        Error::new(ErrorKind::Unsupported, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nothing;

    #[async_trait]
    impl Factory for Nothing {
        fn name(&self) -> &'static str {
            "nothing"
        }
        fn schemes(&self) -> &'static [&'static str] {
            &["nothing", "nil"]
        }
        fn parameters(&self) -> &'static [&'static str] {
            &["quota"]
        }
        async fn open(&self, _: &Endpoint) -> Result<Arc<dyn Backend>> {
            Err(Error::new(ErrorKind::Unavailable, "there is nothing"))
        }
    }

    #[test]
    fn an_absent_scheme_names_its_feature_and_an_unknown_one_the_schemes() {
        let registry = Registry::new().with(Nothing).absent("amqp", "rabbitmq");
        let fail = |url: &str| {
            let endpoint = Endpoint::parse(url).unwrap();
            let mut open = std::pin::pin!(registry.open(&endpoint));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            match open.as_mut().poll(&mut context) {
                std::task::Poll::Ready(answer) => answer.map(|_| ()).unwrap_err(),
                std::task::Poll::Pending => unreachable!("nothing waits here"),
            }
        };
        assert_eq!(fail("nil:").kind(), ErrorKind::Unavailable);
        assert!(fail("amqp://h").to_string().contains("--features rabbitmq"));
        assert!(
            fail("ftp://h")
                .to_string()
                .contains("this build has nothing, nil")
        );
    }

    #[test]
    fn an_endpoint_is_tuned_by_what_its_adapter_takes_and_its_url_leaves_open() {
        let registry = Registry::new().with(Nothing);
        let parameters = [("quota", "7".to_owned()), ("colour", "red".to_owned())];
        let tuned = |url: &str| {
            let endpoint = Endpoint::parse(url).unwrap();
            registry.tuned(&endpoint, &parameters).to_string()
        };
        assert_eq!(tuned("nil:"), "nil:?quota=7");
        assert_eq!(tuned("nil:?quota=9"), "nil:?quota=9");
        assert_eq!(tuned("other://h"), "other://h");
    }
}
