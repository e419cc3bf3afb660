//! Publish and subscribe over processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use statehouse_contracts::{
    Broadcast, BroadcastEvent, Bytes, ErrorKind, Message, Pattern, Result, SendOptions, Sent,
};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::{Bus, Messenger, Published, Subscribe, Subscription, interrupts};

/// How topics are shared.
#[derive(Clone, Debug)]
pub struct TopicsOptions {
    /// Which topics of other processes are heard. Default all.
    pub pattern: Pattern,
    /// How long the content of a large message is kept for who hears it. Default 1 h.
    pub keep: Duration,
}

impl Default for TopicsOptions {
    fn default() -> Self {
        Self {
            pattern: Pattern::ALL,
            keep: Duration::from_secs(3600),
        }
    }
}

/// A [`Bus`] in each process, joined by the backend: what is published in one is heard in all, and by
/// the groups whose pattern matches.
///
/// - Between processes it is at most once, as the backend's broadcasts are;
///   [`gaps`](Topics::gaps) counts where something may be missing. In a group it is as durable as
///   any message.
/// - A large payload is promoted by the policy, and carried as a reference: see
///   [`Topics::resolve`].
/// - Mail, replies and interrupts are not heard here, whatever the pattern.
#[derive(Debug)]
pub struct Topics {
    inner: Arc<Inner>,
    task: JoinHandle<()>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Inner {
    messenger: Messenger,
    bus: Bus,
    keep: Duration,
    /// Marks what this process published: it has heard that already.
    origin: String,
    gaps: AtomicU64,
}

/// The header that says which process published a message.
const ORIGIN: &str = "published-by";

/// How long one wait for messages lasts, and how long one after a failure.
const WAIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(500);

impl Topics {
    /// Joins `bus` to those of other processes. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where the backend has no broadcasts.
    pub async fn open(messenger: Messenger, bus: Bus, options: TopicsOptions) -> Result<Self> {
        let heard = messenger.consumer().broadcast(&options.pattern).await?;
        let inner = Arc::new(Inner {
            messenger,
            bus,
            keep: options.keep,
            origin: Uuid::now_v7().to_string(),
            gaps: AtomicU64::new(0),
        });
        let stop = CancellationToken::new();
        let (stopped, hearing) = (stop.clone(), Arc::clone(&inner));
        let task = tokio::spawn(async move {
            let listen = hearing.listen(heard, options.pattern);
            stopped.run_until_cancelled(listen).await;
        });
        Ok(Self {
            inner,
            task,
            _stop: stop.drop_guard(),
        })
    }

    /// Publishes to all processes; answers for this one. It does not wait for a group that is full.
    ///
    /// # Errors
    /// Those of [`Messenger::send`], then nothing was published here either, and those of
    /// [`Bus::publish`].
    pub async fn publish(&self, message: Message) -> Result<Published> {
        let options = SendOptions {
            admission: Duration::ZERO,
            ..SendOptions::default()
        };
        self.publish_with(message, options)
            .await
            .map(|(_, here)| here)
    }

    /// Publishes to all processes; answers for the backend and for this process. A message with a
    /// delay is heard when it is due; one that was accepted before is not heard again.
    ///
    /// # Errors
    /// Those of [`Topics::publish`].
    pub async fn publish_with(
        &self,
        mut message: Message,
        options: SendOptions,
    ) -> Result<(Sent, Published)> {
        let inner = &*self.inner;
        // What is due later is heard like another process's.
        let now = message.delay.is_zero();
        if now {
            let origin = inner.origin.clone();
            message.headers.insert(ORIGIN.to_owned(), origin);
        }
        let sent = inner.messenger.publish(message, options, inner.keep);
        let (sent, message) = sent.await?;
        let published = match now && sent.duplicate_of.is_none() {
            true => inner.bus.publish(message)?,
            false => Published::default(),
        };
        Ok((sent, published))
    }

    /// The bus of this process.
    pub fn bus(&self) -> &Bus {
        &self.inner.bus
    }

    /// Listens to what any process publishes, from now on.
    ///
    /// # Errors
    /// Those of [`Bus::subscribe`].
    pub fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription> {
        self.inner.bus.subscribe(subscribe)
    }

    /// The plain payload of a message that was heard.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when its content is no longer kept; those of
    /// [`Messenger::resolve`].
    pub async fn resolve(&self, message: &Message) -> Result<Bytes> {
        self.inner.messenger.resolve(&message.payload).await
    }

    /// How often messages of other processes may have been missed.
    pub fn gaps(&self) -> u64 {
        self.inner.gaps.load(Ordering::Relaxed)
    }

    /// Leaves the other processes, and waits until it has. The bus stays open.
    pub async fn close(self) {
        let Self { task, _stop, .. } = self;
        drop(_stop);
        // That it panicked was told where it did.
        drop(task.await);
    }
}

impl Inner {
    async fn listen(&self, mut heard: Box<dyn Broadcast>, pattern: Pattern) {
        loop {
            match heard.next(WAIT).await {
                Ok(Some(BroadcastEvent::Message(received))) => self.hear(received.message),
                Ok(Some(BroadcastEvent::Gap { .. })) => {
                    self.gaps.fetch_add(1, Ordering::Relaxed);
                }
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Closed => return,
                Err(error) => {
                    tracing::warn!(%error, "topics of other processes are not heard now");
                    self.gaps.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                    if let Ok(again) = self.messenger.consumer().broadcast(&pattern).await {
                        heard = again;
                    }
                }
            }
        }
    }

    fn hear(&self, mut message: Message) {
        let topic = &message.topic;
        let prefixes = ["reply.", interrupts::TOPIC_PREFIX];
        let private = topic.is_mailbox()
            || prefixes
                .iter()
                .any(|prefix| topic.as_str().starts_with(prefix));
        let own = message.headers.get(ORIGIN) == Some(&self.origin);
        if private || own {
            return;
        }
        // It was due when it was handed out.
        message.delay = Duration::ZERO;
        if let Err(error) = self.bus.publish(message) {
            tracing::debug!(%error, "nobody hears it any more");
        }
    }
}

#[cfg(test)]
mod tests {
    use statehouse_contracts::{
        Backend, Endpoint, Factory, GroupName, GroupSpec, Payload, ReferenceId, Scope, Topic,
    };

    use super::*;
    use crate::PolicyManager;

    async fn backend() -> Arc<dyn Backend> {
        let endpoint = Endpoint::parse("memory:").unwrap();
        let backend = statehouse_memory::Memory.open(&endpoint).await.unwrap();
        statehouse_layers::guard(backend)
    }

    /// As in a process of its own.
    async fn process(backend: &Arc<dyn Backend>) -> Topics {
        let scope = Scope::parse("default", "tester").unwrap();
        let policies = Arc::new(PolicyManager::default());
        let messenger = Messenger::open(&**backend, &scope, policies).await.unwrap();
        let options = TopicsOptions::default();
        Topics::open(messenger, Bus::default(), options)
            .await
            .unwrap()
    }

    fn all() -> Subscribe {
        Subscribe::new("listener", Pattern::ALL)
    }

    fn message(topic: &str, payload: Payload) -> Message {
        Message::new(Topic::new(topic).unwrap(), payload)
    }

    async fn next(subscription: &mut Subscription) -> Arc<Message> {
        let heard = tokio::time::timeout(Duration::from_secs(10), subscription.recv());
        heard.await.expect("in time").expect("the bus is open")
    }

    #[tokio::test]
    async fn what_is_published_in_one_process_is_heard_once_in_each() {
        let backend = backend().await;
        let (here, there) = (process(&backend).await, process(&backend).await);
        let mut ours = here.subscribe(all()).unwrap();
        let mut theirs = there.subscribe(all()).unwrap();
        for text in ["1", "2"] {
            let published = here.publish(message("job.done", Payload::text(text)));
            assert_eq!(
                published.await.unwrap(),
                Published {
                    delivered: 1,
                    dropped: 0
                }
            );
        }
        for text in ["1", "2"] {
            assert_eq!(next(&mut ours).await.bytes(), text.as_bytes());
            assert_eq!(next(&mut theirs).await.bytes(), text.as_bytes());
        }
        there
            .publish(message("job.seen", Payload::text("3")))
            .await
            .unwrap();
        assert_eq!(
            next(&mut ours).await.bytes(),
            b"3",
            "nothing of its own came again"
        );
        assert_eq!(here.gaps() + there.gaps(), 0);
        there.close().await;
        here.close().await;
    }

    #[tokio::test]
    async fn what_is_published_again_is_heard_once() {
        let backend = backend().await;
        let here = process(&backend).await;
        let mut ours = here.subscribe(all()).unwrap();
        let once = Message {
            idempotency_key: Some("order-7".to_owned()),
            ..message("job.done", Payload::text("1"))
        };
        for (again, delivered) in [(false, 1), (true, 0)] {
            let publishing = here.publish_with(once.clone(), SendOptions::default());
            let (sent, published) = publishing.await.unwrap();
            assert_eq!(sent.duplicate_of.is_some(), again);
            assert_eq!(published.delivered, delivered);
        }
        here.publish(message("job.done", Payload::text("2")))
            .await
            .unwrap();
        for text in ["1", "2"] {
            assert_eq!(next(&mut ours).await.bytes(), text.as_bytes());
        }
        here.close().await;
    }

    #[tokio::test]
    async fn the_content_of_what_is_due_later_is_kept_from_then_on() {
        let backend = backend().await;
        let here = process(&backend).await;
        let keep = Duration::from_millis(1);
        let later = Message {
            delay: Duration::from_secs(3600),
            ..message("data", Payload::bytes(vec![7; 50_000]))
        };
        here.inner
            .messenger
            .publish(later, SendOptions::default(), keep)
            .await
            .unwrap();
        // sleep: longer than it is kept after it is due
        tokio::time::sleep(keep * 20).await;
        let scope = Scope::parse("default", "tester").unwrap();
        let references = backend.references(&scope).await.unwrap();
        let content = references.stat(&ReferenceId::of(&[7; 50_000])).await;
        assert_eq!(content.unwrap().holders, 1);
        here.close().await;
    }

    #[tokio::test]
    async fn b01_a_large_payload_is_promoted_and_kept_for_a_while() {
        let backend = backend().await;
        let (here, there) = (process(&backend).await, process(&backend).await);
        let mut theirs = there.subscribe(all()).unwrap();
        let payload = Payload::bytes(vec![7; 50_000]);
        here.publish(message("data", payload)).await.unwrap();
        let heard = next(&mut theirs).await;
        assert!(matches!(heard.payload, Payload::Reference(_)));
        here.inner.messenger.sweep().await.unwrap();
        let scope = Scope::parse("default", "tester").unwrap();
        let references = backend.references(&scope).await.unwrap();
        references.collect_garbage().await.unwrap();
        assert_eq!(there.resolve(&heard).await.unwrap(), [7; 50_000][..]);
    }

    #[tokio::test]
    async fn a_group_gets_it_as_well() {
        let backend = backend().await;
        let here = process(&backend).await;
        let messenger = &here.inner.messenger;
        let group = GroupName::new("archive").unwrap();
        let spec = GroupSpec::new(Pattern::new("data.#").unwrap());
        messenger.consumer().declare(&group, &spec).await.unwrap();
        here.publish(message("data.x", Payload::bytes(vec![7; 50_000])))
            .await
            .unwrap();
        let got = messenger
            .receive_one(&group, Duration::ZERO)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(got.message().bytes(), [7; 50_000]);
        messenger.ack(&got).await.unwrap();
    }

    #[tokio::test]
    async fn mail_is_not_heard() {
        let backend = backend().await;
        let here = process(&backend).await;
        let mut ours = here.subscribe(all()).unwrap();
        let mail = message("mailbox.somebody", Payload::text("private"));
        here.inner.messenger.send(mail).await.unwrap();
        let other = message("public", Payload::text("public"));
        here.inner.messenger.send(other).await.unwrap();
        assert_eq!(next(&mut ours).await.topic.as_str(), "public");
    }
}
