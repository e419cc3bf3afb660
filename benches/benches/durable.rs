//! Single operations beside bare rusqlite that does the same work with the same durability.
//!
//! ```sh
//! cargo bench -p statehouse-benches
//! ```

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use statehouse_benches::{
    Result, VALUE,
    bare::{BareQueue, BareReferences, BareState, Ids},
    load::{self, Until},
    queue::Queue,
    store::Store,
};
use tokio::runtime::Runtime;

/// Keys that are there to read have this many versions.
const VERSIONS: u64 = 10;

/// Measures how long `callers` take for as many calls as criterion asks for.
fn measure<F, R>(
    criterion: &mut Criterion,
    runtime: &Runtime,
    [group, side]: [&str; 2],
    callers: u64,
    call: F,
) where
    F: Fn(u64, u64) -> R + Clone + Send + 'static,
    R: Future<Output = Result<()>> + Send + 'static,
{
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::new(side, callers), |bencher| {
        bencher.iter_custom(|calls| {
            let run = runtime.block_on(load::run(callers, Until::Calls(calls), call.clone()));
            let run = run.expect("every call succeeds");
            run.took.mul_f64(calls as f64 / run.waits.count() as f64)
        });
    });
    group.finish();
}

fn puts(criterion: &mut Criterion, runtime: &Runtime) -> Result<()> {
    for callers in [1, 64, 256] {
        let (store, bare) = (runtime.block_on(Store::open(""))?, BareState::open()?);
        let ours = store.clone();
        measure(
            criterion,
            runtime,
            ["put", "statehouse"],
            callers,
            move |caller, turn| {
                let store = ours.clone();
                async move { store.put(caller, turn).await }
            },
        );
        measure(
            criterion,
            runtime,
            ["put", "bare"],
            callers,
            move |caller, turn| {
                let bare = bare.clone();
                async move { bare.put(caller, turn).await }
            },
        );
        runtime.block_on(store.close())?;
    }
    Ok(())
}

fn reads(criterion: &mut Criterion, runtime: &Runtime) -> Result<()> {
    let (store, bare) = (runtime.block_on(Store::open(""))?, BareState::open()?);
    for turn in 0..100 * VERSIONS {
        runtime.block_on(store.put(0, turn))?;
        runtime.block_on(bare.put(0, turn))?;
    }
    let oldest = Arc::new(runtime.block_on(store.oldest())?);
    let limit = VERSIONS as usize;
    let ours = store.clone();
    measure(
        criterion,
        runtime,
        ["get", "statehouse"],
        1,
        move |caller, turn| {
            let store = ours.clone();
            async move { store.get(caller, turn).await }
        },
    );
    let other = bare.clone();
    measure(
        criterion,
        runtime,
        ["get", "bare"],
        1,
        move |caller, turn| {
            let bare = other.clone();
            async move { bare.get(caller, turn).await }
        },
    );
    let ours = store.clone();
    measure(
        criterion,
        runtime,
        ["history", "statehouse"],
        1,
        move |caller, turn| {
            let store = ours.clone();
            async move { store.history(caller, turn, limit).await }
        },
    );
    let other = bare.clone();
    measure(
        criterion,
        runtime,
        ["history", "bare"],
        1,
        move |caller, turn| {
            let bare = other.clone();
            async move { bare.history(caller, turn, limit).await }
        },
    );
    let ours = store.clone();
    measure(
        criterion,
        runtime,
        ["changes", "statehouse"],
        1,
        move |_, _| {
            let (store, oldest) = (ours.clone(), Arc::clone(&oldest));
            async move { store.changes(&oldest, 100).await }
        },
    );
    measure(criterion, runtime, ["changes", "bare"], 1, move |_, _| {
        let bare = bare.clone();
        async move { bare.changes(100).await }
    });
    runtime.block_on(store.close())
}

/// Send, receive and ack of one message, by each caller.
fn messages(criterion: &mut Criterion, runtime: &Runtime) -> Result<()> {
    const NAME: &str = "send, receive, ack";
    for callers in [1, 64] {
        let store = runtime.block_on(Store::open(""))?;
        let bare = BareQueue::open(Ids::Remembered)?;
        let ours = store.clone();
        measure(
            criterion,
            runtime,
            [NAME, "statehouse"],
            callers,
            move |_, _| cycle(ours.clone()),
        );
        measure(criterion, runtime, [NAME, "bare"], callers, move |_, _| {
            cycle(bare.clone())
        });
        runtime.block_on(store.close())?;
    }
    Ok(())
}

async fn cycle<Q: Queue>(queue: Q) -> Result<()> {
    queue.send(Bytes::from_static(&[b'x'; VALUE])).await?;
    // Whichever message is next: there are as many as callers.
    let leased = queue.receive(1).await?;
    queue.ack(leased).await
}

fn references(criterion: &mut Criterion, runtime: &Runtime) -> Result<()> {
    let (store, bare) = (runtime.block_on(Store::open(""))?, BareReferences::open()?);
    let id = runtime.block_on(store.put_content())?;
    let digest = runtime.block_on(bare.put())?;
    let ours = store.clone();
    measure(
        criterion,
        runtime,
        ["reference put", "statehouse"],
        1,
        move |_, _| {
            let store = ours.clone();
            async move { store.put_content().await.map(|_| ()) }
        },
    );
    let other = bare.clone();
    measure(
        criterion,
        runtime,
        ["reference put", "bare"],
        1,
        move |_, _| {
            let bare = other.clone();
            async move { bare.put().await.map(|_| ()) }
        },
    );
    let ours = store.clone();
    measure(
        criterion,
        runtime,
        ["reference resolve", "statehouse"],
        1,
        move |_, _| {
            let store = ours.clone();
            async move { store.resolve(&id).await }
        },
    );
    measure(
        criterion,
        runtime,
        ["reference resolve", "bare"],
        1,
        move |_, _| {
            let bare = bare.clone();
            async move { bare.resolve(digest).await }
        },
    );
    runtime.block_on(store.close())
}

fn main() -> Result<()> {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    let runtime = Runtime::new()?;
    puts(&mut criterion, &runtime)?;
    reads(&mut criterion, &runtime)?;
    messages(&mut criterion, &runtime)?;
    references(&mut criterion, &runtime)?;
    criterion.final_summary();
    Ok(())
}
