//! Runs a handler on the messages of a group; what it brings about happens once.

use std::fmt::{self, Debug};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use statehouse_contracts::{
    Consumer, ConsumerExt, Delivery, Error, ErrorKind, FailRetry, GroupName, Receive, Result,
    Retry, SettleAction, Transaction,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Inbox, Once};
use crate::pause::Pauses;
use crate::processor::{HandlerError, panicked};

/// How a message processor works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageProcessorOptions {
    /// From which group; it must be declared.
    pub group: GroupName,
    /// How many messages are handled at once, at least 1.
    pub concurrency: usize,
    /// How long a delivery's lease lasts; it is extended while its handler runs.
    pub lease: Duration,
    /// How long running handlers may take to finish at a stop; then their messages are given back.
    pub grace: Duration,
    /// How often expired marks are forgotten; `None`: never by this process.
    pub clean: Option<Duration>,
    /// The longest pause before an effect is applied again that could not be applied for now.
    pub backoff: Duration,
}

impl MessageProcessorOptions {
    /// One message at a time, leases of 30 s, 10 s of grace, cleaning every hour, at most 5 s
    /// between attempts.
    pub fn new(group: GroupName) -> Self {
        Self {
            group,
            concurrency: 1,
            lease: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            clean: Some(Duration::from_secs(3600)),
            backoff: Duration::from_secs(5),
        }
    }
}

/// One message in a handler's hands.
#[derive(Clone, Debug)]
pub struct MessageContext {
    /// The message, and which delivery of it this is.
    pub delivery: Delivery,
    /// Cancelled when the lease has ended. The handler is dropped at its next await then; blocking
    /// work should look at this.
    pub lost: CancellationToken,
}

/// Works out what messages bring about.
#[async_trait]
pub trait MessageHandler: Send + Sync + 'static {
    /// What a message brings about: writes, and messages to send. It is applied after this returns,
    /// together with the mark that the message was dealt with, so it happens once; an empty
    /// transaction only marks.
    ///
    /// This itself may run several times for one message: after a failure or a lost lease, and when
    /// a precondition of the transaction no longer holds. So it reads, and leaves the writing to
    /// the transaction.
    async fn handle(&self, context: MessageContext) -> Result<Transaction, HandlerError>;
}

/// How the work on one message ended.
enum Ended {
    Done,
    Failed(HandlerError),
    Lost,
}

/// Receives the messages of a group and runs a handler on each; its effect happens once, whatever
/// is redelivered and whatever crashes (see [`Inbox`]).
///
/// - Leases are extended while handlers run. A handler that fails or panics gives its message back,
///   by the group's backoff and up to its `max_deliveries`; [`HandlerError::fatal`] makes it a dead
///   letter at once.
/// - While the store is away, messages stay leased and their effects are applied when it is back.
/// - When a precondition of an effect no longer holds, its handler runs again, at once.
#[derive(Clone)]
pub struct MessageProcessor {
    consumer: Arc<dyn Consumer>,
    inbox: Inbox,
    handler: Arc<dyn MessageHandler>,
    options: MessageProcessorOptions,
}

impl Debug for MessageProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageProcessor")
            .field("inbox", &self.inbox)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl MessageProcessor {
    /// How long one wait for a message lasts.
    const WAIT: Duration = Duration::from_secs(5);
    /// How often a handler runs in one delivery because a precondition did not hold.
    const CONFLICTS: u32 = 10;

    /// A processor of the messages of `consumer` by `handler`, which `inbox` remembers.
    pub fn new(
        consumer: Arc<dyn Consumer>,
        inbox: Inbox,
        handler: impl MessageHandler,
        options: MessageProcessorOptions,
    ) -> Self {
        Self {
            consumer,
            inbox,
            handler: Arc::new(handler),
            options,
        }
    }

    /// Runs until `stop`; then lets running handlers finish within the grace, and gives the rest
    /// back.
    pub async fn run(self, stop: CancellationToken) {
        let ended = stop.child_token();
        let cleaning = async {
            if let Some(every) = self.options.clean {
                self.inbox.keep_clean(every, ended.clone()).await;
            }
        };
        let working = async {
            self.work(&stop).await;
            ended.cancel();
        };
        tokio::join!(working, cleaning);
    }

    async fn work(&self, stop: &CancellationToken) {
        let most = self.options.concurrency.max(1);
        let (mut running, mut pauses) = (JoinSet::new(), Pauses::up_to(self.options.backoff));
        let cut = CancellationToken::new();
        while !stop.is_cancelled() {
            while running.len() >= most && !stop.is_cancelled() {
                tokio::select! {
                    () = stop.cancelled() => {}
                    _ = running.join_next() => {}
                }
            }
            let free = most.saturating_sub(running.len()).max(1);
            let received = tokio::select! {
                () = stop.cancelled() => break,
                received = self.receive(free) => received,
            };
            match received {
                Ok(new) => {
                    pauses.reset();
                    for delivery in new {
                        let (processor, cut) = (self.clone(), cut.clone());
                        running.spawn(async move { processor.deal_with(delivery, cut).await });
                    }
                }
                Err(error) if error.kind() == ErrorKind::Closed => break,
                Err(error) => {
                    tracing::warn!(group = %self.options.group, %error, "no message can be received");
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(pauses.next()) => {}
                    }
                }
            }
            while running.try_join_next().is_some() {}
        }
        let finish = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(self.options.grace, finish)
            .await
            .is_err()
        {
            cut.cancel();
            while running.join_next().await.is_some() {}
        }
    }

    /// Messages that are not known; what is known is acknowledged.
    async fn receive(&self, max: usize) -> Result<Vec<Delivery>> {
        let can = self.consumer.capability();
        let receive = Receive {
            max: max.min(can.max_receive),
            wait: Self::WAIT,
            lease: Some(self.options.lease.clamp(can.min_lease, can.max_lease)),
        };
        let got = self.consumer.receive(&self.options.group, receive).await?;
        let known = self.inbox.known(&got).await?;
        let mut new = Vec::new();
        for (delivery, known) in got.into_iter().zip(known) {
            if known {
                metrics::counter!("statehouse_inbox_known_total").increment(1);
                self.acknowledge(&delivery).await;
            } else {
                new.push(delivery);
            }
        }
        Ok(new)
    }

    async fn acknowledge(&self, delivery: &Delivery) {
        if let Err(error) = self.consumer.ack(delivery).await {
            let id = delivery.message().id;
            tracing::debug!(message = %id, %error, "a message that was dealt with comes once more");
        }
    }

    /// Runs the handler on one message, applies what it brings about, and settles it.
    async fn deal_with(&self, mut delivery: Delivery, cut: CancellationToken) {
        let id = delivery.message().id;
        let lost = CancellationToken::new();
        let context = MessageContext {
            delivery: delivery.clone(),
            lost: lost.clone(),
        };
        let ended = tokio::select! {
            ended = self.under_lease(context, &mut delivery) => ended,
            () = cut.cancelled() => Ended::Failed(HandlerError::retry("the processor was stopped")),
        };
        match ended {
            Ended::Done => self.acknowledge(&delivery).await,
            Ended::Lost => {
                lost.cancel();
                tracing::info!(message = %id, "the lease has ended; the handler was dropped");
            }
            Ended::Failed(error) => {
                lost.cancel();
                self.give_back(&delivery, error).await;
            }
        }
    }

    async fn give_back(&self, delivery: &Delivery, error: HandlerError) {
        let delays = self.consumer.capability().nack_delay;
        let mut settle = delivery.nack(error.message);
        match (error.retry, &mut settle.action) {
            (FailRetry::Never, SettleAction::Nack { error, .. }) => {
                let reason = error.take().unwrap_or_default();
                settle.action = SettleAction::DeadLetter { reason };
            }
            (FailRetry::After(wait), SettleAction::Nack { delay, .. }) if delays => {
                *delay = Some(wait);
            }
            _ => {}
        }
        if let Err(error) = self.consumer.settle_one(settle).await {
            let id = delivery.message().id;
            tracing::warn!(message = %id, %error, "a message could not be given back; its lease runs out");
        }
    }

    /// Works while it extends the lease. An extension that was begun is awaited, also when the work
    /// ends meanwhile: only the newest token settles.
    async fn under_lease(&self, context: MessageContext, delivery: &mut Delivery) -> Ended {
        let can = self.consumer.capability();
        let length = self.options.lease.clamp(can.min_lease, can.max_lease);
        let mut work = pin!(self.bring_about(context));
        let mut end = None;
        while end.is_none() {
            tokio::select! {
                ended = &mut work => {
                    end = Some(ended);
                    continue;
                }
                () = tokio::time::sleep(length / 3) => {}
            }
            let held = delivery.extend(length);
            let mut extension = pin!(self.consumer.settle_one(held));
            let extended = loop {
                tokio::select! {
                    extended = &mut extension => break extended,
                    ended = &mut work, if end.is_none() => end = Some(ended),
                }
            };
            match extended.map(|settled| settled.lease) {
                Ok(Some(lease)) => delivery.lease = lease,
                Ok(None) => {}
                Err(error) if lease_is_over(&error, delivery) => {
                    return end.unwrap_or(Ended::Lost);
                }
                Err(error) => tracing::warn!(%error, "a lease could not be extended yet"),
            }
        }
        end.unwrap_or(Ended::Lost)
    }

    /// Runs the handler and applies its effect, again where a precondition did not hold.
    async fn bring_about(&self, context: MessageContext) -> Ended {
        let delivery = context.delivery.clone();
        for _ in 0..Self::CONFLICTS {
            let handled = AssertUnwindSafe(self.handler.handle(context.clone()));
            let effect = match handled.catch_unwind().await {
                Ok(Ok(effect)) => effect,
                Ok(Err(error)) => return Ended::Failed(error),
                Err(panic) => return Ended::Failed(panicked(&*panic)),
            };
            match self.apply(&delivery, effect).await {
                Ok(_) => return Ended::Done,
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Ended::Failed(HandlerError::retry(error.to_string())),
            }
        }
        Ended::Failed(HandlerError::retry(format!(
            "a precondition of the effect did not hold in {} attempts",
            Self::CONFLICTS
        )))
    }

    /// Applies the effect; again and again while it cannot be applied for the moment.
    async fn apply(&self, delivery: &Delivery, effect: Transaction) -> Result<Once> {
        let mut pauses = Pauses::up_to(self.options.backoff);
        loop {
            match self.inbox.apply_once(delivery, effect.clone()).await {
                Err(error) if may_pass(&error) => {
                    tracing::warn!(%error, "an effect cannot be applied yet");
                    tokio::time::sleep(pauses.next()).await;
                }
                ended => return ended,
            }
        }
    }
}

fn may_pass(error: &Error) -> bool {
    error.is_ambiguous()
        || !matches!(error.retry(), Retry::Never)
        || error.kind() == ErrorKind::Timeout
}

fn lease_is_over(error: &Error, delivery: &Delivery) -> bool {
    error.kind() == ErrorKind::LeaseLost || delivery.lease.remaining().is_zero()
}
