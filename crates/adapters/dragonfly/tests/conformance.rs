//! The conformance suite on the server at `TEST_DRAGONFLY_URL`.

use std::process::ExitCode;
use std::time::Duration;

use fred::interfaces::{ClientLike, HashesInterface};
use statehouse_conformance::{Damage, Expected, Place, Setup};
use statehouse_contracts::{
    AdminCapability, ConsumerCapability, Durability, Error, Fencing, KeyBlocking,
    ProducerCapability, ReferenceCapability, Result, StateCapability, TaskCapability, Wake,
};
use statehouse_dragonfly::DragonflyFactory;

fn main() -> ExitCode {
    let expected = Expected {
        producer: Some(producer()),
        consumer: Some(consumer()),
        state: Some(state()),
        tasks: Some(tasks()),
        references: Some(references()),
    };
    Setup::new(DragonflyFactory, expected)
        .places(|| place(""))
        .persistent()
        .quota(|| place("&quota=1048576"))
        .damage(|damage| Box::pin(flip(damage)))
        .main()
}

/// The server, with scripts that verify the keys they touch, as Dragonfly and clusters do.
fn place(parameters: &str) -> Result<Place> {
    let url = std::env::var("TEST_DRAGONFLY_URL")
        .map_err(|_| Error::invalid("TEST_DRAGONFLY_URL is not set"))?;
    let mark = if url.contains('?') { '&' } else { '?' };
    Ok(Place::new(format!(
        "{url}{mark}check_keys=true{parameters}"
    )))
}

/// Flips a bit of stored content through a connection of its own.
async fn flip(damage: Damage) -> Result<()> {
    const CHUNK: u64 = 64 * 1024;
    /// What a stored chunk begins with: its plain length and its checksum.
    const HEADER: usize = 12;
    let key = format!("sh:{{{}}}:r:chunks:{}", damage.namespace, damage.id);
    let (field, at) = (damage.at / CHUNK, HEADER + (damage.at % CHUNK) as usize);
    let run = async {
        let url = damage.place.url().split('?').next().unwrap_or_default();
        let client = fred::clients::Client::new(
            fred::types::config::Config::from_url(url)?,
            None,
            None,
            None,
        );
        client.init().await?;
        let mut stored: Vec<u8> = client.hget(&key, field.to_string()).await?;
        stored[at] ^= 1;
        let damaged = bytes::Bytes::from(stored);
        client
            .hset::<(), _, _>(&key, (field.to_string(), damaged))
            .await?;
        client.quit().await
    };
    run.await.map_err(|error: fred::error::Error| {
        Error::internal("cannot damage the content").with_source(error.to_string())
    })
}

fn tasks() -> TaskCapability {
    TaskCapability {
        durability: Durability::DISK,
        max_payload: 1 << 20,
        max_push: 1000,
        max_claim: 256,
        max_nesting: 64,
        min_lease: Duration::from_millis(500),
        max_lease: Duration::from_secs(24 * 3600),
        fencing: Fencing::Server,
        redelivery_lag: Duration::from_millis(50),
        delay_precision: Duration::from_millis(50),
        retention: Duration::from_secs(7 * 24 * 3600),
        wake: Wake::Push,
    }
}

fn references() -> ReferenceCapability {
    ReferenceCapability {
        durability: Durability::DISK,
        max_content: 256 << 20,
        ttl: true,
        gzip: true,
        zstd: true,
        lz4: true,
        ranges: true,
        quota: None,
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
        deliver_local: false,
        wake: Wake::Push,
    }
}

fn producer() -> ProducerCapability {
    ProducerCapability {
        durability: Durability::DISK,
        max_payload: 1 << 20,
        max_headers: 64,
        max_header_bytes: 8 << 10,
        max_batch: 4096,
        dedup_window: Some(Duration::from_secs(600)),
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
        wake: Wake::Push,
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
