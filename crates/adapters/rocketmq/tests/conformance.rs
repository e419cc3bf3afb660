//! The conformance suite on a broker of its own, or on the one behind `TEST_ROCKETMQ_URL`.

use std::process::ExitCode;
use std::time::Duration;

use statehouse_conformance::{Expected, Setup};
use statehouse_contracts::{
    AdminCapability, ConsumerCapability, Durability, Fencing, KeyBlocking, ProducerCapability, Wake,
};
use statehouse_integration_tests::conformance;
use statehouse_rocketmq::RocketmqFactory;

fn main() -> ExitCode {
    let expected = Expected {
        producer: Some(producer()),
        consumer: Some(consumer()),
        ..Expected::default()
    };
    conformance("rocketmq", |_| {
        Setup::new(RocketmqFactory, expected).persistent()
    })
}

fn producer() -> ProducerCapability {
    ProducerCapability {
        durability: Durability::PROCESS,
        max_payload: 4_063_232,
        max_headers: 64,
        max_header_bytes: 8 * 1024,
        max_batch: 1_000,
        dedup_window: None,
        max_delay: Some(Duration::from_secs(3 * 24 * 3600)),
        delay_precision: Duration::from_millis(400),
        cancel: true,
        routed: false,
        require_route: false,
        ttl: true,
    }
}

fn consumer() -> ConsumerCapability {
    ConsumerCapability {
        durability: Durability::PROCESS,
        max_receive: 32,
        fencing: Fencing::Client,
        ack_confirmed: false,
        settle_anywhere: true,
        min_lease: Duration::from_millis(500),
        max_lease: Duration::from_secs(12 * 3600),
        redelivery_lag: Duration::from_secs(2),
        wake: Wake::Push,
        start_earliest: true,
        priorities: 10,
        strict_priorities: true,
        equal_priorities: false,
        ordering_keys: true,
        keys_with_priorities: false,
        key_blocking: KeyBlocking::Queue,
        nack_delay: true,
        drop_counts_no_attempt: false,
        overflow_reject: false,
        overflow_drop_oldest: false,
        expired_dead_letters: true,
        broadcast: true,
        max_retention: Some(Duration::from_secs(72 * 3600)),
        admin: AdminCapability {
            list: true,
            pause: true,
            delete: true,
            counts: true,
            counts_exact: false,
            oldest_age: true,
            peek: true,
            dead_letters: true,
            redrive: true,
            purge: false,
        },
    }
}
