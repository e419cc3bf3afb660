//! The HTTP API.

mod access;
mod around;
mod body;
mod changes;
mod extract;
mod followers;
mod groups;
mod headers;
mod history;
mod interrupts;
mod mailboxes;
mod messages;
mod openapi;
mod outbox;
mod problem;
mod range;
mod references;
mod requests;
mod service;
mod shared;
mod stacks;
mod states;
mod suggest;
mod tasks;
mod topics;
mod transactions;
mod trio;

use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use metrics_exporter_prometheus::PrometheusHandle;
use statehouse_config::Token;
use statehouse_contracts::{Bytes, Error, Result};
use utoipa_axum::router::OpenApiRouter;

use crate::app::{App, SharedByAll};

use access::Access;
pub use mailboxes::pending_document;
pub use shared::{document as shared_document, gone as shared_gone, numbers as shared_numbers};
pub use trio::document as trio_document;

/// What every handler works with.
#[derive(Clone, Debug)]
struct Api(SharedByAll<Inner>);

struct Inner {
    app: App,
    access: Access,
    metrics: Option<PrometheusHandle>,
    openapi: Bytes,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}

impl Api {
    fn app(&self) -> &App {
        &self.0.app
    }

    fn access(&self) -> &Access {
        &self.0.access
    }

    /// The largest body of most routes.
    fn body_limit(&self) -> usize {
        let limit = self.app().config().server.body_limit.0;
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// The largest content of a reference.
    fn content_limit(&self) -> usize {
        let references = self.app().capabilities().references;
        references.map_or(self.body_limit(), |references| references.max_content)
    }

    fn max_wait(&self) -> Duration {
        self.app().config().server.max_wait
    }

    /// Runs a call that may wait; when the service shuts down it ends with `nothing` instead.
    async fn waiting<T>(&self, nothing: T, call: impl Future<Output = Result<T>>) -> Result<T> {
        let draining = self.app().draining();
        draining
            .run_until_cancelled(call)
            .await
            .unwrap_or(Ok(nothing))
    }
}

/// The routes over `app`, open to `tokens`, or to everybody without any. `metrics` is what
/// `/metrics` shows.
///
/// # Errors
/// When the description of the routes cannot be written.
pub fn router(app: App, tokens: Vec<Token>, metrics: Option<PrometheusHandle>) -> Result<Router> {
    let (routes, document) = routes().split_for_parts();
    let openapi = openapi::complete(document);
    let openapi = serde_json::to_vec(&openapi).map_err(|error| {
        Error::internal("the description of the routes cannot be written").with_source(error)
    })?;
    let access = Access::new(tokens, app.config().namespaces.default.clone())?;
    let api = Api(SharedByAll::new(Inner {
        app,
        access,
        metrics,
        openapi: openapi.into(),
    }));
    Ok(routes
        .fallback(service::no_route)
        .layer(from_fn_with_state(api.clone(), around::around))
        .with_state(api))
}

/// Every route with its description.
fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::document())
        .merge(states::routes())
        .merge(history::routes())
        .merge(transactions::routes())
        .merge(changes::routes())
        .merge(followers::routes())
        .merge(outbox::routes())
        .merge(stacks::routes())
        .merge(tasks::routes())
        .merge(messages::routes())
        .merge(groups::routes())
        .merge(mailboxes::routes())
        .merge(requests::routes())
        .merge(topics::routes())
        .merge(shared::routes())
        .merge(interrupts::routes())
        .merge(references::routes())
        .merge(trio::routes())
        .merge(service::routes())
}
