//! Whether a gap is told exactly when something was missed.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::{ClientLike, HashesInterface};
use statehouse_contracts::{
    Backend, Broadcast, BroadcastEvent, Consumer, Endpoint, Factory, Message, Pattern, Payload,
    Producer, ProducerExt, Scope, Topic,
};
use statehouse_dragonfly::DragonflyFactory;
use statehouse_integration_tests::{Outcome, Server, Service, Tests, cases};

fn main() -> ExitCode {
    Tests::of_adapter("dragonfly")
        .with(cases![
            who_begins_to_listen_hears_of_no_gap,
            being_forgotten_is_no_gap_when_nothing_was_sent,
            what_was_sent_while_forgotten_is_a_gap,
            what_follows_shows_the_gap_before_it,
        ])
        .main()
}

/// Longer than the pause between two words that somebody listens.
const RENEWAL: Duration = Duration::from_secs(13);
const SOON: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_millis(200);

/// A namespace of the shared server, and a client of one's own to tamper with it.
struct Desk {
    backend: Arc<dyn Backend>,
    producer: Arc<dyn Producer>,
    consumer: Arc<dyn Consumer>,
    raw: Client,
    meta: String,
}

impl Desk {
    async fn open(service: &'static Service, namespace: &str) -> Result<Self, String> {
        let open = async {
            let url = Server::shared(service).await?.url();
            let backend = DragonflyFactory.open(&Endpoint::parse(url)?).await?;
            let scope = Scope::parse(namespace, "tester")?;
            let producer = backend.producer(&scope).await?;
            let consumer = backend.consumer(&scope).await?;
            Ok::<_, statehouse_contracts::Error>((url, backend, producer, consumer))
        };
        let (url, backend, producer, consumer) = open.await.map_err(text)?;
        let raw = async {
            let config = fred::types::config::Config::from_url(url)?;
            let client = Client::new(config, None, None, None);
            client.init().await?;
            Ok(client)
        };
        Ok(Self {
            backend,
            producer,
            consumer,
            raw: raw.await.map_err(text::<fred::error::Error>)?,
            meta: format!("sh:{{{namespace}}}:q:meta"),
        })
    }

    async fn listen(&self) -> Result<Box<dyn Broadcast>, String> {
        let listener = self.consumer.broadcast(&Pattern::ALL).await;
        listener.map_err(text)
    }

    async fn send(&self, text: &str) -> Outcome {
        let message = Message::new(Topic::new("t")?, Payload::text(text));
        self.producer.send_one(message).await?;
        Ok(())
    }

    /// Has the server believe that somebody listens until this time, in microseconds.
    async fn heard_until(&self, time: u64) -> Outcome {
        self.raw
            .hset::<(), _, _>(&self.meta, ("heard", time))
            .await?;
        Ok(())
    }

    async fn close(self) -> Outcome {
        self.backend.close().await?;
        self.raw.quit().await?;
        Ok(())
    }
}

fn text<E: std::fmt::Display>(error: E) -> String {
    error.to_string()
}

async fn next(listener: &mut Box<dyn Broadcast>, wait: Duration) -> Result<String, String> {
    let event = listener
        .next(wait)
        .await
        .map_err(|error| error.to_string())?;
    Ok(match event {
        None => "nothing".to_owned(),
        Some(BroadcastEvent::Message(received)) => {
            String::from_utf8_lossy(received.message.bytes()).into_owned()
        }
        Some(_) => "a gap".to_owned(),
    })
}

/// Its first word that it listens, and the first renewal, meet in any order.
async fn who_begins_to_listen_hears_of_no_gap(service: &'static Service) -> Outcome {
    for round in 0..100 {
        let desk = Desk::open(service, &format!("begins-{round}")).await?;
        let mut listener = desk.listen().await?;
        desk.send("a").await?;
        assert_eq!(next(&mut listener, SOON).await?, "a", "round {round}");
        desk.close().await?;
    }
    Ok(())
}

async fn being_forgotten_is_no_gap_when_nothing_was_sent(service: &'static Service) -> Outcome {
    let desk = Desk::open(service, "forgotten").await?;
    let mut listener = desk.listen().await?;
    desk.send("a").await?;
    assert_eq!(next(&mut listener, SOON).await?, "a");
    desk.heard_until(0).await?;
    assert_eq!(next(&mut listener, RENEWAL).await?, "nothing");
    desk.send("b").await?;
    assert_eq!(next(&mut listener, SOON).await?, "b", "it is known again");
    desk.close().await
}

async fn what_was_sent_while_forgotten_is_a_gap(service: &'static Service) -> Outcome {
    let desk = Desk::open(service, "missed").await?;
    let mut listener = desk.listen().await?;
    desk.send("a").await?;
    assert_eq!(next(&mut listener, SOON).await?, "a");
    desk.heard_until(0).await?;
    desk.send("missed").await?;
    assert_eq!(next(&mut listener, RENEWAL).await?, "a gap");
    desk.send("b").await?;
    assert_eq!(next(&mut listener, SOON).await?, "b");
    assert_eq!(next(&mut listener, QUIET).await?, "nothing");
    desk.close().await
}

async fn what_follows_shows_the_gap_before_it(service: &'static Service) -> Outcome {
    let desk = Desk::open(service, "follows").await?;
    let mut listener = desk.listen().await?;
    desk.heard_until(0).await?;
    desk.send("missed").await?;
    desk.heard_until(9_000_000_000_000_000).await?;
    desk.send("b").await?;
    assert_eq!(next(&mut listener, SOON).await?, "a gap");
    assert_eq!(next(&mut listener, SOON).await?, "b");
    assert_eq!(
        next(&mut listener, RENEWAL).await?,
        "nothing",
        "it is told once"
    );
    desk.close().await
}
