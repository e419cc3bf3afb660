//! The conformance suite on SQLite, each backend in a file of its own.

use std::{process::ExitCode, time::Duration};

use statehouse_conformance::{Expected, Place, Setup};
use statehouse_contracts::{
    AdminCapability, ConsumerCapability, Durability, Error, Fencing, KeyBlocking,
    ProducerCapability, Result, StateCapability, Wake,
};
use statehouse_sqlite::SqliteFactory;

/// How often a waiting call looks for what other processes committed.
const WAKE: Wake = Wake::Poll(Duration::from_millis(25));

fn main() -> ExitCode {
    let expected = Expected {
        producer: Some(producer()),
        consumer: Some(consumer()),
        state: Some(state()),
        ..Expected::default()
    };
    Setup::new(SqliteFactory, expected)
        .places(|| file(""))
        .persistent()
        .main()
}

/// A new file in a folder that lives as long as the place.
fn file(parameters: &str) -> Result<Place> {
    let folder = tempfile::tempdir()
        .map_err(|error| Error::internal("cannot make a folder").with_source(error))?;
    let path = folder.path().join("statehouse.db");
    Ok(Place::new(format!("sqlite:{}{parameters}", path.display())).keep(folder))
}

fn producer() -> ProducerCapability {
    ProducerCapability {
        durability: Durability::DISK,
        max_payload: 1 << 20,
        max_headers: 64,
        max_header_bytes: 8 << 10,
        max_batch: 4096,
        dedup_window: Some(Duration::from_secs(3600)),
        max_delay: Some(Duration::from_secs(10 * 365 * 24 * 3600)),
        delay_precision: Duration::from_millis(50),
        cancel: true,
        routed: true,
        require_route: true,
        ttl: true,
    }
}

fn consumer() -> ConsumerCapability {
    ConsumerCapability {
        durability: Durability::DISK,
        max_receive: 1024,
        fencing: Fencing::Server,
        ack_confirmed: true,
        settle_anywhere: true,
        min_lease: Duration::from_millis(10),
        max_lease: Duration::from_secs(7 * 24 * 3600),
        redelivery_lag: Duration::from_millis(50),
        wake: WAKE,
        start_earliest: false,
        priorities: 10,
        strict_priorities: true,
        ordering_keys: true,
        keys_with_priorities: true,
        key_blocking: KeyBlocking::Key,
        nack_delay: true,
        drop_counts_no_attempt: true,
        overflow_reject: true,
        overflow_drop_oldest: true,
        expired_dead_letters: true,
        broadcast: true,
        max_retention: None,
        admin: AdminCapability {
            list: true,
            pause: true,
            delete: true,
            counts: true,
            counts_exact: true,
            oldest_age: true,
            peek: true,
            dead_letters: true,
            redrive: true,
            purge: true,
        },
    }
}

fn state() -> StateCapability {
    StateCapability {
        durability: Durability::DISK,
        max_data: 16 << 20,
        max_writes: 1000,
        max_message: 1 << 20,
        max_page: 1000,
        dedup_window: Duration::from_secs(24 * 3600),
        expiry_lag: Duration::from_secs(5),
        import_export: true,
        deliver_local: true,
        wake: WAKE,
    }
}
