//! What a collector of spans sees of messaging.
#![expect(clippy::unwrap_used, reason = "a failed call fails the test")]

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use statehouse_contracts::{
    Endpoint, ErrorKind, Factory, Message, Pattern, Payload, Precondition, Result, Scope, Topic,
};
use statehouse_messaging::{
    Bus, Handled, Interrupt, InterruptHandler, InterruptOptions, Interrupts, MailboxOptions,
    Mailboxes, Messenger, PolicyManager, PutShared, Requests, SharedMemory, SharedScope, Signal,
    Subscribe,
};
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The fields of each span that has ended, by its name.
    fn spans(&self) -> BTreeMap<String, Vec<Value>> {
        let mut spans = BTreeMap::<_, Vec<_>>::new();
        for line in String::from_utf8_lossy(&self.0.lock().unwrap()).lines() {
            let mut event: Value = serde_json::from_str(line).unwrap();
            let span = event["span"].take();
            let name = span["name"].as_str().unwrap().to_owned();
            spans.entry(name).or_default().push(span);
        }
        spans
    }
}

/// What ends while `work` runs, with everything collected.
async fn collect(work: impl Future<Output = Result<()>>) -> BTreeMap<String, Vec<Value>> {
    let lines = Lines::default();
    let writer = lines.clone();
    let collector = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    let _collecting = tracing::subscriber::set_default(collector);
    work.await.unwrap();
    lines.spans()
}

async fn messenger() -> Result<Messenger> {
    let backend = statehouse_memory::Memory
        .open(&Endpoint::parse("memory:")?)
        .await?;
    let scope = Scope::parse("default", "team")?;
    Messenger::open(&*backend, &scope, PolicyManager::default().into()).await
}

#[tokio::test]
async fn the_bus_tells_who_got_what() {
    let spans = collect(async {
        let bus = Bus::default();
        let pattern = Pattern::new("job.*")?;
        let one = Subscribe {
            buffer: 1,
            ..Subscribe::new("planner", pattern)
        };
        let _subscription = bus.subscribe(one)?;
        for _ in 0..2 {
            let topic = Topic::new("job.done")?;
            bus.publish(Message {
                sender: Some("worker".to_owned()),
                ..Message::new(topic, Payload::text("42"))
            })?;
        }
        Ok(())
    })
    .await;
    let publishes = &spans["bus.publish"];
    let counts = |span: &Value| (span["delivered"].as_u64(), span["dropped"].as_u64());
    let counts: Vec<_> = publishes.iter().map(counts).collect();
    assert_eq!(counts, [(Some(1), Some(0)), (Some(0), Some(1))]);
    assert_eq!(publishes[0]["from_agent"], "worker");
    assert_eq!(publishes[0]["topic"], "job.done");
    assert_eq!(spans["bus.deliver"][1]["dropped"], true);
    assert_eq!(spans["bus.subscribe"][0]["agent"], "planner");
    assert_eq!(spans["bus.unsubscribe"].len(), 1);
}

#[tokio::test]
async fn a_request_tells_how_it_ended() {
    let spans = collect(async {
        let mail = Mailboxes::new(messenger().await?, MailboxOptions::default());
        let requests = Requests::open(mail.clone(), "asker").await?;
        let ask = || mail.letter("nobody", Payload::text("?"));
        let unanswered = requests.request(ask(), Duration::from_millis(1)).await;
        assert_eq!(unanswered.unwrap_err().kind(), ErrorKind::Timeout);
        Ok(())
    })
    .await;
    let asked = &spans["queue.send_and_receive"][0];
    assert_eq!(asked["from_agent"], "asker");
    assert_eq!(asked["to_agent"], "nobody");
    assert_eq!(asked["success"], false);
    assert_eq!(asked["kind"], "timeout");
    assert!(asked["latency_us"].as_u64().is_some_and(|us| us >= 1_000));
}

#[tokio::test]
async fn shared_memory_tells_each_operation() {
    let spans = collect(async {
        let backend = statehouse_memory::Memory
            .open(&Endpoint::parse("memory:")?)
            .await?;
        let state = backend.state(&Scope::parse("default", "a")?).await?;
        let memory = SharedMemory::new(state, "a")?;
        let scope = SharedScope::Workflow("w1".into());
        let key = memory.key(&scope, "plan")?;
        let _watch = memory.watch(&scope, "*", false).await?;
        memory.put(&key, PutShared::new("draft")).await?;
        memory.get(&key).await?;
        memory.list(&scope, "*", 10, None).await?;
        memory.delete(&key, Precondition::None).await?;
        Ok(())
    })
    .await;
    for operation in ["watch", "put", "get", "list", "delete"] {
        let span = &spans[&format!("shared_memory.{operation}")][0];
        assert_eq!(span["success"], true, "{span}");
        assert!(span["latency_us"].is_u64(), "{span}");
    }
    assert_eq!(spans["shared_memory.put"][0]["size_bytes"], 5);
}

#[derive(Debug)]
struct Heard(tokio::sync::mpsc::UnboundedSender<()>);

#[async_trait]
impl InterruptHandler for Heard {
    async fn handle(&self, _: &Interrupt) -> Result<Handled> {
        let _ = self.0.send(());
        Ok(Handled::Done)
    }
}

#[tokio::test]
async fn interrupts_tell_how_they_travel() {
    let spans = collect(async {
        let interrupts = Interrupts::new(messenger().await?, InterruptOptions::default());
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let signals = [Signal::EMERGENCY_STOP, Signal::WAKEUP];
        let handler: Arc<dyn InterruptHandler> = Arc::new(Heard(told));
        interrupts.register_all("w", &signals, &handler).await?;
        interrupts.send(Signal::EMERGENCY_STOP, "w", "").await?;
        interrupts.broadcast(None, Signal::WAKEUP, "").await?;
        heard.recv().await;
        heard.recv().await;
        interrupts.close().await;
        Ok(())
    })
    .await;
    assert_eq!(spans["interrupt.send"].len(), 2);
    assert_eq!(spans["interrupt.broadcast"][0]["signal"], "wakeup");
    assert_eq!(spans["interrupt.enqueue"][0]["target_agent"], "w");
    let mut handled: Vec<_> = spans["interrupt.handle"].iter().collect();
    handled.sort_by_key(|span| span["signal"].to_string());
    assert_eq!(handled[0]["signal"], "emergency_stop");
    assert_eq!(
        (&handled[1]["signal"], &handled[1]["attempt"]),
        (&"wakeup".into(), &1.into())
    );
}
