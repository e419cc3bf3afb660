//! The Dragonfly adapter beside its own client library, used by hand for the same job.
//!
//! Both sides talk to one Redis server that syncs every write, over equally many connections of
//! the same library, and wait for the same acknowledgements. See `raw_redis` for what the other
//! side does in one round trip each.

use statehouse_benches::{Result, redis::Server, scenarios::Settings, table::Section};
use statehouse_dragonfly::DragonflyFactory;

use crate::{
    compare::{Names, fill, messages, records},
    ours::Ours,
    raw_redis::Raw,
};

/// Connections of each side.
const CONNECTIONS: usize = 4;

/// Compares both sides in the rows whose names contain `only`; `None` where `redis-server` is not
/// installed.
///
/// # Errors
/// The first error of either side.
pub(crate) async fn run(settings: &Settings, only: &str) -> Result<Option<Section>> {
    let Some(server) = Server::start().await? else {
        return Ok(None);
    };
    let url = format!("redis://127.0.0.1:{}/0?pool={CONNECTIONS}", server.port());
    let ours = Ours::open(&DragonflyFactory, &url).await?;
    let raw = Raw::open(server.port(), CONNECTIONS).await?;
    fill(&ours, &raw).await?;
    let mut rows = Vec::new();
    for callers in [1, settings.callers(64)] {
        let names = Names::new(callers, "fred by hand").only(only);
        rows.extend(messages(settings, callers, &names, (&ours, &raw)).await?);
        rows.extend(records(settings, callers, &names, (&ours, &raw)).await?);
    }
    let version = raw.version().await?;
    ours.close().await?;
    Ok(Some(Section {
        title: "The Dragonfly adapter beside its client library",
        about: about(&version),
        rows,
    }))
}

fn about(version: &str) -> String {
    format!(
        "1 KiB values and messages, Redis {version} with `appendfsync always`, {CONNECTIONS} \
         connections on each side; each caller waits for its answer before it makes the next call. \
         By hand, each call is one script of the fewest commands for the same promises: a send \
         tells a repeat and a conflict under its idempotency key, stores the message with its time, \
         makes it ready and wakes who waits for the first; a receive makes ready again what was \
         leased for too long and leases the first message under a count that fences; an ack with \
         that count and before the lease's end forgets the message, and may be repeated; a put \
         looks at what is there, counts the version, writes the record with who made it and when, \
         its history, a change, and a new key into a list; a get reads the record. It has no \
         priorities, ordering keys, delays, dead letters, groups with patterns, preconditions, \
         transactions or repeatable puts, which the adapter has."
    )
}
