//! Large content.

use std::{future::Future, sync::Arc};

use super::{Settings, rates, rounds, waits};
use crate::{
    Result,
    bare::BareReferences,
    load::Run,
    store::Store,
    table::{Row, Section},
};

const BARE: &str = "bare rusqlite";

/// Contents that are there to resolve.
const CONTENTS: usize = 100;

pub(super) async fn run(settings: &Settings) -> Result<Section> {
    let (store, bare) = (Store::open("").await?, BareReferences::open()?);
    let put = puts(settings, 1, &store, &bare).await?;
    let crowd = puts(settings, settings.callers(64), &store, &bare).await?;
    let resolve = resolves(settings, &store, &bare).await?;
    store.close().await?;
    let rows: Vec<Row> = vec![
        waits("1 caller, p50 of a put", BARE, &put, 0.5),
        rates("64 callers, puts", BARE, &crowd),
        waits("1 caller, p50 of a resolve", BARE, &resolve, 0.5),
    ];
    Ok(Section {
        title: "Large content",
        about: "10 KiB of random bytes, new each time, without compression; on both sides with \
                their SHA-256, a holder, and a checked hash when resolved."
            .to_owned(),
        rows,
    })
}

async fn puts(
    settings: &Settings,
    callers: u64,
    store: &Store,
    bare: &BareReferences,
) -> Result<[Vec<Run>; 2]> {
    let (store, bare) = (store.clone(), bare.clone());
    let ours = move |_, _| {
        let store = store.clone();
        async move { store.put_content().await.map(|_| ()) }
    };
    let other = move |_, _| {
        let bare = bare.clone();
        async move { bare.put().await.map(|_| ()) }
    };
    rounds(settings, callers, ours, other).await
}

async fn resolves(
    settings: &Settings,
    store: &Store,
    bare: &BareReferences,
) -> Result<[Vec<Run>; 2]> {
    let ids = collect(|| store.put_content()).await?;
    let digests = collect(|| bare.put()).await?;
    let (store, bare) = (store.clone(), bare.clone());
    let ours = move |_, turn| {
        let (store, ids) = (store.clone(), Arc::clone(&ids));
        async move { store.resolve(&ids[turn as usize % CONTENTS]).await }
    };
    let other = move |_, turn| {
        let (bare, digests) = (bare.clone(), Arc::clone(&digests));
        async move { bare.resolve(digests[turn as usize % CONTENTS]).await }
    };
    rounds(settings, 1, ours, other).await
}

async fn collect<T, R>(mut put: impl FnMut() -> R) -> Result<Arc<[T]>>
where
    R: Future<Output = Result<T>>,
{
    let mut ids = Vec::with_capacity(CONTENTS);
    for _ in 0..CONTENTS {
        ids.push(put().await?);
    }
    Ok(ids.into())
}
