use std::any::Any;
use std::fmt::{self, Debug};
use std::sync::Arc;

use futures::future::BoxFuture;
use statehouse_contracts::{Backend, Endpoint, Error, Factory, Namespace, ReferenceId, Result};

use crate::Expected;

/// Where a backend keeps its data: a URL, and what must live as long as that data (a temporary
/// folder, a server).
#[derive(Clone)]
pub struct Place {
    url: String,
    _keep: Option<Arc<dyn Any + Send + Sync>>,
}

impl Place {
    /// The data at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            _keep: None,
        }
    }

    /// Keeps `guard` until nobody uses the place any more.
    pub fn keep(mut self, guard: impl Any + Send + Sync) -> Self {
        self._keep = Some(Arc::new(guard));
        self
    }

    /// The URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Endpoint::parse(&self.url) {
            Ok(endpoint) => write!(f, "Place({endpoint})"),
            Err(_) => f.write_str("Place(no URL)"),
        }
    }
}

/// Stored content that is to be damaged behind the adapter's back.
#[derive(Clone, Debug)]
pub struct Damage {
    /// Where it is.
    pub place: Place,
    /// In which namespace.
    pub namespace: Namespace,
    /// Which content; more than 64 KiB, and stored uncompressed.
    pub id: ReferenceId,
    /// The plain position of the byte to change.
    pub at: u64,
}

type Places = Arc<dyn Fn() -> Result<Place> + Send + Sync>;
type Damages = Arc<dyn Fn(Damage) -> BoxFuture<'static, Result<()>> + Send + Sync>;
pub(crate) type Wrap = fn(Arc<dyn Backend>) -> Arc<dyn Backend>;

/// What the suite can do to an adapter besides calling it.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) persistent: bool,
    pub(crate) damage: Option<Damages>,
    pub(crate) quota: Option<Places>,
}

/// An adapter under test: how it is opened, and what it is expected to do.
#[derive(Clone)]
pub struct Setup {
    pub(crate) factory: Arc<dyn Factory>,
    pub(crate) expected: Expected,
    pub(crate) places: Option<Places>,
    pub(crate) hooks: Hooks,
}

impl Setup {
    /// The adapter of `factory`, expected to report and do `expected`.
    ///
    /// Its data is at the URL in `TEST_<NAME>_URL`; where that is not set, all trials are ignored,
    /// or fail with `CONFORMANCE_REQUIRE=1`. An adapter that needs no server gives
    /// [`places`](Self::places) instead.
    pub fn new(factory: impl Factory + 'static, expected: Expected) -> Self {
        let places = std::env::var(Self::variable(factory.name()))
            .ok()
            .map(|url| Arc::new(move || Ok(Place::new(url.clone()))) as Places);
        Self {
            factory: Arc::new(factory),
            expected,
            places,
            hooks: Hooks::default(),
        }
    }

    /// Makes each backend at a new place, with no data.
    pub fn places(mut self, make: impl Fn() -> Result<Place> + Send + Sync + 'static) -> Self {
        self.places = Some(Arc::new(make));
        self
    }

    /// Says that opening a URL again, also beside an open backend, finds the same data.
    pub fn persistent(mut self) -> Self {
        self.hooks.persistent = true;
        self
    }

    /// Gives places where each namespace has a byte quota for references, of 64 KiB to 16 MiB.
    pub fn quota(mut self, make: impl Fn() -> Result<Place> + Send + Sync + 'static) -> Self {
        self.hooks.quota = Some(Arc::new(make));
        self
    }

    /// Gives a way to change one byte of stored content.
    pub fn damage<F>(mut self, damage: F) -> Self
    where
        F: Fn(Damage) -> BoxFuture<'static, Result<()>> + Send + Sync + 'static,
    {
        self.hooks.damage = Some(Arc::new(damage));
        self
    }

    /// The environment variable that names the server of the adapter `name`.
    pub(crate) fn variable(name: &str) -> String {
        format!("TEST_{}_URL", name.to_uppercase().replace('-', "_"))
    }

    pub(crate) async fn open(&self, place: &Place, wrap: Wrap) -> Result<Arc<dyn Backend>> {
        let endpoint = Endpoint::parse(place.url())?;
        Ok(wrap(self.factory.open(&endpoint).await?))
    }

    pub(crate) fn place(&self) -> Result<Place> {
        match &self.places {
            Some(make) => make(),
            None => Err(Error::invalid(format!(
                "{} is not set",
                Self::variable(self.factory.name())
            ))),
        }
    }
}

impl Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("factory", &self.factory)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}
