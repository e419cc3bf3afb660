//! The conformance suite on Redis, Valkey and, where its image can be had, Dragonfly.

use std::process::ExitCode;
use std::time::Duration;

use fred::interfaces::{ClientLike, HashesInterface};
use statehouse_conformance::{Damage, Expected, Setup};
use statehouse_contracts::{
    AdminCapability, ConsumerCapability, Durability, Error, Fencing, KeyBlocking,
    ProducerCapability, ReferenceCapability, Result, StateCapability, TaskCapability, Wake,
};
use statehouse_dragonfly::DragonflyFactory;
use statehouse_integration_tests::{Service, conformance};

fn main() -> ExitCode {
    conformance("dragonfly", |service| {
        // Its scripts verify the keys they touch, as Dragonfly and clusters do.
        Setup::new(DragonflyFactory, expected(service))
            .opened_with("check_keys=true")
            .persistent()
            .cache()
            .quota_by("quota=1048576")
            .damage(|damage| Box::pin(flip(damage)))
    })
}

fn expected(service: &Service) -> Expected {
    let durability = match service.name() {
        // Snapshots are all it has.
        "dragonfly" => Durability::NONE,
        _ => Durability::DISK,
    };
    Expected {
        producer: Some(producer(durability)),
        consumer: Some(consumer(durability)),
        state: Some(state(durability)),
        tasks: Some(tasks(durability)),
        references: Some(references(durability)),
    }
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

fn tasks(durability: Durability) -> TaskCapability {
    TaskCapability {
        durability,
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

fn references(durability: Durability) -> ReferenceCapability {
    ReferenceCapability {
        durability,
        max_content: 256 << 20,
        ttl: true,
        gzip: true,
        zstd: true,
        lz4: true,
        ranges: true,
        quota: None,
    }
}

fn state(durability: Durability) -> StateCapability {
    StateCapability {
        durability,
        max_data: 16 << 20,
        max_writes: 1000,
        max_message: 1 << 20,
        max_page: 1000,
        dedup_window: Duration::from_secs(24 * 3600),
        expiry_lag: Duration::from_secs(5),
        import_export: true,
        deliver_local: true,
        wake: Wake::Push,
    }
}

fn producer(durability: Durability) -> ProducerCapability {
    ProducerCapability {
        durability,
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

fn consumer(durability: Durability) -> ConsumerCapability {
    ConsumerCapability {
        durability,
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
