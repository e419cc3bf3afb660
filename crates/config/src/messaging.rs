//! The sections of what agents say to each other.

use std::num::NonZeroUsize;
use std::time::Duration;

use statehouse_contracts::{Backoff, Detail, Error, Expired, Kind, Result};
use statehouse_messaging::{
    self as messaging, BusOptions, BusOverflow, KindLists, MailboxOptions, PolicyConfig,
    UnknownAgent,
};

use super::Config;
use super::schema::{choice, section};
use super::units::ByteSize;

section! {
    /// Payloads by value or by reference.
    Communication at "communication" {
        /// How often content is released that crashes left behind.
        sweep_interval: Duration = "5m",
    }
}

section! {
    /// Which payloads travel by reference because of their size.
    AutoPromote at "communication.auto_promote" {
        /// Whether large payloads travel by reference; if not, kinds without a rule travel by value, whatever their size.
        enabled: bool = "true",
        /// The most bytes that travel by value.
        threshold: ByteSize = "10240",
    }
}

section! {
    /// Which kinds of messages travel by value or by reference, whatever their size.
    Policies at "communication.policies" {
        /// The kinds that always travel by reference.
        always_reference: Vec<Kind> = "session_state,workflow_context,collaboration_state",
        /// The kinds that always travel by value.
        always_value: Vec<Kind> = "control,pattern_ref",
    }
}

choice! {
    /// What happens to mail for an agent that is not known.
    UnknownAgents {
        /// It is taken; nobody asks which agents there are.
        Accept = "accept",
        /// It is refused.
        Refuse = "refuse",
        /// It is taken, and the log tells.
        Hold = "hold",
    }
}

section! {
    /// The promise of mailboxes. Those that were made before under another one are a conflict.
    Mailbox at "mailbox" {
        /// How long a message waits that says nothing of its own.
        ttl: Duration = "24h",
        /// How often a message is delivered again after its first delivery, before it is a dead letter.
        retries: u64 = "3",
        /// For how long a delivery is lent.
        lease: Duration = "30s",
        /// The wait before the first retry; it doubles up to `backoff_cap`, with jitter.
        backoff: Duration = "1s",
        /// The longest wait before a retry.
        backoff_cap: Duration = "5m",
        /// Whether what expires becomes a dead letter instead of being dropped.
        keep_expired: bool = "false",
        /// What happens to mail for an agent without a state record of the kind `agent`.
        unknown_agents: UnknownAgents = "accept",
    }
}

section! {
    /// Requests and their replies.
    Requests at "requests" {
        /// How long a request waits for its reply that names no timeout.
        timeout: Duration = "30s",
        /// How often replies to processes that are gone are taken to the mailbox.
        recover_interval: Duration = "1m",
    }
}

choice! {
    /// What a subscription drops whose buffer is full.
    Overflow {
        /// The message that does not fit.
        DropNewest = "drop_newest",
        /// The oldest one in the buffer.
        DropOldest = "drop_oldest",
    }
}

section! {
    /// Topics inside the service and between services.
    Bus at "bus" {
        /// How many messages a subscription holds that names no number.
        buffer: NonZeroUsize = "100",
        /// What is dropped when that is full.
        overflow: Overflow = "drop_newest",
        /// How long the statistics of a topic are kept after its last message.
        topic_idle: Duration = "5m",
        /// Of how many topics statistics are kept at most.
        max_topics: NonZeroUsize = "10000",
        /// How long the content of a large message is kept for who hears it.
        keep: Duration = "1h",
    }
}

section! {
    /// Values that agents share.
    SharedMemory at "shared_memory" {
        /// How long a value lives that says nothing of its own; none is for ever.
        ttl: Option<Duration> = "",
        /// The largest value; none is what the store takes.
        max_value: Option<ByteSize> = "",
    }
}

/// The sections of messaging.
#[derive(Clone, Debug)]
pub struct Messaging {
    /// `[communication]`
    pub communication: Communication,
    /// `[communication.auto_promote]`
    pub auto_promote: AutoPromote,
    /// `[communication.policies]`
    pub policies: Policies,
    /// `[mailbox]`
    pub mailbox: Mailbox,
    /// `[requests]`
    pub requests: Requests,
    /// `[bus]`
    pub bus: Bus,
    /// `[shared_memory]`
    pub shared_memory: SharedMemory,
}

impl Messaging {
    pub(super) const KEYS: [&'static [super::Key]; 7] = [
        Communication::KEYS,
        AutoPromote::KEYS,
        Policies::KEYS,
        Mailbox::KEYS,
        Requests::KEYS,
        Bus::KEYS,
        SharedMemory::KEYS,
    ];

    pub(super) fn read(reader: &mut super::schema::Reader<'_>) -> Option<Self> {
        let communication = Communication::read(reader, "communication");
        let auto_promote = AutoPromote::read(reader, "communication.auto_promote");
        let policies = Policies::read(reader, "communication.policies");
        let mailbox = Mailbox::read(reader, "mailbox");
        let requests = Requests::read(reader, "requests");
        let bus = Bus::read(reader, "bus");
        let shared_memory = SharedMemory::read(reader, "shared_memory");
        Some(Self {
            communication: communication?,
            auto_promote: auto_promote?,
            policies: policies?,
            mailbox: mailbox?,
            requests: requests?,
            bus: bus?,
            shared_memory: shared_memory?,
        })
    }
}

impl SharedMemory {
    /// Checks the size of a value.
    ///
    /// # Errors
    /// [`InvalidArgument`](statehouse_contracts::ErrorKind::InvalidArgument) when it is too large.
    pub fn check(&self, size: usize) -> Result<()> {
        match self.max_value {
            Some(ByteSize(most)) if size as u64 > most => Err(Error::invalid(format!(
                "the value has {size} bytes, at most {most} are allowed"
            ))
            .with_detail(Detail::Limit {
                name: "shared_memory.max_value",
                value: most,
            })),
            _ => Ok(()),
        }
    }
}

impl Config {
    /// The rules by which payloads travel.
    pub fn policy(&self) -> PolicyConfig {
        let Messaging {
            auto_promote,
            policies,
            ..
        } = &self.messaging;
        PolicyConfig {
            auto_promote: messaging::AutoPromote {
                enabled: auto_promote.enabled,
                threshold: auto_promote.threshold.0,
            },
            policies: KindLists {
                always_reference: policies.always_reference.clone(),
                always_value: policies.always_value.clone(),
            },
        }
    }

    /// The promise of mailboxes.
    pub fn mailbox_options(&self) -> MailboxOptions {
        let mailbox = &self.messaging.mailbox;
        let default = MailboxOptions::default();
        MailboxOptions {
            ttl: mailbox.ttl,
            retries: u32::try_from(mailbox.retries).unwrap_or(u32::MAX),
            backoff: Backoff {
                initial: mailbox.backoff,
                max: mailbox.backoff_cap,
                ..default.backoff
            },
            lease: mailbox.lease,
            expired: match mailbox.keep_expired {
                true => Expired::DeadLetter,
                false => Expired::Drop,
            },
            unknown: match mailbox.unknown_agents {
                UnknownAgents::Refuse => UnknownAgent::Refuse,
                UnknownAgents::Accept | UnknownAgents::Hold => UnknownAgent::Hold,
            },
        }
    }

    /// How the bus behaves.
    pub fn bus_options(&self) -> BusOptions {
        let bus = &self.messaging.bus;
        BusOptions {
            buffer: bus.buffer.get(),
            overflow: match bus.overflow {
                Overflow::DropNewest => BusOverflow::DropNewest,
                Overflow::DropOldest => BusOverflow::DropOldest,
            },
            topic_idle: bus.topic_idle,
            max_topics: bus.max_topics.get(),
        }
    }
}
