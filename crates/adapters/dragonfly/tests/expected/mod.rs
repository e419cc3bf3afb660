//! What the adapter is expected to do on a server of this durability.

use std::time::Duration;

use statehouse_conformance::Expected;
use statehouse_contracts::{
    AdminCapability, ConsumerCapability, Durability, Fencing, KeyBlocking, ProducerCapability,
    ReferenceCapability, StateCapability, TaskCapability, Wake,
};

pub(crate) fn expected(durability: Durability) -> Expected {
    Expected {
        producer: Some(producer(durability)),
        consumer: Some(consumer(durability)),
        state: Some(state(durability)),
        tasks: Some(tasks(durability)),
        references: Some(references(durability)),
    }
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
        ack_confirmed: durability.process_kill,
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
