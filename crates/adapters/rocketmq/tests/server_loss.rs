//! What becomes of a load when its broker is killed, paused or cut off in the middle.
//!
//! Nothing that was accepted is lost, callers are told within their time that the broker is away,
//! and the adapter works again within ten seconds of the broker.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use statehouse_contracts::{
    Backend, Backoff, Consumer, ConsumerExt, Endpoint, Error, ErrorKind, Factory, GroupName,
    GroupSpec, Message, Pattern, Payload, Principal, Producer, ProducerExt, Receive, Scope, Topic,
};
use statehouse_integration_tests::{Options, Outcome, Server, Service, Tests, cases};
use statehouse_rocketmq::RocketmqFactory;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// How long the servers stay away.
const AWAY: Duration = Duration::from_secs(5);

/// How soon after a server everything works again.
const AGAIN: Duration = Duration::from_secs(10);

/// How soon after a name server a new client finds the broker, which tells of itself every 10 s.
const REGISTERED: Duration = Duration::from_secs(20);

/// How long a call may take: the timeout of a request, twice, and a busy machine.
const ANSWER: Duration = Duration::from_secs(12);

/// A broker in Java is started, perhaps twice, on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    Tests::of_adapter("rocketmq")
        .with(cases![
            a_killed_broker_loses_nothing_that_was_accepted,
            a_paused_broker_loses_nothing_that_was_accepted,
            a_cut_connection_loses_nothing_that_was_accepted,
            a_lost_name_server_holds_up_nothing,
        ])
        .at_once(1)
        .within(LIMIT)
        .main()
}

async fn a_killed_broker_loses_nothing_that_was_accepted(service: &'static Service) -> Outcome {
    let server = Server::start(service).await?;
    survives(&server, |server| {
        Box::pin(async move {
            server.kill().await?;
            server.restart().await
        })
    })
    .await
}

async fn a_paused_broker_loses_nothing_that_was_accepted(service: &'static Service) -> Outcome {
    let server = Server::start(service).await?;
    survives(&server, |server| {
        Box::pin(async move {
            server.pause().await?;
            // sleep: for so long it is away
            tokio::time::sleep(AWAY).await;
            server.unpause().await
        })
    })
    .await
}

async fn a_cut_connection_loses_nothing_that_was_accepted(service: &'static Service) -> Outcome {
    let server = Options::new(service).proxied().start().await?;
    survives(&server, |server| {
        Box::pin(async move {
            server.cut()?;
            // sleep: for so long it is away
            tokio::time::sleep(AWAY).await;
            server.restore()
        })
    })
    .await
}

type Hurt = for<'a> fn(&'a Server) -> BoxFuture<'a, Result<(), Error>>;

/// What the load has seen.
#[derive(Debug, Default)]
struct Seen {
    accepted: Mutex<BTreeSet<String>>,
    delivered: Mutex<BTreeSet<String>>,
    /// What was refused in a way that callers need not expect, and calls that took too long.
    wrong: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// Senders and receivers.
struct Load {
    backend: Arc<dyn Backend>,
    seen: Arc<Seen>,
    senders: Vec<JoinHandle<()>>,
    receivers: Vec<JoinHandle<()>>,
}

/// Runs a load, hurts the server in the middle, and checks what came through.
async fn survives(server: &Server, hurt: Hurt) -> Outcome {
    let load = Load::start(server).await?;
    load.begins().await?;
    hurt(server).await?;
    load.goes_on().await?;
    load.finish().await
}

/// The broker is enough for who knows it; who does not is told so, and gets through once there is a
/// name server again.
async fn a_lost_name_server_holds_up_nothing(service: &'static Service) -> Outcome {
    let server = Server::start(service).await?;
    let load = Load::start(&server).await?;
    load.begins().await?;
    kill_name_server(&server).await?;
    load.goes_on().await?;
    let url = Endpoint::parse(server.url())?;
    let start = Instant::now();
    match RocketmqFactory.open(&url).await {
        Err(error) if error.kind() == ErrorKind::Unavailable && start.elapsed() < ANSWER => {}
        other => {
            let took = start.elapsed();
            return Err(format!("without a name server, after {took:?}: {other:?}").into());
        }
    }
    start_name_server(&server).await?;
    let back = Instant::now();
    load.goes_on().await?;
    load.finish().await?;
    opened_again(&url, back).await
}

async fn kill_name_server(server: &Server) -> Outcome {
    let script = "for p in /proc/[0-9]*; do \
        if grep -aq Namesrv[S]tartup $p/cmdline; then kill -9 ${p#/proc/}; fi; done";
    inside(server, script).await
}

async fn start_name_server(server: &Server) -> Outcome {
    inside(
        server,
        "cd $ROCKETMQ_HOME/bin && (sh mqnamesrv >/dev/null 2>&1 &)",
    )
    .await
}

async fn inside(server: &Server, script: &str) -> Outcome {
    let output = server.exec(["bash", "-c", script]).await?;
    if output.code != 0 {
        return Err(format!("{script}: {}: {}", output.code, output.stderr).into());
    }
    Ok(())
}

/// A new client gets through once the broker has told the name server of itself.
async fn opened_again(url: &Endpoint, back: Instant) -> Outcome {
    loop {
        match RocketmqFactory.open(url).await {
            Ok(backend) => {
                eprintln!("a new client got through {:?} after", back.elapsed());
                return Ok(backend.close().await?);
            }
            Err(error) if back.elapsed() > REGISTERED => return Err(error.into()),
            Err(_) => {}
        }
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Load {
    async fn start(server: &Server) -> statehouse_contracts::Result<Self> {
        let backend = RocketmqFactory
            .open(&Endpoint::parse(server.url())?)
            .await?;
        let scope = Scope::new("loss".parse()?, Principal::new("load")?);
        let producer = backend.producer(&scope).await?;
        let consumer = backend.consumer(&scope).await?;
        let group = GroupName::new("g")?;
        let spec = GroupSpec {
            lease: Duration::from_secs(2),
            backoff: Backoff::NONE,
            max_deliveries: 1_000,
            ..GroupSpec::new(Pattern::ALL)
        };
        consumer.declare(&group, &spec).await?;
        let seen = Arc::new(Seen::default());
        Ok(Self {
            senders: (0..4)
                .map(|n| tokio::spawn(send(producer.clone(), n, seen.clone())))
                .collect(),
            receivers: (0..3)
                .map(|_| tokio::spawn(receive(consumer.clone(), group.clone(), seen.clone())))
                .collect(),
            backend,
            seen,
        })
    }

    /// What comes first takes as long as it takes to make topics.
    async fn begins(&self) -> Outcome {
        more_than(&self.seen, 50, LIMIT).await
    }

    /// Much is accepted soon. Each sender has something on its way; more than that is sent anew.
    async fn goes_on(&self) -> Outcome {
        let so_far = self.seen.accepted.lock().await.len();
        more_than(&self.seen, so_far + 50, AGAIN).await
    }

    async fn finish(self) -> Outcome {
        self.seen.stop.store(true, Ordering::Release);
        join(self.senders).await?;
        all_delivered(&self.seen).await?;
        join(self.receivers).await?;
        let wrong = self.seen.wrong.lock().await;
        if !wrong.is_empty() {
            return Err(format!("{} odd answers: {:?}", wrong.len(), wrong.first()).into());
        }
        self.backend.close().await?;
        Ok(())
    }
}

async fn more_than(seen: &Seen, number: usize, within: Duration) -> Outcome {
    let end = Instant::now() + within;
    while seen.accepted.lock().await.len() <= number {
        if Instant::now() > end {
            let accepted = seen.accepted.lock().await.len();
            let wrong = seen.wrong.lock().await;
            return Err(format!(
                "{accepted} messages were accepted, and not {number}, within {within:?}: {:?}",
                wrong.last()
            )
            .into());
        }
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn all_delivered(seen: &Seen) -> Outcome {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let missing: Vec<String> = {
            let delivered = seen.delivered.lock().await;
            let accepted = seen.accepted.lock().await;
            accepted.difference(&delivered).cloned().collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!(
                "{} accepted messages did not come: {:?} …",
                missing.len(),
                &missing[..missing.len().min(5)]
            )
            .into());
        }
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn join(tasks: Vec<JoinHandle<()>>) -> Outcome {
    for task in tasks {
        task.await?;
    }
    Ok(())
}

/// Sends, half of it with an ordering key, until told to stop; sends again what was not accepted.
async fn send(producer: Arc<dyn Producer>, sender: usize, seen: Arc<Seen>) {
    let mut number = 0;
    while !seen.stop.load(Ordering::Acquire) {
        let text = format!("{sender}/{number}");
        let message = Message {
            ordering_key: (number % 2 == 0).then(|| format!("key-{sender}")),
            ..Message::new(
                Topic::new("load").expect("a topic"),
                Payload::text(text.clone()),
            )
        };
        let start = Instant::now();
        let sent = producer.send_one(message).await;
        note("send", start, sent.as_ref().err(), &seen).await;
        if sent.is_ok() {
            seen.accepted.lock().await.insert(text);
            number += 1;
        }
        // sleep: the load is steady
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Receives and acknowledges until all that was accepted has come.
async fn receive(consumer: Arc<dyn Consumer>, group: GroupName, seen: Arc<Seen>) {
    let wait = Duration::from_secs(1);
    loop {
        let done = {
            let delivered = seen.delivered.lock().await;
            let accepted = seen.accepted.lock().await;
            seen.stop.load(Ordering::Acquire) && accepted.is_subset(&delivered)
        };
        if done {
            return;
        }
        let start = Instant::now();
        let received = consumer.receive(&group, Receive::new(8, wait)).await;
        note("receive", start, received.as_ref().err(), &seen).await;
        let Ok(deliveries) = received else {
            // sleep: as long as a caller would leave it alone
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        for delivery in deliveries {
            let text = String::from_utf8_lossy(delivery.message().bytes()).into_owned();
            seen.delivered.lock().await.insert(text);
            let start = Instant::now();
            let acknowledged = consumer.ack(&delivery).await;
            note("ack", start, acknowledged.as_ref().err(), &seen).await;
        }
    }
}

/// Remembers an answer that nobody should get.
async fn note(call: &str, start: Instant, error: Option<&Error>, seen: &Seen) {
    let took = start.elapsed();
    let expected = error.is_none_or(|error| {
        error.is_ambiguous()
            || matches!(
                error.kind(),
                ErrorKind::Unavailable
                    | ErrorKind::Timeout
                    | ErrorKind::Overloaded
                    | ErrorKind::LeaseLost
            )
    });
    if !expected || took > ANSWER {
        let wrong = format!("{call} after {took:?}: {error:?}");
        seen.wrong.lock().await.push(wrong);
    }
}
