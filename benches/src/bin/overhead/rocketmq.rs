//! The RocketMQ adapter beside its own client library, used by hand for the same job.

use statehouse_benches::{Result, scenarios::Settings, table::Section};
use statehouse_rocketmq::RocketmqFactory;

use crate::{
    compare::{Names, messages},
    ours::Ours,
    raw_rocketmq::Raw,
};

/// Compares both sides on the server at `url`.
///
/// # Errors
/// The first error of either side.
pub(crate) async fn run(settings: &Settings, url: &str) -> Result<Section> {
    let ours = Ours::open(&RocketmqFactory, url).await?;
    let raw = Raw::open(url.trim_start_matches("rocketmq://")).await?;
    let mut rows = Vec::new();
    for callers in [1, settings.callers(64)] {
        let names = Names::new(callers, "the library by hand");
        rows.extend(messages(settings, callers, &names, (&ours, &raw)).await?);
    }
    ours.close().await?;
    Ok(Section {
        title: "The RocketMQ adapter beside its client library",
        about: "1 KiB messages, the Java broker of `cargo xtask services`; each caller waits for \
                its answer before it makes the next call. By hand, a send is one request to one of \
                ten queues; a receive pops one message of all of them under a lease of 30 seconds, \
                and an ack ends it. It has no ordering keys, retries, dead letters, patterns, \
                expiry or wake-ups, which the adapter has."
            .to_owned(),
        rows,
    })
}
