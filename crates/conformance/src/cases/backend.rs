//! The backend as a whole.

use statehouse_contracts::{Backend, Error, ErrorKind, Scope};

use crate::case::case;
use crate::{Case, Context, Outcome, ensure, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(it_tells_its_name_and_its_server),
        case!(a_namespace_that_holds_nothing_is_not_listed),
        case!(closing_twice_is_ok),
        case!(racing_closes_are_ok),
        case!(after_closing_it_is_closed),
        case!(closing_it_leaves_another_backend_open),
    ]
}

async fn it_tells_its_name_and_its_server(cx: Context) -> Outcome {
    let backend = cx.backend().await?;
    ensure_eq(backend.name(), cx.adapter(), "the backend's name")?;
    let info = backend.info().await?;
    ensure_eq(info.name, cx.adapter(), "the name in its info")?;
    ensure(!info.server.is_empty(), "it tells what it talks to")
}

async fn a_namespace_that_holds_nothing_is_not_listed(cx: Context) -> Outcome {
    let namespaces = cx.backend().await?.namespaces().await?;
    ensure(
        !namespaces.contains(&cx.scope().namespace),
        "the namespace holds nothing",
    )
}

async fn closing_twice_is_ok(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    instance.backend().close().await?;
    Ok(instance.backend().close().await?)
}

async fn racing_closes_are_ok(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let close = || instance.backend().close();
    let (first, second, third) = tokio::join!(close(), close(), close());
    first?;
    second?;
    Ok(third?)
}

/// The refusal of each role that the adapter has.
async fn refusals(cx: &Context, backend: &dyn Backend) -> Vec<Option<Error>> {
    let (has, scope): (_, &Scope) = (cx.expected(), cx.scope());
    let mut refusals = vec![backend.info().await.err(), backend.namespaces().await.err()];
    if has.producer.is_some() {
        refusals.push(backend.producer(scope).await.err());
    }
    if has.consumer.is_some() {
        refusals.push(backend.consumer(scope).await.err());
    }
    if has.state.is_some() {
        refusals.push(backend.state(scope).await.err());
    }
    if has.tasks.is_some() {
        refusals.push(backend.tasks(scope).await.err());
    }
    if has.references.is_some() {
        refusals.push(backend.references(scope).await.err());
    }
    refusals
}

async fn after_closing_it_is_closed(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    instance.backend().close().await?;
    for refusal in refusals(&cx, &**instance.backend()).await {
        expect_kind(refusal.map_or(Ok(()), Err), ErrorKind::Closed)?;
    }
    Ok(())
}

async fn closing_it_leaves_another_backend_open(cx: Context) -> Outcome {
    let (first, second) = (cx.fresh().await?, cx.fresh().await?);
    first.backend().close().await?;
    second.backend().info().await?;
    Ok(())
}
