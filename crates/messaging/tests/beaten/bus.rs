//! The bus.

use std::time::Duration;

use statehouse_contracts::{ErrorKind, Message, Pattern};
use statehouse_messaging::{Bus, BusFilter, Published, Subscribe};

use crate::world::*;

fn all(agent: &str) -> Subscribe {
    Subscribe::new(agent, Pattern::ALL)
}

/// Publishing sent into channels that a close had closed: it panicked within 3,000 rounds of open,
/// publish and close.
#[test]
fn bb3_publish_against_close() {
    for _ in 0..3_000 {
        let bus = Bus::default();
        let _subscriptions = ["a", "b", "c"].map(|agent| bus.subscribe(all(agent)).unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| bus.close());
            let refused = loop {
                match bus.publish(message("t", text("x"))) {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(refused.kind(), ErrorKind::Closed);
        });
    }
}

/// `ttl_seconds` was never looked at: an hour-old message with a ttl of 1 s was delivered.
#[tokio::test(start_paused = true)]
async fn bb9_the_ttl_of_the_bus_is_kept() {
    let bus = Bus::default();
    let mut heard = bus.subscribe(all("a")).unwrap();
    let brief = Message {
        ttl: Some(Duration::from_secs(1)),
        ..message("t", text("brief"))
    };
    bus.publish(brief.clone()).unwrap();
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(heard.try_recv().is_none(), "it is an hour old");
    bus.publish(brief).unwrap();
    assert_eq!(body(&heard.try_recv().unwrap()), "brief", "in time");
}

/// `min_size` and `max_size` were ignored: one byte passed a minimum of 1 MB.
#[test]
fn bb9_filters_by_size_filter() {
    let bus = Bus::default();
    let sized = |min_size, max_size| Subscribe {
        filter: BusFilter {
            min_size,
            max_size,
            ..BusFilter::default()
        },
        ..all("a")
    };
    let mut large = bus.subscribe(sized(Some(1_000_000), None)).unwrap();
    let mut small = bus.subscribe(sized(None, Some(10))).unwrap();
    let to_one = Published {
        delivered: 1,
        dropped: 0,
    };
    assert_eq!(bus.publish(message("t", text("1"))).unwrap(), to_one);
    assert!(large.try_recv().is_none());
    assert!(small.try_recv().is_some());
    let much = text("x".repeat(1_000_000));
    assert_eq!(bus.publish(message("t", much)).unwrap(), to_one);
    assert!(large.try_recv().is_some());
    assert!(small.try_recv().is_none());
}
