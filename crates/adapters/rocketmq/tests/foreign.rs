//! What becomes of messages that somebody else wrote into the topics of a namespace.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use statehouse_contracts::{
    ConsumerExt, Endpoint, Factory, GroupName, GroupSpec, Message, Pattern, Payload, Principal,
    ProducerExt, Receive, Scope, Topic,
};
use statehouse_integration_tests::{Outcome, Server, Service, Tests, cases};
use statehouse_rocketmq::RocketmqFactory;

/// How long the broker's own tool and a dead letter may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    Tests::of_adapter("rocketmq")
        .with(cases![what_cannot_be_read_becomes_a_dead_letter])
        .main()
}

async fn what_cannot_be_read_becomes_a_dead_letter(service: &'static Service) -> Outcome {
    let server = Server::start(service).await?;
    let backend = RocketmqFactory
        .open(&Endpoint::parse(server.url())?)
        .await?;
    let scope = Scope::new("default".parse()?, Principal::new("reader")?);
    let consumer = backend.consumer(&scope).await?;
    let group = GroupName::new("g")?;
    consumer
        .declare(&group, &GroupSpec::new(Pattern::ALL))
        .await?;

    let script = "cd $ROCKETMQ_HOME/bin && sh mqadmin sendMessage -n 127.0.0.1:9876 \
        -t 'statehouse%priority' -b broker-a -i 4 -p 'no envelope'";
    let sent = server.exec(["bash", "-c", script]).await?;
    if !sent.stdout.contains("SEND_OK") {
        return Err(format!("{}{}", sent.stdout, sent.stderr).into());
    }
    let text = Payload::text("ours");
    let ours = Message::new(Topic::new("t")?, text);
    backend.producer(&scope).await?.send_one(ours).await?;

    let end = Instant::now() + PATIENCE;
    loop {
        let wait = Duration::from_secs(1);
        for delivery in consumer.receive(&group, Receive::new(8, wait)).await? {
            assert_eq!(delivery.message().bytes(), b"ours");
            consumer.ack(&delivery).await?;
        }
        let letters = consumer.dead_letters(&group, 10, None).await?.items;
        if let [letter] = &letters[..] {
            assert_eq!(letter.received.message.bytes(), b"no envelope");
            assert!(letter.reason.starts_with("cannot be read"), "{letter:?}");
            assert_eq!(letter.attempts, 0);
            break;
        }
        assert!(Instant::now() < end, "{letters:?}");
    }
    backend.close().await?;
    Ok(())
}
