//! Memory stays flat however much goes through. The only test of its process, because it measures
//! the whole of it.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a failed call fails the test")]

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    Backend, Endpoint, Factory, Message, Pattern, Payload, Receive, Scope, Topic,
};
use statehouse_messaging::{
    Bus, BusOptions, MailboxOptions, Mailboxes, Messenger, PolicyManager, PutShared, SharedMemory,
    SharedScope, Subscribe,
};

/// What may stay: a few buffers, and what the allocator keeps.
const ALLOWED: usize = 8 << 20;

/// A store that itself remembers little.
const STORE: &str = "memory:?window_entries=1000&change_log_keep=1000&history_keep=1\
    &message_retention=0&gc_interval=1s";

/// The memory of this process in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn message(topic: String, payload: Payload) -> Message {
    Message::new(Topic::new(topic).unwrap(), payload)
}

/// To one who reads, one who reads too little, and one who never does; every tenth to a topic that is
/// used once.
async fn bus_messages(bus: &Bus, many: usize) {
    let listen = |pattern: &str| {
        let pattern = Pattern::new(pattern).unwrap();
        bus.subscribe(Subscribe::new("listener", pattern)).unwrap()
    };
    let (mut all, mut some, _none) = (listen("#"), listen("job.*"), listen("#"));
    let payload = Payload::bytes(vec![7; 256]);
    for at in 0..many {
        let topic = match at % 10 {
            0 => format!("once.{at}"),
            _ => format!("job.{}", at % 100),
        };
        bus.publish(message(topic, payload.clone())).unwrap();
        all.try_recv().unwrap();
        if at % 3 == 0 {
            some.try_recv();
        }
    }
}

async fn short_lived_subscribers(bus: &Bus, many: usize) {
    for at in 0..many {
        let pattern = Pattern::new(format!("short.{at}.#")).unwrap();
        let mut subscription = bus.subscribe(Subscribe::new("brief", pattern)).unwrap();
        let brief = message(format!("short.{at}.x"), Payload::text("x"));
        assert_eq!(bus.publish(brief).unwrap().delivered, 1);
        if at % 2 == 0 {
            subscription.recv().await.unwrap();
        }
    }
}

async fn mail(mail: &Mailboxes, many: usize) {
    let large = vec![7; 20_000];
    for batch in 0..many / 100 {
        let agent = format!("agent-{}", batch % 10);
        for at in 0..100 {
            let payload = match at {
                0 => Payload::bytes([batch.to_string().as_bytes(), &large].concat()),
                _ => Payload::text("short"),
            };
            mail.send(mail.letter(&agent, payload)).await.unwrap();
        }
        let receive = Receive::new(100, Duration::ZERO);
        let received = mail.receive(&agent, receive).await.unwrap();
        assert_eq!(received.len(), 100);
        for answer in mail.messenger().ack_all(&received).await.unwrap() {
            answer.unwrap();
        }
    }
    mail.messenger().sweep().await.unwrap();
}

async fn short_lived_watchers(memory: &SharedMemory, many: usize) {
    let key = memory.key(&SharedScope::Global, "watched").unwrap();
    for at in 0..many {
        let include = at % 2 == 0;
        let watch = memory.watch(&SharedScope::Global, "w*", include);
        let mut watch = watch.await.unwrap();
        if at % 10 == 0 {
            memory.put(&key, PutShared::new("x")).await.unwrap();
            watch.next(Duration::ZERO).await.unwrap().unwrap();
        }
    }
    let stats = memory.stats(&SharedScope::Global).await.unwrap();
    assert_eq!((stats.keys, stats.watches), (1, 0));
}

#[tokio::test]
async fn memory_stays_flat() {
    let endpoint = Endpoint::parse(STORE).unwrap();
    let backend = statehouse_memory::Memory.open(&endpoint).await.unwrap();
    let backend: Arc<dyn Backend> = statehouse_layers::guard(backend);
    let scope = Scope::parse("default", "tester").unwrap();
    let policies = Arc::new(PolicyManager::default());
    let messenger = Messenger::open(&*backend, &scope, policies).await.unwrap();
    let mailboxes = Mailboxes::new(messenger, MailboxOptions::default());
    let memory = SharedMemory::new(backend.state(&scope).await.unwrap(), "tester").unwrap();
    let bus = Bus::new(BusOptions::default());

    let round = async |part: usize| {
        bus_messages(&bus, 1_000_000 / part).await;
        short_lived_subscribers(&bus, 10_000 / part).await;
        mail(&mailboxes, 100_000 / part).await;
        short_lived_watchers(&memory, 10_000 / part).await;
    };
    // What is bounded by a number fills up.
    round(8).await;
    let before = resident();
    round(1).await;
    let after = resident();
    assert!(
        after < before + ALLOWED,
        "{} KiB more than the {} KiB of before",
        (after - before) / 1024,
        before / 1024
    );
    assert!(bus.topics().len() <= BusOptions::default().max_topics);
    assert_eq!(bus.subscriptions(None).len(), 0);
}
