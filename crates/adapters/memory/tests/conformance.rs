//! The conformance suite on the in-memory adapter.

use std::process::ExitCode;
use std::time::Duration;

use statehouse_conformance::{Expected, Place, Setup};
use statehouse_contracts::{
    AdminCapability, ConsumerCapability, Durability, Fencing, KeyBlocking, ProducerCapability,
    ReferenceCapability, StateCapability, TaskCapability, Wake,
};
use statehouse_memory::Memory;

const MIB: usize = 1024 * 1024;
const MINUTE: Duration = Duration::from_secs(60);
const PRECISION: Duration = Duration::from_millis(2);
const MIN_LEASE: Duration = Duration::from_millis(1);
const MAX_LEASE: Duration = Duration::from_secs(24 * 3600);

const PRODUCER: ProducerCapability = ProducerCapability {
    durability: Durability::NONE,
    max_payload: MIB,
    max_headers: 64,
    max_header_bytes: 8 * 1024,
    max_batch: 1_000,
    dedup_window: Some(MINUTE.saturating_mul(10)),
    max_delay: Some(Duration::from_secs(365 * 24 * 3600)),
    delay_precision: PRECISION,
    cancel: true,
    routed: true,
    require_route: true,
    ttl: true,
};

const CONSUMER: ConsumerCapability = ConsumerCapability {
    durability: Durability::NONE,
    max_receive: 1_000,
    fencing: Fencing::Server,
    ack_confirmed: true,
    settle_anywhere: true,
    min_lease: MIN_LEASE,
    max_lease: MAX_LEASE,
    redelivery_lag: Duration::ZERO,
    wake: Wake::Push,
    start_earliest: true,
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
};

const STATE: StateCapability = StateCapability {
    durability: Durability::NONE,
    max_data: 16 * MIB,
    max_writes: 1_000,
    max_message: MIB,
    max_page: 1_000,
    dedup_window: MINUTE.saturating_mul(10),
    expiry_lag: Duration::from_secs(1),
    import_export: true,
    deliver_local: true,
    wake: Wake::Push,
};

const TASKS: TaskCapability = TaskCapability {
    durability: Durability::NONE,
    max_payload: MIB,
    max_push: 1_000,
    max_claim: 1_000,
    max_nesting: 64,
    min_lease: MIN_LEASE,
    max_lease: MAX_LEASE,
    fencing: Fencing::Server,
    redelivery_lag: Duration::ZERO,
    delay_precision: PRECISION,
    retention: MINUTE.saturating_mul(60),
    wake: Wake::Push,
};

const REFERENCES: ReferenceCapability = ReferenceCapability {
    durability: Durability::NONE,
    max_content: 256 * MIB,
    ttl: true,
    gzip: true,
    zstd: true,
    lz4: true,
    ranges: true,
    quota: None,
};

fn main() -> ExitCode {
    let expected = Expected {
        producer: Some(PRODUCER),
        consumer: Some(CONSUMER),
        state: Some(STATE),
        tasks: Some(TASKS),
        references: Some(REFERENCES),
    };
    Setup::new(Memory, expected)
        .places(|| Ok(Place::new("memory:")))
        .quota(|| Ok(Place::new("memory:?quota=1048576")))
        .main()
}
