//! The adapters of this build: the one place that knows which there are.

use statehouse_contracts::{Endpoint, Registry};

/// Schemes that this version has no adapter for yet, and the feature each will come with.
const PLANNED: [(&str, &str); 8] = [
    ("rocketmq", "rocketmq"),
    ("amqp", "rabbitmq"),
    ("amqps", "rabbitmq"),
    ("dragonfly", "dragonfly"),
    ("dragonflys", "dragonfly"),
    ("redis", "dragonfly"),
    ("rediss", "dragonfly"),
    ("supabase+https", "supabase"),
];

/// Schemes whose URLs take the parameters that [`tuned`] sets.
const TUNABLE: [&str; 2] = ["sqlite", "memory"];

/// The adapters of this build. A scheme that is not in it names the feature that would add it.
pub fn registry() -> Registry {
    let registry = PLANNED
        .into_iter()
        .fold(Registry::new(), |registry, (scheme, feature)| {
            registry.absent(scheme, feature)
        });
    sqlite(memory(http(registry)))
}

#[cfg(feature = "http")]
fn http(registry: Registry) -> Registry {
    registry.with(statehouse_http::HttpFactory)
}

#[cfg(not(feature = "http"))]
fn http(registry: Registry) -> Registry {
    registry.absent("http", "http").absent("https", "tls")
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

/// `endpoint` with these parameters where its adapter takes them and the URL does not say
/// otherwise.
pub fn tuned(endpoint: &Endpoint, parameters: &[(&str, String)]) -> Endpoint {
    if !TUNABLE.contains(&endpoint.scheme()) {
        return endpoint.clone();
    }
    parameters
        .iter()
        .fold(endpoint.clone(), |endpoint, (name, value)| {
            endpoint.with_default(name, value)
        })
}

#[cfg(test)]
mod tests {
    use statehouse_contracts::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn a_scheme_of_another_build_names_its_feature() {
        for (url, feature) in [
            ("amqps://host/vhost", "--features rabbitmq"),
            ("redis://host:6379/0", "--features dragonfly"),
            ("supabase+https://ref.supabase.co", "--features supabase"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            let error = registry().open(&endpoint).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(feature), "{error}");
        }
    }

    #[test]
    fn a_url_that_says_so_itself_keeps_its_parameters() {
        let parameters = [("quota", "7".to_owned())];
        let tuned = |url: &str| tuned(&Endpoint::parse(url).unwrap(), &parameters).to_string();
        assert_eq!(tuned("memory:"), "memory:?quota=7");
        assert_eq!(tuned("memory:?quota=9"), "memory:?quota=9");
        assert_eq!(tuned("amqp://h/v"), "amqp://h/v");
    }
}
