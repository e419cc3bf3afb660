//! The layers around a backend that is slow, or fails for a while.

#![expect(clippy::unwrap_used, reason = "a failed call fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use statehouse_contracts::{
    Backend, BackendInfo, Error, ErrorKind, Message, MessageId, Namespace, Payload, Producer,
    ProducerCapability, ProducerExt, Result, Scope, SendOptions, Sent, Topic,
};
use statehouse_layers::{Retry, Stack};

/// Sends nothing: it fails `failures` times, or hangs.
#[derive(Debug)]
struct Faulty {
    failures: AtomicU32,
    hangs: bool,
    dedup: bool,
    sends: Arc<AtomicU32>,
}

#[async_trait]
impl Producer for Faulty {
    fn capability(&self) -> ProducerCapability {
        ProducerCapability {
            durability: statehouse_contracts::Durability::NONE,
            max_payload: 1024,
            max_headers: 8,
            max_header_bytes: 1024,
            max_batch: 8,
            dedup_window: self.dedup.then_some(Duration::from_secs(60)),
            max_delay: None,
            delay_precision: Duration::ZERO,
            cancel: false,
            routed: false,
            require_route: false,
            ttl: false,
        }
    }

    async fn send(&self, batch: Vec<Message>, _: SendOptions) -> Result<Vec<Result<Sent>>> {
        self.sends.fetch_add(1, Ordering::SeqCst);
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let fails = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if fails.is_ok() {
            return Err(
                Error::new(ErrorKind::Unavailable, "gone for a moment").with_ambiguous(true)
            );
        }
        let sent = |message: &Message| {
            Ok(Sent {
                id: message.id,
                routed: None,
                duplicate_of: None,
            })
        };
        Ok(batch.iter().map(sent).collect())
    }

    async fn cancel(&self, _: MessageId) -> Result<bool> {
        Ok(false)
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Server(Arc<Faulty>);

#[async_trait]
impl Backend for Server {
    fn name(&self) -> &'static str {
        "faulty"
    }

    async fn info(&self) -> Result<BackendInfo> {
        Ok(BackendInfo {
            name: "faulty",
            server: "none".into(),
            facts: Vec::new(),
        })
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        Ok(Vec::new())
    }

    async fn producer(&self, _: &Scope) -> Result<Arc<dyn Producer>> {
        Ok(self.0.clone())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// The answer of one send through the whole stack, and how often the adapter was called.
async fn send(failures: u32, hangs: bool, dedup: bool) -> (Result<Sent>, u32) {
    let sends = Arc::new(AtomicU32::new(0));
    let faulty = Faulty {
        failures: failures.into(),
        hangs,
        dedup,
        sends: Arc::clone(&sends),
    };
    let retry = Retry {
        attempts: 3,
        base: Duration::from_millis(1),
        cap: Duration::from_millis(2),
    };
    let stack = Stack {
        timeout: Some(Duration::from_millis(50)),
        retry: Some(retry),
        observe: true,
    };
    let backend = stack.wrap(Arc::new(Server(Arc::new(faulty))));
    let producer = backend
        .producer(&Scope::parse("default", "x").unwrap())
        .await
        .unwrap();
    let message = Message::new(Topic::new("t").unwrap(), Payload::text("x"));
    let options = SendOptions {
        admission: Duration::ZERO,
        ..SendOptions::default()
    };
    let answer = producer.send_with(message, options).await;
    (answer, sends.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_moment_of_trouble_is_not_seen_where_a_repeat_is_recognised() {
    let (answer, sends) = send(2, false, true).await;
    assert!(answer.is_ok());
    assert_eq!(sends, 3);
}

#[tokio::test]
async fn an_unclear_send_is_not_repeated_where_a_repeat_is_not_recognised() {
    let (answer, sends) = send(2, false, false).await;
    let error = answer.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_ambiguous(), sends),
        (ErrorKind::Unavailable, true, 1)
    );
}

#[tokio::test]
async fn a_hang_ends_with_a_timeout_that_may_have_been_applied() {
    let (answer, sends) = send(0, true, false).await;
    let error = answer.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_ambiguous(), sends),
        (ErrorKind::Timeout, true, 1)
    );
    assert_eq!(send(0, true, true).await.1, 3);
}

#[test]
fn every_operation_is_counted_by_its_outcome() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            send(0, false, true).await.0.unwrap();
            send(9, false, false).await.0.unwrap_err();
        });
    });
    let counted = |outcome: &str| {
        let metrics = snapshotter.snapshot().into_vec();
        metrics.into_iter().find_map(|(key, _, _, value)| {
            let labels: Vec<(String, String)> = key
                .key()
                .labels()
                .map(|label| (label.key().to_owned(), label.value().to_owned()))
                .collect();
            let wanted = [
                ("operation", "send"),
                ("outcome", outcome),
                ("role", "producer"),
            ];
            let matches = key.key().name() == "statehouse_operations_total"
                && wanted
                    .iter()
                    .all(|(name, is)| labels.iter().any(|(n, v)| n == name && v == is));
            match value {
                DebugValue::Counter(count) if matches => Some(count),
                _ => None,
            }
        })
    };
    assert_eq!(counted("ok"), Some(1));
}
