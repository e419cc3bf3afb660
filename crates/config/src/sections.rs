//! Every section and key, with its default, unit and meaning.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use statehouse_contracts::{Endpoint, Namespace, Principal};

use super::schema::{choice, section};
use super::units::ByteSize;

section! {
    /// Where and how the HTTP API is served.
    Server at "server" {
        /// The address and port to listen on. Any address but loopback needs a token.
        listen: SocketAddr = "127.0.0.1:7717",
        /// The largest request body: 16 MiB of data and 1 MiB for what surrounds it.
        body_limit: ByteSize = "17MiB",
        /// The longest time that a request waits for something to come.
        max_wait: Duration = "60s",
        /// How long a shutdown waits for accepted requests to finish.
        shutdown_grace: Duration = "30s",
        /// The web origins that may call the API from a browser; none by default.
        cors_origins: Vec<String> = "",
    }
}

section! {
    /// One bearer token that opens the HTTP API, an entry of `[[server.tokens]]`. Give
    /// `token_env` or `token_file`; the token itself never stands in a configuration.
    TokenConfig at "server.tokens.*" {
        /// The environment variable that holds the token.
        token_env: Option<String> = "",
        /// The file that holds the token; surrounding white space is cut off.
        token_file: Option<PathBuf> = "",
        /// The only namespace this token opens; without it the request's header chooses.
        namespace: Option<Namespace> = "",
        /// Who acts with this token: it becomes `created_by`.
        principal: Principal = "operator",
    }
}

section! {
    /// The backend URL of each role. Each falls back to `default`.
    Backends at "backends" {
        /// The backend of every role that names no other.
        default: Endpoint = "sqlite:statehouse.db",
        /// The backend of states.
        state: Option<Endpoint> = "",
        /// The backend of messages.
        messages: Option<Endpoint> = "",
        /// The backend of task stacks.
        tasks: Option<Endpoint> = "",
        /// The backend of references.
        references: Option<Endpoint> = "",
    }
}

choice! {
    /// How the replica of a trio receives its data.
    ReplicaMode {
        /// The database replicates by itself.
        Native = "native",
        /// Statehouse feeds it from the main store's change log.
        Fed = "fed",
    }
}

section! {
    /// Three stores of states instead of one: writes go to `main`, reads to `replica`, and
    /// `rollback` keeps the version before the latest. Give all three or none.
    Trio at "backends.trio" {
        /// The store that takes writes.
        main: Option<Endpoint> = "",
        /// The store that takes reads.
        replica: Option<Endpoint> = "",
        /// The store that keeps the version before the latest.
        rollback: Option<Endpoint> = "",
        /// How the replica receives its data.
        mode: ReplicaMode = "fed",
    }
}

section! {
    /// Namespaces.
    Namespaces at "namespaces" {
        /// The namespace of requests and commands that name none.
        default: Namespace = "default",
    }
}

section! {
    /// How states are cached and how long their history is kept.
    State at "state" {
        /// How many bytes of states are cached in memory; 0 turns the cache off.
        cache_size: ByteSize = "64MiB",
        /// How long a cached state is served before it is read again.
        cache_ttl: Duration = "5m",
        /// How many versions of a state are kept; none keeps all.
        keep_last: Option<NonZeroU32> = "",
        /// How long a version is kept after a newer one was written; none keeps all.
        max_age: Option<Duration> = "",
        /// How long the tombstone of a deleted or expired state is kept; none keeps it for ever.
        keep_tombstones: Option<Duration> = "",
        /// How long the change log keeps a change; none keeps it for ever.
        keep_changes: Option<Duration> = "",
        /// How often old versions, tombstones and changes are looked for.
        prune_interval: Duration = "30s",
    }
}

section! {
    /// A cache of states that several services share, behind each one's own in memory. When it is
    /// down, reads are slower and still right.
    SharedCache at "cache" {
        /// The backend of the cache; none leaves each service to its own.
        url: Option<Endpoint> = "",
        /// How long a state is kept there.
        ttl: Duration = "5m",
        /// How long an answer of it may take; after that the state is read from its store.
        timeout: Duration = "100ms",
    }
}

section! {
    /// The relay that publishes the outbox.
    Relay at "relay" {
        /// How many messages are taken from the outbox at once.
        batch: NonZeroUsize = "256",
        /// How long one relay holds the outbox before another may take over.
        lease: Duration = "10s",
        /// The most bytes of a state that its event carries; a larger one is to be read.
        inline: ByteSize = "10240",
        /// The longest wait after failed publishes, which begins at 100 ms and doubles.
        retry_cap: Duration = "5s",
    }
}

section! {
    /// Timeouts and retries around every backend.
    Layers at "layers" {
        /// The deadline of one operation on a backend.
        timeout: Duration = "30s",
        /// How often an operation is tried in all; 1 never retries.
        retry_attempts: NonZeroU32 = "4",
        /// The first wait between tries; it doubles up to `retry_cap`.
        retry_base: Duration = "50ms",
        /// The longest wait between tries. Each wait is spread at random over its whole length.
        retry_cap: Duration = "5s",
    }
}

choice! {
    /// How the content of references is compressed.
    CompressionChoice {
        /// Zstandard where it makes large content smaller, else none.
        Auto = "auto",
        /// Not at all.
        None = "none",
        /// gzip.
        Gzip = "gzip",
        /// Zstandard.
        Zstd = "zstd",
        /// LZ4 frames.
        Lz4 = "lz4",
    }
}

section! {
    /// Content that is stored by its hash.
    References at "references" {
        /// How often content without a holder is collected.
        gc_interval: Duration = "300s",
        /// The most bytes stored; none is no limit.
        quota: Option<ByteSize> = "",
        /// The compression of content whose writer asks for none in particular.
        compression: CompressionChoice = "auto",
    }
}

section! {
    /// Task stacks.
    Tasks at "tasks" {
        /// How long finished tasks can still be looked up.
        keep_finished: Duration = "24h",
    }
}

choice! {
    /// How log lines are written.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

section! {
    /// Logging, to standard error.
    Log at "log" {
        /// The level (error, warn, info, debug, trace, off) or a filter such as `info,statehouse=debug`.
        level: String = "info",
        /// How lines are written.
        format: LogFormat = "text",
    }
}

section! {
    /// Metrics.
    Telemetry at "telemetry" {
        /// Whether `/metrics` is served, in the Prometheus text format.
        metrics: bool = "true",
    }
}
