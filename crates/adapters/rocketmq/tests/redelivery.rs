//! How long after the end of its lease a message is handed out again, measured: what
//! `redelivery_lag` says holds, with the broker's store of leases and without it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use statehouse_contracts::{
    Backoff, Consumer, ConsumerExt, Endpoint, ErrorKind, Factory, GroupName, GroupSpec, Message,
    MessageId, Pattern, Payload, Producer, ProducerExt, Receive, Result, Scope, Topic,
};
use statehouse_integration_tests::{Options, Outcome, Server, Service, Tests, cases};
use statehouse_rocketmq::RocketmqFactory;

/// How many messages are left to come back.
const MESSAGES: usize = 24;

const LEASE: Duration = Duration::from_secs(1);

/// How often it is tried: the lag is the broker's own on a machine that lets it work, and another
/// process may keep it from that for seconds.
const ROUNDS: usize = 5;

/// What a busy machine may add to the slowest of any round.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    Tests::of_adapter("rocketmq")
        // A broker that starts takes the machine from the one that is measured.
        .at_once(1)
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

/// In some round all come back within the lag that the capability claims, and soon after in the
/// rounds before.
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
    let mut rounds = Vec::new();
    while rounds.len() < ROUNDS {
        send(&*producer).await?;
        let longest = longest_lag(&*consumer, &group).await?;
        eprintln!("{claimed:?} are claimed: all within {longest:?}");
        assert!(longest <= claimed + PATIENCE, "{longest:?}");
        rounds.push(longest);
        if longest <= claimed {
            break;
        }
    }
    assert!(
        rounds.iter().any(|longest| *longest <= claimed),
        "{rounds:?}"
    );
    // What was acknowledged then is done with, wherever the broker kept it.
    let quiet = Receive::new(1, LEASE + claimed + Duration::from_millis(500));
    assert_eq!(consumer.receive(&group, quiet).await?, []);
    Ok(backend.close().await?)
}

/// Sends the messages, every fourth with an ordering key of its own.
async fn send(producer: &dyn Producer) -> Result<()> {
    for number in 0..MESSAGES {
        let message = Message {
            ordering_key: (number % 4 == 0).then(|| number.to_string()),
            ..Message::new(Topic::new("t")?, Payload::text("a"))
        };
        producer.send_one(message).await?;
    }
    Ok(())
}

/// Leaves each message once, and takes it when it comes again: how long after the end of its first
/// lease the last one came.
async fn longest_lag(consumer: &dyn Consumer, group: &GroupName) -> Result<Duration> {
    let mut ends: BTreeMap<MessageId, Instant> = BTreeMap::new();
    let mut longest = Duration::ZERO;
    let mut done = BTreeSet::new();
    while done.len() < MESSAGES {
        let receive = Receive::new(8, Duration::from_secs(1));
        for delivery in consumer.receive(group, receive).await? {
            let id = delivery.message().id;
            assert!(!done.contains(&id), "{id} comes again after its ack");
            let ended = ends.insert(id, delivery.lease.deadline);
            let Some(ended) = ended else { continue };
            let lag = ended.elapsed();
            match consumer.ack(&delivery).await {
                Ok(()) => {
                    done.insert(id);
                    longest = longest.max(lag);
                }
                // This machine was busy for longer than the lease: it comes once more.
                Err(error) if error.kind() == ErrorKind::LeaseLost => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(longest)
}
