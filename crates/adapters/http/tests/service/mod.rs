//! Services that run beside the tests, as in processes of their own.

use std::future::Future;
use std::sync::{Arc, LazyLock, mpsc};

use async_trait::async_trait;
use statehouse_contracts::{
    Backend, BackendInfo, Endpoint, Error, Factory, Namespace, Registry, Result,
};
use statehouse_runtime::config::{Environment, Override, Sources, load};
use statehouse_runtime::serve::Service;
use tokio::runtime::{Builder, Runtime};

/// What the services run on. It lives as long as the tests.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .enable_all()
        .thread_name("service");
    builder.build().expect("threads can be started")
});

/// Runs what starts services where they run, and waits for it.
pub(crate) fn start<T, F, Fut>(run: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<T>> + Send,
{
    let (sender, receiver) = mpsc::channel();
    RUNTIME.spawn(async move {
        // Who started it waits for it.
        let _ = sender.send(run().await);
    });
    let started = receiver.recv();
    started.map_err(|_| Error::internal("a service panicked while it started"))?
}

/// Opens a service with these values of its configuration, and these adapters; it runs as long as
/// the tests. Answers its URL.
pub(crate) async fn serve(
    values: &[(&str, &str)],
    adapters: (impl Factory + 'static, impl Factory + 'static),
) -> Result<String> {
    let listen = [("server.listen", "127.0.0.1:0")];
    let values = listen.iter().chain(values);
    let sources = Sources {
        file: None,
        directory: std::env::temp_dir().join("statehouse-has-no-such-folder"),
        environment: Environment::default(),
        overrides: values
            .map(|(key, value)| Override::new(*key, *value, "--test"))
            .collect(),
    };
    let loaded = load(&sources).map_err(|problems| Error::invalid(problems.to_string()))?;
    let registry = Registry::new().with(adapters.0).with(adapters.1);
    let service = Service::open(loaded.config, &registry, Vec::new(), None).await?;
    let url = format!("http://{}", service.address());
    tokio::spawn(service.run(std::future::pending()));
    Ok(url)
}

/// Opens `the:` backend.
#[derive(Debug)]
pub(crate) struct The(pub(crate) Arc<dyn Backend>);

#[async_trait]
impl Factory for The {
    fn name(&self) -> &'static str {
        "the"
    }
    fn schemes(&self) -> &'static [&'static str] {
        &["the"]
    }
    async fn open(&self, _: &Endpoint) -> Result<Arc<dyn Backend>> {
        Ok(Arc::clone(&self.0))
    }
}

/// Opens `nothing:`, a backend without roles.
#[derive(Debug)]
pub(crate) struct Nothing;

#[async_trait]
impl Factory for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }
    fn schemes(&self) -> &'static [&'static str] {
        &["nothing"]
    }
    async fn open(&self, _: &Endpoint) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Nothing))
    }
}

#[async_trait]
impl Backend for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }
    async fn info(&self) -> Result<BackendInfo> {
        Ok(BackendInfo {
            name: "nothing",
            server: "nothing".to_owned(),
            facts: Vec::new(),
        })
    }
    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        Ok(Vec::new())
    }
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
