use std::any::Any;
use std::fmt::{self, Debug};
use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use statehouse_contracts::{
    Backend, Endpoint, Error, ErrorKind, Factory, Namespace, ReferenceId, Result,
};

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

    /// The same data, opened with one more setting: `query` is added to the URL.
    pub fn with_query(mut self, query: &str) -> Self {
        let mark = if self.url.contains('?') { '&' } else { '?' };
        self.url = format!("{}{mark}{query}", self.url);
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
type Quotas = Arc<dyn Fn(&Setup) -> Result<Place> + Send + Sync>;
type Damages = Arc<dyn Fn(Damage) -> BoxFuture<'static, Result<()>> + Send + Sync>;
pub(crate) type Wrap = fn(Arc<dyn Backend>) -> Arc<dyn Backend>;

/// What the suite can do to an adapter besides calling it.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) persistent: bool,
    pub(crate) damage: Option<Damages>,
    pub(crate) quota: Option<Quotas>,
    pub(crate) cache: bool,
}

/// An adapter under test: how it is opened, and what it is expected to do.
#[derive(Clone)]
pub struct Setup {
    pub(crate) label: String,
    pub(crate) factory: Arc<dyn Factory>,
    pub(crate) expected: Expected,
    /// Where to run, or why there is no server.
    pub(crate) places: std::result::Result<Places, String>,
    pub(crate) hooks: Hooks,
    ready: Option<Places>,
    query: Option<&'static str>,
}

impl Setup {
    /// The adapter of `factory`, expected to report and do `expected`.
    ///
    /// Its data is at the URL in `TEST_<NAME>_URL`; where that is not set, all trials are ignored,
    /// or fail with `CONFORMANCE_REQUIRE=1`. An adapter that needs no server gives
    /// [`places`](Self::places) instead.
    pub fn new(factory: impl Factory + 'static, expected: Expected) -> Self {
        let variable = Self::variable(factory.name());
        let places = match std::env::var(&variable) {
            Ok(url) => Ok(Arc::new(move || Ok(Place::new(url.clone()))) as Places),
            Err(_) => Err(format!("{variable} is not set")),
        };
        Self {
            label: String::new(),
            factory: Arc::new(factory),
            expected,
            places,
            hooks: Hooks::default(),
            ready: None,
            query: None,
        }
    }

    /// Calls its trials `<label>::…`, so that one program can run several setups.
    pub fn labelled(mut self, label: &str) -> Self {
        self.label = format!("{label}::");
        self
    }

    /// Runs on a server: `start` is called once, before the first case and outside its deadline,
    /// and says where the server is.
    pub fn server(mut self, start: impl Fn() -> Result<Place> + Send + Sync + 'static) -> Self {
        let started = OnceLock::new();
        let place: Places = Arc::new(move || {
            let place = started.get_or_init(|| start().map_err(|error| error.to_string()));
            let failed = |message: String| Error::new(ErrorKind::Unavailable, message);
            place.clone().map_err(failed)
        });
        self.ready = Some(place.clone());
        self.places = Ok(place);
        self
    }

    /// Adds `query`, such as `check_keys=true`, to the URL of every place that the suite opens.
    pub fn opened_with(mut self, query: &'static str) -> Self {
        self.query = Some(query);
        self
    }

    /// Says why there is no server: all trials are ignored, or fail with `CONFORMANCE_REQUIRE=1`.
    pub fn without_server(mut self, why: impl Into<String>) -> Self {
        self.places = Err(why.into());
        self
    }

    /// Makes each backend at a new place, with no data.
    pub fn places(mut self, make: impl Fn() -> Result<Place> + Send + Sync + 'static) -> Self {
        self.places = Ok(Arc::new(make));
        self
    }

    /// Says that opening a URL again, also beside an open backend, finds the same data.
    pub fn persistent(mut self) -> Self {
        self.hooks.persistent = true;
        self
    }

    /// Says that the backend has a cache of records that processes share.
    pub fn cache(mut self) -> Self {
        self.hooks.cache = true;
        self
    }

    /// Gives places where each namespace has a byte quota for references, of 64 KiB to 16 MiB.
    pub fn quota(mut self, make: impl Fn() -> Result<Place> + Send + Sync + 'static) -> Self {
        self.hooks.quota = Some(Arc::new(move |_| make()));
        self
    }

    /// As [`quota`](Self::quota), at the same server: `query`, such as `quota=1048576`, is added to
    /// its URL.
    pub fn quota_by(mut self, query: &'static str) -> Self {
        self.hooks.quota = Some(Arc::new(move |setup| Ok(setup.place()?.with_query(query))));
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
            Ok(make) => Ok(match self.query {
                Some(query) => make()?.with_query(query),
                None => make()?,
            }),
            Err(absent) => Err(Error::new(ErrorKind::Unavailable, absent.clone())),
        }
    }

    /// Waits for the server, if there is one to start.
    pub(crate) fn ready(&self) -> Result<()> {
        match &self.ready {
            Some(start) => start().map(drop),
            None => Ok(()),
        }
    }

    /// Whether its trials are shown as ignored.
    pub(crate) fn is_ignored(&self) -> bool {
        self.places.is_err() && !required()
    }
}

/// Whether a test whose server is absent must fail: `CONFORMANCE_REQUIRE=1`.
pub fn required() -> bool {
    std::env::var("CONFORMANCE_REQUIRE").is_ok_and(|value| value == "1")
}

impl Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("factory", &self.factory)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}
