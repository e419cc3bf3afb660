//! The adapters of this build: the one place that knows which there are.

#[cfg(not(feature = "http"))]
use statehouse_contracts::Error;
use statehouse_contracts::{Endpoint, Precondition, Registry, Result, Scope, StateKey, Version};
use statehouse_wire::TrioStatusDoc;

/// Schemes that this version has no adapter for yet, and the feature each will come with.
const PLANNED: [(&str, &str); 3] = [
    ("amqp", "rabbitmq"),
    ("amqps", "rabbitmq"),
    ("supabase+https", "supabase"),
];

/// The adapters of this build. A scheme that is not in it names the feature that would add it.
pub fn registry() -> Registry {
    let registry = PLANNED
        .into_iter()
        .fold(Registry::new(), |registry, (scheme, feature)| {
            registry.absent(scheme, feature)
        });
    rocketmq(dragonfly(sqlite(memory(http(registry)))))
}

#[cfg(feature = "http")]
fn http(registry: Registry) -> Registry {
    registry.with(statehouse_http::HttpFactory)
}

#[cfg(not(feature = "http"))]
fn http(registry: Registry) -> Registry {
    registry.absent("http", "http").absent("https", "tls")
}

/// The trio behind the service at `endpoint`.
///
/// # Errors
/// [`Unsupported`](statehouse_contracts::ErrorKind::Unsupported) where it has none; so below.
#[cfg(feature = "http")]
pub async fn trio_of_service(endpoint: &Endpoint, scope: &Scope) -> Result<TrioStatusDoc> {
    let service = statehouse_http::Service::open(endpoint, scope).await?;
    service.trio().await
}

/// Restores a state by the trio behind the service at `endpoint`; answers its version.
///
/// # Errors
/// Those of the service.
#[cfg(feature = "http")]
pub async fn restore_by_service(
    endpoint: &Endpoint,
    scope: &Scope,
    key: &StateKey,
    when: Precondition,
) -> Result<Version> {
    let service = statehouse_http::Service::open(endpoint, scope).await?;
    service.restore(key, when).await
}

/// The trio behind a service, which this build cannot reach.
///
/// # Errors
/// [`Unsupported`](statehouse_contracts::ErrorKind::Unsupported), always; so below.
#[cfg(not(feature = "http"))]
pub async fn trio_of_service(_: &Endpoint, _: &Scope) -> Result<TrioStatusDoc> {
    Err(Error::unsupported(
        "a build without the feature http",
        "trio",
    ))
}

/// Restores a state by the trio behind a service, which this build cannot reach.
///
/// # Errors
/// As above.
#[cfg(not(feature = "http"))]
pub async fn restore_by_service(
    _: &Endpoint,
    _: &Scope,
    _: &StateKey,
    _: Precondition,
) -> Result<Version> {
    Err(Error::unsupported(
        "a build without the feature http",
        "restore",
    ))
}

#[cfg(feature = "memory")]
fn memory(registry: Registry) -> Registry {
    registry.with(statehouse_memory::Memory)
}

#[cfg(not(feature = "memory"))]
fn memory(registry: Registry) -> Registry {
    registry.absent("memory", "memory")
}

#[cfg(feature = "sqlite")]
fn sqlite(registry: Registry) -> Registry {
    registry.with(statehouse_sqlite::SqliteFactory)
}

#[cfg(not(feature = "sqlite"))]
fn sqlite(registry: Registry) -> Registry {
    registry.absent("sqlite", "sqlite")
}

#[cfg(feature = "dragonfly")]
fn dragonfly(registry: Registry) -> Registry {
    registry.with(statehouse_dragonfly::DragonflyFactory)
}

#[cfg(not(feature = "dragonfly"))]
fn dragonfly(registry: Registry) -> Registry {
    [
        "dragonfly",
        "dragonflys",
        "redis",
        "rediss",
        "valkey",
        "valkeys",
    ]
    .into_iter()
    .fold(registry, |registry, scheme| {
        registry.absent(scheme, "dragonfly")
    })
}

#[cfg(feature = "rocketmq")]
fn rocketmq(registry: Registry) -> Registry {
    registry.with(statehouse_rocketmq::RocketmqFactory)
}

#[cfg(not(feature = "rocketmq"))]
fn rocketmq(registry: Registry) -> Registry {
    registry.absent("rocketmq", "rocketmq")
}

#[cfg(test)]
mod tests {
    use statehouse_contracts::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn a_scheme_of_another_build_names_its_feature() {
        for (url, feature) in [
            ("amqps://host/vhost", "--features rabbitmq"),
            #[cfg(not(feature = "dragonfly"))]
            ("redis://host:6379/0", "--features dragonfly"),
            #[cfg(not(feature = "rocketmq"))]
            ("rocketmq://host:9876", "--features rocketmq"),
            ("supabase+https://ref.supabase.co", "--features supabase"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            let error = registry().open(&endpoint).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(feature), "{error}");
        }
    }

    #[cfg(any(feature = "dragonfly", feature = "rocketmq"))]
    #[tokio::test]
    async fn a_server_that_is_not_there_is_unavailable_at_once() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = nobody.local_addr().unwrap().port();
        drop(nobody);
        let urls = [
            #[cfg(feature = "dragonfly")]
            "valkey",
            #[cfg(feature = "rocketmq")]
            "rocketmq",
        ];
        for scheme in urls {
            let endpoint = Endpoint::parse(&format!("{scheme}://127.0.0.1:{port}")).unwrap();
            let error = registry().open(&endpoint).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        }
    }

    #[test]
    fn a_url_that_says_so_itself_keeps_its_parameters() {
        let (registry, parameters) = (registry(), [("quota", "7".to_owned())]);
        let tuned = |url: &str| {
            let endpoint = Endpoint::parse(url).unwrap();
            registry.tuned(&endpoint, &parameters).to_string()
        };
        #[cfg(feature = "memory")]
        assert_eq!(tuned("memory:"), "memory:?quota=7");
        #[cfg(feature = "memory")]
        assert_eq!(tuned("memory:?quota=9"), "memory:?quota=9");
        #[cfg(feature = "sqlite")]
        assert_eq!(tuned("sqlite:a.db"), "sqlite:a.db?quota=7");
        #[cfg(feature = "dragonfly")]
        assert_eq!(tuned("redis://h/0"), "redis://h/0?quota=7");
        assert_eq!(tuned("amqp://h/v"), "amqp://h/v");
        assert_eq!(tuned("rocketmq://h"), "rocketmq://h");
    }
}
