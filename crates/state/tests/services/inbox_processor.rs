//! The message processor: effects through crashes, lost answers, conflicts and failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use statehouse_contracts::{
    Error, ErrorKind, Precondition, Retry, StateManager, StateManagerExt, Transaction, Write,
};
use statehouse_layers::{Call, Layer};
use statehouse_state::{
    HandlerError, Inbox, MessageContext, MessageHandler, MessageProcessor, MessageProcessorOptions,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::inbox::{Bench, effect, everywhere};
use crate::support::{Store, eventually, key, scope};

impl Bench {
    fn start(&self, inbox: Inbox, handler: impl MessageHandler) -> Running {
        let options = MessageProcessorOptions {
            concurrency: 4,
            grace: Duration::ZERO,
            backoff: Duration::from_millis(20),
            ..MessageProcessorOptions::new(self.group.clone())
        };
        let processor = MessageProcessor::new(self.queue.clone(), inbox, handler, options);
        let stop = CancellationToken::new();
        Running {
            task: tokio::spawn(processor.run(stop.clone())),
            stop,
        }
    }
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

struct Appends;

#[async_trait]
impl MessageHandler for Appends {
    async fn handle(&self, context: MessageContext) -> Result<Transaction, HandlerError> {
        Ok(effect(context.delivery.message()))
    }
}

everywhere! {
    a_processor_applies_once_through_crashes
    a_processor_settles_what_was_applied_without_an_answer
    a_precondition_that_fails_runs_the_handler_again
    a_message_that_fails_for_good_leaves_no_mark
}

async fn a_processor_applies_once_through_crashes(bench: Bench) {
    let texts: Vec<String> = (0..40).map(|n| format!("m{n}")).collect();
    for text in &texts {
        bench.send(text).await;
    }
    for round in 0_u64..20 {
        let running = bench.start(bench.inbox(), Appends);
        // sleep: the processor is killed wherever it is after a while
        tokio::time::sleep(Duration::from_millis(3 * (round % 7))).await;
        running.task.abort();
        bench.queue.crash();
    }
    let running = bench.start(bench.inbox(), Appends);
    for text in &texts {
        eventually(&format!("the effect of {text}"), || async {
            (!bench.effects(text).await.is_empty()).then_some(())
        })
        .await;
    }
    for _ in 0..3 {
        bench.queue.crash();
        eventually("all that came again", || async {
            (bench.queue.waiting() == 0).then_some(())
        })
        .await;
    }
    running.stop().await;
    for text in &texts {
        assert_eq!(bench.effects(text).await, "x", "{text}");
    }
}

/// Answers `apply` wrongly a few times: refused for now, or applied without an answer.
#[derive(Clone, Debug, Default)]
struct Faults(Arc<AtomicUsize>);

impl Layer for Faults {
    async fn call<T, F, Fut>(&self, call: &Call, mut run: F) -> statehouse_contracts::Result<T>
    where
        T: Send,
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = statehouse_contracts::Result<T>> + Send,
    {
        if call.operation != "apply" {
            return run().await;
        }
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Error::new(ErrorKind::Unavailable, "not now")),
            1 => {
                run().await?;
                let lost = Error::new(ErrorKind::Timeout, "the answer was lost");
                Err(lost.with_ambiguous(true).with_retry(Retry::Never))
            }
            _ => run().await,
        }
    }
}

async fn a_processor_settles_what_was_applied_without_an_answer(bench: Bench) {
    let faults = Faults::default();
    let broken = statehouse_layers::around(bench.store.backend.clone(), faults.clone());
    let state = broken.state(&scope()).await.unwrap();
    let inbox = Inbox::new(state, Inbox::REMEMBER).unwrap();
    bench.send("a").await;
    let running = bench.start(inbox, Appends);
    eventually("a third attempt", || async {
        (faults.0.load(Ordering::SeqCst) >= 3).then_some(())
    })
    .await;
    running.stop().await;
    assert_eq!(bench.effects("a").await, "x");
}

/// Counts up, under the version that it read; somebody else writes in between once.
struct Counts {
    state: Arc<dyn StateManager>,
    runs: Arc<AtomicUsize>,
}

#[async_trait]
impl MessageHandler for Counts {
    async fn handle(&self, _: MessageContext) -> Result<Transaction, HandlerError> {
        let before = self.state.get(&key("count")).await?;
        let when = before.map_or(Precondition::Absent, |record| {
            Precondition::Version(record.version)
        });
        if self.runs.fetch_add(1, Ordering::SeqCst) == 0 {
            self.state.append(&key("count"), "other,".into()).await?;
        }
        Ok(Transaction::of(
            Write::append(key("count"), "ours").when(when),
        ))
    }
}

async fn a_precondition_that_fails_runs_the_handler_again(bench: Bench) {
    bench.send("a").await;
    let runs = Arc::<AtomicUsize>::default();
    let handler = Counts {
        state: bench.state.clone(),
        runs: runs.clone(),
    };
    let running = bench.start(bench.inbox(), handler);
    eventually("the effect", || async {
        (bench.effects("count").await == "other,ours").then_some(())
    })
    .await;
    running.stop().await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

/// Fails for good at first.
struct Refuses(Arc<AtomicUsize>);

#[async_trait]
impl MessageHandler for Refuses {
    async fn handle(&self, context: MessageContext) -> Result<Transaction, HandlerError> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => Err(HandlerError::retry("not yet")),
            1 => panic!("in the middle of it"),
            2 => Err(HandlerError::fatal("poison")),
            _ => Ok(effect(context.delivery.message())),
        }
    }
}

async fn a_message_that_fails_for_good_leaves_no_mark(bench: Bench) {
    bench.send("a").await;
    let queue = bench.store.backend.consumer(&scope()).await.unwrap();
    let options = MessageProcessorOptions::new(bench.group.clone());
    let handler = Refuses(Arc::default());
    let processor = MessageProcessor::new(queue.clone(), bench.inbox(), handler, options);
    let stop = CancellationToken::new();
    let task = tokio::spawn(processor.run(stop.clone()));
    let letter = eventually("a dead letter", || async {
        let page = queue.dead_letters(&bench.group, 0, None).await.unwrap();
        page.items.into_iter().next()
    })
    .await;
    assert_eq!((letter.reason.as_str(), letter.attempts), ("poison", 3));
    let errors: Vec<&str> = letter
        .errors
        .iter()
        .map(|error| error.error.as_str())
        .collect();
    assert_eq!(
        errors,
        ["not yet", "the handler panicked: in the middle of it"]
    );
    assert_eq!(bench.effects("a").await, "");
    assert_eq!(queue.redrive(&bench.group, None).await.unwrap(), 1);
    eventually("the effect", || async {
        (bench.effects("a").await == "x").then_some(())
    })
    .await;
    stop.cancel();
    task.await.unwrap();
}
