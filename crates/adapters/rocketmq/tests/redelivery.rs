//! How long after the end of its lease a message is handed out again, measured: what
//! `redelivery_lag` says holds, with the broker's store of leases and without it.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use statehouse_contracts::{
    Backoff, Consumer, ConsumerExt, Endpoint, ErrorKind, Factory, GroupName, GroupSpec, Message,
    MessageId, Pattern, Payload, ProducerExt, Receive, Scope, Topic,
};
use statehouse_integration_tests::{Options, Outcome, Server, Service, Tests, cases};
use statehouse_rocketmq::RocketmqFactory;

/// How many messages are left to come back.
const MESSAGES: usize = 24;

const LEASE: Duration = Duration::from_secs(1);

/// What a busy machine may add to the slowest of them.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    Tests::of_adapter("rocketmq")
        .with(cases![
            a_message_comes_back_in_time,
            a_message_comes_back_in_time_without_the_store_of_leases,
        ])
        .main()
}

async fn a_message_comes_back_in_time(service: &'static Service) -> Outcome {
    let server = Server::start(service).await?;
    comes_back(&server, Duration::from_secs(2)).await
}

async fn a_message_comes_back_in_time_without_the_store_of_leases(
    service: &'static Service,
) -> Outcome {
    let plain = Options::new(service).variant("leases-in-topics")?;
    comes_back(&plain.start().await?, Duration::from_secs(8)).await
}

/// Most come back within the lag that the capability claims, and all soon after.
async fn comes_back(server: &Server, claimed: Duration) -> Outcome {
    let endpoint = Endpoint::parse(server.url())?;
    let backend = RocketmqFactory.open(&endpoint).await?;
    let scope = Scope::parse("late", "tester")?;
    let consumer = backend.consumer(&scope).await?;
    assert_eq!(consumer.capability().redelivery_lag, claimed);
    let group = GroupName::new("g")?;
    let spec = GroupSpec {
        lease: LEASE,
        backoff: Backoff::NONE,
        ..GroupSpec::new(Pattern::ALL)
    };
    consumer.declare(&group, &spec).await?;
    let producer = backend.producer(&scope).await?;
    for number in 0..MESSAGES {
        // Every fourth with an ordering key of its own.
        let message = Message {
            ordering_key: (number % 4 == 0).then(|| number.to_string()),
            ..Message::new(Topic::new("t")?, Payload::text("a"))
        };
        producer.send_one(message).await?;
    }
    let mut lags = lags(&*consumer, &group).await?;
    lags.sort();
    let (median, longest) = (lags[MESSAGES / 2], lags[MESSAGES - 1]);
    eprintln!("{claimed:?} are claimed: half within {median:?}, all within {longest:?}");
    assert!(median <= claimed, "{lags:?}");
    assert!(longest <= claimed + PATIENCE, "{lags:?}");
    // What was acknowledged then is done with, wherever the broker kept it.
    let quiet = Receive::new(1, LEASE + claimed / 2);
    assert_eq!(consumer.receive(&group, quiet).await?, []);
    Ok(backend.close().await?)
}

/// How long after the end of its first lease each message was handed out again.
async fn lags(
    consumer: &dyn Consumer,
    group: &GroupName,
) -> statehouse_contracts::Result<Vec<Duration>> {
    let mut ends: BTreeMap<MessageId, Instant> = BTreeMap::new();
    let mut lags = Vec::new();
    while lags.len() < MESSAGES {
        let receive = Receive::new(8, Duration::from_secs(1));
        for delivery in consumer.receive(group, receive).await? {
            let id = delivery.message().id;
            let ended = ends.insert(id, delivery.lease.deadline);
            let Some(ended) = ended else { continue };
            let lag = ended.elapsed();
            match consumer.ack(&delivery).await {
                Ok(()) => lags.push(lag),
                // This machine was busy for longer than the lease: it comes once more.
                Err(error) if error.kind() == ErrorKind::LeaseLost => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(lags)
}
