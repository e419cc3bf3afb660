//! Work that goes on beside the tests, in a runtime of its own: a test's runtime ends with the
//! test, and connections to Docker or through a proxy with it.

use std::future::Future;
use std::sync::OnceLock;

use statehouse_contracts::{Error, Result};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::result::Result<Runtime, String>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("fixture")
            .enable_all()
            .build()
            .map_err(|error| format!("no runtime could be started: {error}"))
    });
    match made {
        Ok(runtime) => Ok(runtime),
        Err(message) => Err(Error::internal(message.clone())),
    }
}

/// Runs `work` there, from any runtime.
pub(crate) async fn run<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let ended = runtime()?.spawn(work).await;
    ended.unwrap_or_else(|error| Err(Error::internal(format!("the fixture failed: {error}"))))
}

/// Runs `work` there, from a thread that belongs to no runtime.
pub(crate) fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    runtime()?.block_on(work)
}

/// Starts `work` there.
pub(crate) fn start(work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    runtime()?.spawn(work);
    Ok(())
}
