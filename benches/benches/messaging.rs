//! Messaging in one process: the bus beside tokio's broadcast channel, decisions, shared memory, and
//! what a messenger adds to the memory adapter.
//!
//! ```sh
//! cargo bench -p statehouse-benches --bench messaging
//! ```

use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use statehouse_benches::{
    Result,
    messaging::{self, Timed},
};

fn bench(criterion: &mut Criterion, group: &str, id: BenchmarkId, mut timed: Timed) -> Result<()> {
    let mut failed = None;
    criterion
        .benchmark_group(group)
        .bench_function(id, |bencher| {
            bencher.iter_custom(|times| {
                timed(times).unwrap_or_else(|error| {
                    failed = Some(error);
                    Duration::MAX
                })
            });
        });
    failed.map_or(Ok(()), Err)
}

fn main() -> Result<()> {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    let criterion = &mut criterion;
    for subscribers in [1_u64, 10, 100] {
        let sides = [
            ("broadcast", messaging::broadcast(subscribers)?),
            ("bus", messaging::bus(subscribers)?),
            (
                "bus, message made for it",
                messaging::bus_making_messages(subscribers)?,
            ),
        ];
        for (name, timed) in sides {
            let id = BenchmarkId::new(name, subscribers);
            bench(criterion, "publish 1 KiB", id, timed)?;
        }
    }
    let id = BenchmarkId::from_parameter("10,000 subscriptions");
    bench(criterion, "match", id, messaging::matching()?)?;
    for kind in [None, Some("session_state"), Some("anything_else")] {
        let id = BenchmarkId::new("bytes", kind.unwrap_or("no kind"));
        bench(criterion, "policy", id, messaging::place_bytes(kind)?)?;
    }
    for kib in [8, 1024] {
        let id = BenchmarkId::new("JSON, KiB", kib);
        bench(criterion, "policy", id, messaging::place_json(kib)?)?;
    }
    let sides = [
        ("dashmap", messaging::bare_map()?),
        ("peek", messaging::peek()?),
    ];
    for (name, timed) in sides {
        let id = BenchmarkId::from_parameter(name);
        bench(criterion, "shared memory, read", id, timed)?;
    }
    let sides = [
        ("memory adapter", messaging::by_hand()?),
        ("messenger", messaging::by_messenger()?),
    ];
    for (name, timed) in sides {
        let id = BenchmarkId::from_parameter(name);
        bench(criterion, "inline send, receive, ack", id, timed)?;
    }
    let id = BenchmarkId::from_parameter("memory adapter");
    bench(criterion, "request and reply", id, messaging::round_trip()?)?;
    criterion.final_summary();
    Ok(())
}
