//! What most cases about messages begin with: a group, and handles to send to it and receive.

use std::sync::Arc;
use std::time::Duration;

use statehouse_contracts::{
    Backoff, Consumer, ConsumerExt, Counts, DeadLetter, Delivery, GroupName, GroupSpec,
    KeyBlocking, Message, Pattern, Payload, Priority, Producer, ProducerExt, Receive, Scope, Sent,
    Topic,
};
use tokio::task::JoinHandle;

use crate::{Context, Failure, Timing, ensure, ensure_eq, eventually, fail, some};

/// A group on the topic `t`, and the handles of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) producer: Arc<dyn Producer>,
    pub(crate) consumer: Arc<dyn Consumer>,
    pub(crate) group: GroupName,
    pub(crate) timing: Timing,
    spec: GroupSpec,
}

/// The group spec that cases start from: the topic `t`, no backoff, a lease that does not end;
/// ordering keys and priorities as far as the consumer has them, keys rather than priorities where
/// it can do without them.
pub(crate) fn spec(cx: &Context) -> GroupSpec {
    let can = cx.expected().consumer;
    let keys = can.is_some_and(|c| c.ordering_keys);
    let priorities = can.is_some_and(|c| {
        c.priorities > 1 && (c.keys_with_priorities || !keys || !c.equal_priorities)
    });
    GroupSpec {
        backoff: Backoff::NONE,
        lease: cx.timing().long_lease,
        ordering: keys,
        priorities,
        ..GroupSpec::new(Pattern::from(topic("t")))
    }
}

/// The topic of this name.
pub(crate) fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap_or_else(|error| panic!("topic {name:?} of a case: {error}"))
}

/// The pattern of this form.
pub(crate) fn pattern(form: &str) -> Pattern {
    Pattern::new(form).unwrap_or_else(|error| panic!("pattern {form:?} of a case: {error}"))
}

/// The group of this name.
pub(crate) fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap_or_else(|error| panic!("group {name:?} of a case: {error}"))
}

/// The priority of this level.
pub(crate) fn priority(level: u8) -> Priority {
    Priority::new(level).unwrap_or_else(|error| panic!("priority {level} of a case: {error}"))
}

/// A message of `text` on the topic `t`.
pub(crate) fn text(text: &str) -> Message {
    text_on("t", text)
}

/// A message of `text` on the topic `on`.
pub(crate) fn text_on(on: &str, text: &str) -> Message {
    Message::new(topic(on), Payload::text(text))
}

/// A message of `text` on the topic `t` with an ordering key.
pub(crate) fn keyed(key: &str, content: &str) -> Message {
    Message {
        ordering_key: Some(key.to_owned()),
        ..text(content)
    }
}

/// A message of `text` on the topic `t` with a priority.
pub(crate) fn urgent(level: u8, content: &str) -> Message {
    Message {
        priority: priority(level),
        ..text(content)
    }
}

/// A message of `text` on the topic `t` that is due after `delay`.
pub(crate) fn delayed(delay: Duration, content: &str) -> Message {
    Message {
        delay,
        ..text(content)
    }
}

/// The text that a delivery carries.
pub(crate) fn said(delivery: &Delivery) -> String {
    String::from_utf8_lossy(delivery.message().bytes()).into_owned()
}

impl Desk {
    /// With the group `g` by the default spec of cases.
    pub(crate) async fn new(cx: &Context) -> Result<Self, Failure> {
        Self::with(cx, |_| {}).await
    }

    /// With the group `g` by a changed spec.
    pub(crate) async fn with(
        cx: &Context,
        change: impl FnOnce(&mut GroupSpec),
    ) -> Result<Self, Failure> {
        let desk = Self {
            producer: cx.producer().await?,
            consumer: cx.consumer().await?,
            group: group("g"),
            timing: cx.timing(),
            spec: spec(cx),
        };
        desk.declare(change).await?;
        Ok(desk)
    }

    /// With the group `g`, where priorities count, and ordering keys if both can be.
    pub(crate) async fn by_priority(cx: &Context) -> Result<Self, Failure> {
        let keys = cx
            .expected()
            .consumer
            .is_some_and(|c| c.keys_with_priorities);
        Self::with(cx, |spec| {
            spec.priorities = true;
            spec.ordering &= keys;
        })
        .await
    }

    /// With the handles of `backend`, without declaring anything.
    pub(crate) async fn on(
        cx: &Context,
        backend: &dyn statehouse_contracts::Backend,
        scope: &Scope,
    ) -> Result<Self, Failure> {
        Ok(Self {
            producer: backend.producer(scope).await?,
            consumer: backend.consumer(scope).await?,
            group: group("g"),
            timing: cx.timing(),
            spec: spec(cx),
        })
    }

    /// The same handles, receiving from another group.
    pub(crate) fn of(&self, other: &str) -> Self {
        Self {
            group: group(other),
            ..self.clone()
        }
    }

    /// The same handles, receiving from the mailbox of `agent`.
    pub(crate) fn mailbox(&self, agent: &str) -> Self {
        Self {
            group: GroupName::mailbox(agent),
            ..self.clone()
        }
    }

    /// Declares this desk's group by a changed spec.
    pub(crate) async fn declare(&self, change: impl FnOnce(&mut GroupSpec)) -> Result<(), Failure> {
        let mut spec = self.spec.clone();
        change(&mut spec);
        self.consumer.declare(&self.group, &spec).await?;
        Ok(())
    }

    /// Sends one message.
    pub(crate) async fn send(&self, message: Message) -> Result<Sent, Failure> {
        Ok(self.producer.send_one(message).await?)
    }

    /// Sends messages one after another.
    pub(crate) async fn send_all(
        &self,
        messages: impl IntoIterator<Item = Message> + Send,
    ) -> Result<(), Failure> {
        let messages: Vec<Message> = messages.into_iter().collect();
        for message in messages {
            self.send(message).await?;
        }
        Ok(())
    }

    /// The next delivery, which must come; waits for it.
    pub(crate) async fn next(&self) -> Result<Delivery, Failure> {
        self.next_within(self.timing.patience).await
    }

    /// The next delivery, which must come within `wait`.
    pub(crate) async fn next_within(&self, wait: Duration) -> Result<Delivery, Failure> {
        let delivery = self.consumer.receive_one(&self.group, wait).await?;
        some(delivery, "delivery in time")
    }

    /// The next delivery, under a lease that the case waits out.
    pub(crate) async fn next_briefly(&self) -> Result<Delivery, Failure> {
        let receive = Receive {
            lease: Some(self.timing.short_lease),
            ..Receive::new(1, self.timing.patience)
        };
        let mut got = self.consumer.receive(&self.group, receive).await?;
        some(got.pop(), "delivery in time")
    }

    /// The next delivery must say `expected`.
    pub(crate) async fn next_says(&self, expected: &str) -> Result<Delivery, Failure> {
        let delivery = self.next().await?;
        ensure_eq(said(&delivery), expected, "the next delivery")?;
        Ok(delivery)
    }

    /// The next deliveries must say `expected`, in this order; each is acknowledged before the
    /// next is taken.
    pub(crate) async fn all_say(&self, expected: &[&str]) -> Result<(), Failure> {
        let mut got = Vec::new();
        for _ in expected {
            let Some(delivery) = self
                .consumer
                .receive_one(&self.group, self.timing.patience)
                .await?
            else {
                break;
            };
            got.push(said(&delivery));
            self.ack(&delivery).await?;
        }
        ensure_eq(got, expected, "what came, in order")
    }

    /// The next deliveries must say `expected`; in this order where messages of all keys stand in
    /// one order. Each is acknowledged before the next is taken.
    pub(crate) async fn all_say_across_keys(&self, expected: &[&str]) -> Result<(), Failure> {
        if self.consumer.capability().key_blocking == KeyBlocking::Key {
            return self.all_say(expected).await;
        }
        let mut got = Vec::new();
        for _ in expected {
            let delivery = self.next().await?;
            got.push(said(&delivery));
            self.ack(&delivery).await?;
        }
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        got.sort_unstable();
        ensure_eq(got, expected, "what came, in any order")
    }

    /// Nothing may be there at the moment.
    pub(crate) async fn is_empty(&self) -> Result<(), Failure> {
        let got = self
            .consumer
            .receive(&self.group, Receive::new(1, Duration::ZERO))
            .await?;
        self.must_be_none(got)
    }

    /// Nothing may come for a little while.
    pub(crate) async fn stays_empty(&self) -> Result<(), Failure> {
        let got = self
            .consumer
            .receive(&self.group, Receive::new(1, self.timing.quiet))
            .await?;
        self.must_be_none(got)
    }

    fn must_be_none(&self, got: Vec<Delivery>) -> Result<(), Failure> {
        match got.first() {
            None => Ok(()),
            Some(delivery) => fail(format!(
                "{} must hand out nothing, but did {:?}, attempt {}",
                self.group,
                said(delivery),
                delivery.attempt
            )),
        }
    }

    /// Whether `task` still runs after a little while, as it must.
    pub(crate) async fn stays_waiting<T>(&self, task: &JoinHandle<T>) -> Result<(), Failure> {
        // sleep: nothing may happen, so there is nothing to poll for
        tokio::time::sleep(self.timing.quiet).await;
        ensure(!task.is_finished(), "the call must still wait")
    }

    /// Acknowledges.
    pub(crate) async fn ack(&self, delivery: &Delivery) -> Result<(), Failure> {
        Ok(self.consumer.ack(delivery).await?)
    }

    /// Gives back, to come again by the group's backoff.
    pub(crate) async fn nack(&self, delivery: &Delivery, error: &str) -> Result<(), Failure> {
        self.consumer.settle_one(delivery.nack(error)).await?;
        Ok(())
    }

    /// Gives back, to come again after `delay`.
    pub(crate) async fn nack_after(
        &self,
        delivery: &Delivery,
        delay: Duration,
    ) -> Result<(), Failure> {
        self.consumer
            .settle_one(delivery.nack_after(delay, "later"))
            .await?;
        Ok(())
    }

    /// What the group holds.
    pub(crate) async fn counts(&self) -> Result<Counts, Failure> {
        Ok(self.consumer.counts(&self.group).await?)
    }

    /// Waits until so many are ready.
    pub(crate) async fn until_ready(&self, number: u64, within: Duration) -> Result<(), Failure> {
        eventually(within, &format!("{number} ready messages"), || async {
            Ok((self.counts().await?.ready == number).then_some(()))
        })
        .await
    }

    /// The group's dead letters, of which there must be `number`; waits for them.
    pub(crate) async fn dead(&self, number: usize) -> Result<Vec<DeadLetter>, Failure> {
        eventually(self.timing.redelivery, "the dead letters", || async {
            let page = self.consumer.dead_letters(&self.group, 0, None).await?;
            ensure(
                page.items.len() <= number,
                "there are more dead letters than there should be",
            )?;
            Ok((page.items.len() == number).then_some(page.items))
        })
        .await
    }
}
