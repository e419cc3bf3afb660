//! Broadcast: every queue of a namespace is read from its end, once for all listeners of this
//! process, without taking anything from anybody.

use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Debug};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cheetah_string::CheetahString;
use futures::future::try_join_all;
use parking_lot::Mutex;
use rocketmq_model::common::message::message_ext::MessageExt;
use statehouse_contracts::{
    Broadcast, BroadcastEvent, Error, ErrorKind, Namespace, Pattern, Received, Result,
};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cluster::Cluster;
use crate::log::{self, PAGE, Queue};
use crate::message::decode;
use crate::session::Broker;
use crate::topics::PRIORITY_QUEUES;

/// How many messages wait for a slow listener; what comes beyond shows as a gap.
const BUFFER: usize = 2048;

/// How long the broker waits before it answers that there is nothing.
const WAIT: Duration = Duration::from_secs(2);

/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(200);

/// All listeners of a backend.
#[derive(Debug)]
pub(crate) struct Hub {
    cluster: Arc<Cluster>,
    spaces: Mutex<HashMap<Namespace, Weak<Space>>>,
}

/// The listeners of one namespace, and who reads for them.
struct Space {
    listeners: Mutex<Vec<Weak<Listener>>>,
    /// Ends the reading with the last listener.
    _reading: DropGuard,
}

/// A queue, and where its end was.
type Ends = HashMap<Line, i64>;

/// One queue of the namespace on one broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Line {
    broker: CheetahString,
    topic: CheetahString,
    queue: i32,
}

/// What one subscription has not heard yet.
#[derive(Debug)]
struct Listener {
    pattern: Pattern,
    /// What lies before was sent before it listened.
    from: Ends,
    events: Mutex<VecDeque<BroadcastEvent>>,
    /// Why it could not hear, since it was last asked.
    trouble: Mutex<Option<Error>>,
    bell: Notify,
}

impl Hub {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Arc<Self> {
        Arc::new(Self {
            cluster,
            spaces: Mutex::default(),
        })
    }

    /// Hears what is sent from now on.
    pub(crate) async fn listen(
        &self,
        namespace: &Namespace,
        pattern: &Pattern,
        closing: CancellationToken,
    ) -> Result<Box<dyn Broadcast>> {
        let from = self.ends(namespace).await?;
        let space = self.space(namespace, &from);
        let listener = Arc::new(Listener {
            pattern: pattern.clone(),
            from,
            events: Mutex::default(),
            trouble: Mutex::default(),
            bell: Notify::new(),
        });
        space.listeners.lock().push(Arc::downgrade(&listener));
        Ok(Box::new(Subscription {
            _space: space,
            listener,
            closing,
        }))
    }

    /// The end of each queue of the namespace.
    async fn ends(&self, namespace: &Namespace) -> Result<Ends> {
        let client = &self.cluster.client;
        let made = self.cluster.groups.made(namespace).await?;
        let topics = &made.topics;
        let brokers = client.brokers()?;
        let mut lines = Vec::new();
        for broker in brokers.iter() {
            log::queued(client, broker).await?;
            let keyed = made.key_queues(broker);
            for (topic, queues) in [(&topics.keyed, keyed), (&topics.priority, PRIORITY_QUEUES)] {
                lines.extend((0..queues as i32).map(|id| Queue { broker, topic, id }));
            }
        }
        let ends = lines.into_iter().map(async |queue| {
            let line = Line {
                broker: queue.broker.name.clone(),
                topic: queue.topic.clone(),
                queue: queue.id,
            };
            log::end(client, queue).await.map(|end| (line, end))
        });
        Ok(try_join_all(ends).await?.into_iter().collect())
    }

    /// Who listens in the namespace; the first lets the reading begin at these ends.
    fn space(&self, namespace: &Namespace, ends: &Ends) -> Arc<Space> {
        let mut spaces = self.spaces.lock();
        if let Some(space) = spaces.get(namespace).and_then(Weak::upgrade) {
            return space;
        }
        let reading = self.cluster.client.closing.child_token();
        let space = Arc::new(Space {
            listeners: Mutex::default(),
            _reading: reading.clone().drop_guard(),
        });
        spaces.retain(|_, space| space.strong_count() > 0);
        spaces.insert(namespace.clone(), Arc::downgrade(&space));
        for (line, end) in ends {
            let follow = Box::pin(follow(
                self.cluster.clone(),
                Arc::downgrade(&space),
                line.clone(),
                *end,
            ));
            let reading = reading.clone();
            tokio::spawn(async move { reading.run_until_cancelled(follow).await });
        }
        space
    }
}

/// Reads a queue from `at` on and tells the listeners.
async fn follow(cluster: Arc<Cluster>, space: Weak<Space>, line: Line, mut at: i64) {
    loop {
        let read = read(&cluster, &line, at).await;
        let Some(space) = space.upgrade() else { return };
        match read {
            Ok(page) => {
                if page.min > at {
                    space.tell_gap(Some((page.min - at) as u64));
                } else if page.next < at {
                    space.tell_gap(None);
                }
                at = page.next.max(page.min);
                for message in page.messages {
                    space.tell(&line, &message);
                }
            }
            Err(error) => {
                space.tell_trouble(&error);
                drop(space);
                // sleep: the pause after a failure; what is sent meanwhile is read afterwards
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn read(cluster: &Cluster, line: &Line, at: i64) -> Result<log::Page> {
    let broker: Broker = cluster.client.broker(&line.broker)?;
    let queue = Queue {
        broker: &broker,
        topic: &line.topic,
        id: line.queue,
    };
    log::read(&cluster.groups, queue, at, PAGE, WAIT).await
}

impl Space {
    fn tell(&self, line: &Line, native: &MessageExt) {
        let received = match decode(native) {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "a message that cannot be read is not broadcast");
                return;
            }
        };
        let offset = native.queue_offset();
        self.each(|listener| {
            let since = listener.from.get(line).is_none_or(|from| offset >= *from);
            if since && listener.pattern.matches(&received.message.topic) {
                listener.hear(&received);
            }
        });
    }

    fn tell_gap(&self, missed: Option<u64>) {
        self.each(|listener| listener.miss(missed));
    }

    fn tell_trouble(&self, error: &Error) {
        self.each(|listener| listener.trouble(error));
    }

    fn each(&self, tell: impl Fn(&Listener)) {
        self.listeners
            .lock()
            .retain(|listener| match listener.upgrade() {
                Some(listener) => {
                    tell(&listener);
                    true
                }
                None => false,
            });
    }
}

impl Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listeners = self.listeners.lock().len();
        f.debug_struct("Space")
            .field("listeners", &listeners)
            .finish_non_exhaustive()
    }
}

impl Listener {
    fn hear(&self, received: &Received) {
        let mut events = self.events.lock();
        if events.len() < BUFFER {
            events.push_back(BroadcastEvent::Message(Box::new(received.clone())));
            self.bell.notify_one();
        } else {
            drop(events);
            self.miss(Some(1));
        }
    }

    fn trouble(&self, error: &Error) {
        let error = Error::new(ErrorKind::Unavailable, error.message().to_owned());
        *self.trouble.lock() = Some(error.with_operation("broadcast"));
        self.bell.notify_one();
    }

    fn miss(&self, more: Option<u64>) {
        let mut events = self.events.lock();
        if let Some(BroadcastEvent::Gap { missed }) = events.back_mut() {
            *missed = missed.zip(more).map(|(before, more)| before + more);
        } else {
            events.push_back(BroadcastEvent::Gap { missed: more });
        }
        self.bell.notify_one();
    }
}

/// One subscription.
#[derive(Debug)]
struct Subscription {
    _space: Arc<Space>,
    listener: Arc<Listener>,
    closing: CancellationToken,
}

#[async_trait]
impl Broadcast for Subscription {
    async fn next(&mut self, wait: Duration) -> Result<Option<BroadcastEvent>> {
        let end = Instant::now() + wait;
        loop {
            if self.closing.is_cancelled() {
                return Err(Error::closed());
            }
            if let Some(error) = self.listener.trouble.lock().take() {
                return Err(error);
            }
            if let Some(event) = self.listener.events.lock().pop_front() {
                return Ok(Some(event));
            }
            tokio::select! {
                () = self.closing.cancelled() => {}
                () = tokio::time::sleep_until(end.into()) => return Ok(None),
                () = self.listener.bell.notified() => {}
            }
        }
    }
}
