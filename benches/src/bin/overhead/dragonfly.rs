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

/// Compares both sides; `None` where `redis-server` is not installed.
///
/// # Errors
/// The first error of either side.
pub(crate) async fn run(settings: &Settings) -> Result<Option<Section>> {
    let Some(server) = Server::start().await? else {
        return Ok(None);
    };
    let url = format!("redis://127.0.0.1:{}/0?pool={CONNECTIONS}", server.port());
    let ours = Ours::open(&DragonflyFactory, &url).await?;
    let raw = Raw::open(server.port(), CONNECTIONS).await?;
    fill(&ours, &raw).await?;
    let mut rows = Vec::new();
    for callers in [1, settings.callers(64)] {
        let names = Names::new(callers, "fred by hand");
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
         By hand, each call is one script of the fewest commands: a send remembers the idempotency \
         key, stores the message and makes it ready; a receive leases the message under a count \
         that fences, and an ack with that count and before the lease's end forgets it; a put \
         counts the version, writes the record, its history and a change; a get reads the record. \
         It has no priorities, ordering keys, delays, dead letters, groups with patterns, \
         preconditions, expiry or wake-ups, which the adapter has."
    )
}
