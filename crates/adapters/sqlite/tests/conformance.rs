//! The conformance suite on SQLite, each backend in a file of its own.

use std::{process::ExitCode, time::Duration};

use rusqlite::Connection;
use statehouse_conformance::{Damage, Expected, Place, Setup};
use statehouse_contracts::{
    AdminCapability, ConsumerCapability, Durability, Error, Fencing, KeyBlocking,
    ProducerCapability, ReferenceCapability, Result, StateCapability, TaskCapability, Wake,
};
use statehouse_sqlite::SqliteFactory;

/// How often a waiting call looks for what other processes committed.
const WAKE: Wake = Wake::Poll(Duration::from_millis(25));

fn main() -> ExitCode {
    let expected = Expected {
        producer: Some(producer()),
        consumer: Some(consumer()),
        state: Some(state()),
        tasks: Some(tasks()),
        references: Some(references()),
    };
    Setup::new(SqliteFactory, expected)
        .places(|| file(""))
        .persistent()
        .quota(|| file("?quota=100000"))
        .damage(|damage| Box::pin(async move { flip(&damage) }))
        .main()
}

/// Flips a bit of stored content through a connection of its own.
fn flip(damage: &Damage) -> Result<()> {
    const CHUNK: u64 = 64 * 1024;
    let path = damage.place.url().trim_start_matches("sqlite:");
    let namespace = damage.namespace.as_str();
    let (id, number, at) = (damage.id.digest(), damage.at / CHUNK, damage.at % CHUNK);
    let (number, at) = (number.cast_signed(), at as usize);
    let run = || -> rusqlite::Result<()> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        let (pos, mut stored): (i64, Vec<u8>) = connection.query_row(
            "SELECT pos, stored FROM ref_chunk WHERE pos = ?3 + (
                 SELECT entry << 20 FROM ref_content
                 WHERE id = ?2 AND ns = (SELECT id FROM namespace WHERE name = ?1)
             )",
            (namespace, id, number),
            |row| row.try_into(),
        )?;
        stored[at] ^= 1;
        let update = "UPDATE ref_chunk SET stored = ?2 WHERE pos = ?1";
        connection.execute(update, (pos, stored)).map(|_| ())
    };
    run().map_err(|error| Error::internal("cannot damage the file").with_source(error))
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
        equal_priorities: true,
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

fn tasks() -> TaskCapability {
    TaskCapability {
        durability: Durability::DISK,
        max_payload: 1 << 20,
        max_push: 1000,
        max_claim: 256,
        max_nesting: 64,
        min_lease: Duration::from_millis(10),
        max_lease: Duration::from_secs(12 * 3600),
        fencing: Fencing::Server,
        redelivery_lag: Duration::from_millis(1100),
        delay_precision: Duration::from_millis(100),
        retention: Duration::from_secs(7 * 24 * 3600),
        wake: WAKE,
    }
}

fn references() -> ReferenceCapability {
    ReferenceCapability {
        durability: Durability::DISK,
        max_content: 64 << 20,
        ttl: true,
        gzip: true,
        zstd: true,
        lz4: true,
        ranges: true,
        quota: None,
    }
}
