//! Waiting without asking: a script that changes what somebody may wait for publishes on a channel
//! of its namespace, and one connection of this process listens for all who wait.
//!
//! A wake-up says only "look again". Whatever may have hidden one (a connection that was lost, a
//! subscription that was renewed) counts as one.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use fred::interfaces::{ClientLike, EventInterface};
use fred::types::Message;
use fred::types::config::Server;
use futures::future::try_join_all;
use parking_lot::Mutex;
use statehouse_contracts::{Error, Result};
use tokio::sync::broadcast::Receiver;
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::{Client, Own};
use crate::error::map;
use crate::session::Session;

/// How often the connection is tried, so that one whose other end is gone is noticed.
const HEARTBEAT: std::time::Duration = std::time::Duration::from_secs(2);

/// The channels that this process listens to.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    hub: OnceCell<Arc<Hub>>,
}

impl Wakes {
    /// Listens to `channel` from now on.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached.
    pub(crate) async fn listen(&self, client: &Arc<Client>, channel: &str) -> Result<Listener> {
        let hub = self
            .hub
            .get_or_try_init(|| Hub::open(Arc::clone(client)))
            .await?;
        hub.listen(channel).await
    }
}

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Look again.
    Up,
    /// The deadline has passed.
    Late,
}

/// Hears one channel until it is dropped. Clones hear it too, each for itself.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    seen: watch::Receiver<u64>,
    _seat: Arc<Seat>,
}

impl Listener {
    /// Takes all wake-ups so far as seen; what comes after is not missed. Call it before looking.
    pub(crate) fn mark(&mut self) {
        self.seen.mark_unchanged();
    }

    /// Waits for a wake-up after the last mark, or for `deadline`.
    pub(crate) async fn wait(&mut self, deadline: Instant) -> Result<Woken> {
        match timeout_at(deadline, self.seen.changed()).await {
            Err(_) => Ok(Woken::Late),
            Ok(Ok(())) => Ok(Woken::Up),
            Ok(Err(_)) => Err(Error::closed()),
        }
    }
}

/// A place among the listeners of a channel.
#[derive(Debug)]
struct Seat {
    channel: String,
    hub: Weak<Hub>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.leave(std::mem::take(&mut self.channel));
        }
    }
}

#[derive(Debug)]
struct Channel {
    seats: usize,
    wakes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Hub {
    client: Arc<Client>,
    own: Own,
    channels: Mutex<HashMap<String, Channel>>,
    _stop: DropGuard,
}

impl Hub {
    async fn open(client: Arc<Client>) -> Result<Arc<Self>> {
        let own = client.own("listen").await?;
        let stop = CancellationToken::new();
        let hub = Arc::new(Self {
            client,
            own,
            channels: Mutex::default(),
            _stop: stop.clone().drop_guard(),
        });
        // From here on nothing that is published is missed.
        let heard = (hub.own.fred().message_rx(), hub.own.fred().reconnect_rx());
        tokio::spawn(hear(Arc::downgrade(&hub), heard, stop));
        Ok(hub)
    }

    async fn listen(self: &Arc<Self>, channel: &str) -> Result<Listener> {
        let seen = {
            let mut channels = self.channels.lock();
            let entry = channels
                .entry(channel.to_owned())
                .or_insert_with(|| Channel {
                    seats: 0,
                    wakes: watch::Sender::new(0),
                });
            entry.seats += 1;
            entry.wakes.subscribe()
        };
        // From here on the seat is given back whatever happens.
        let listener = Listener {
            seen,
            _seat: Arc::new(Seat {
                channel: channel.to_owned(),
                hub: Arc::downgrade(self),
            }),
        };
        self.subscribe(channel).await?;
        Ok(listener)
    }

    fn leave(self: &Arc<Self>, channel: String) {
        {
            let mut channels = self.channels.lock();
            let Some(entry) = channels.get_mut(&channel) else {
                return;
            };
            entry.seats -= 1;
            if entry.seats > 0 {
                return;
            }
            channels.remove(&channel);
        }
        let hub = Arc::clone(self);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { hub.unsubscribe(channel).await });
        }
    }

    async fn subscribe(&self, channel: &str) -> Result<()> {
        let limit = Instant::now() + self.client.timeout();
        match timeout_at(limit, self.own.subscribe(channel)).await {
            Ok(done) => done.map_err(|error| map("listen", error, false)),
            Err(_) => Err(map("listen", timed_out(), false)),
        }
    }

    async fn unsubscribe(&self, channel: String) {
        let limit = Instant::now() + self.client.timeout();
        // A subscription that stays costs no more than some wake-ups of nobody.
        let _ = timeout_at(limit, self.own.unsubscribe(&channel)).await;
        let taken_again = self.channels.lock().contains_key(&channel);
        if taken_again {
            match self.subscribe(&channel).await {
                Ok(()) => self.wake(&channel),
                Err(error) => {
                    tracing::warn!(%error, "a channel is not heard until the next connection")
                }
            }
        }
    }

    fn wake(&self, channel: &str) {
        if let Some(entry) = self.channels.lock().get(channel) {
            entry.wakes.send_modify(|count| *count += 1);
        }
    }

    /// Renews all subscriptions on a new connection, and wakes all.
    async fn renew(&self) {
        let names: Vec<String> = self.channels.lock().keys().cloned().collect();
        let again = names.iter().map(|name| self.subscribe(name));
        if let Err(error) = try_join_all(again).await {
            tracing::warn!(%error, "the channels are not heard until the next connection");
        }
        for entry in self.channels.lock().values() {
            entry.wakes.send_modify(|count| *count += 1);
        }
    }
}

fn timed_out() -> fred::error::Error {
    fred::error::Error::new(fred::error::ErrorKind::Timeout, "Request timed out.")
}

/// Hands wake-ups out, renews subscriptions after a reconnection, and keeps the connection honest.
async fn hear(
    hub: Weak<Hub>,
    (mut messages, mut connections): (Receiver<Message>, Receiver<Server>),
    stop: CancellationToken,
) {
    let Some(fred) = hub.upgrade().map(|hub| hub.own.fred().clone()) else {
        return;
    };
    let mut beat = Instant::now() + HEARTBEAT;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            message = messages.recv() => {
                let Some(hub) = hub.upgrade() else { return };
                match message {
                    Ok(message) => hub.wake(&message.channel),
                    // Some were missed.
                    Err(_) => hub.renew().await,
                }
            }
            _ = connections.recv() => {
                let Some(hub) = hub.upgrade() else { return };
                hub.renew().await;
            }
            () = sleep_until(beat) => {
                let Some(hub) = hub.upgrade() else { return };
                let limit = Instant::now() + hub.client.timeout();
                let alive = timeout_at(limit, fred.ping::<()>(None)).await;
                if alive.is_err() {
                    // Fails only while it is reconnecting anyway.
                    let _ = fred.force_reconnection().await;
                }
                beat = Instant::now() + HEARTBEAT;
            }
        }
    }
}

/// The one listener of a handle to a channel, made by the first call that waits.
#[derive(Debug, Default)]
pub(crate) struct Hearing {
    listener: OnceCell<Listener>,
}

impl Hearing {
    /// A listener to `channel`, which is the same for all calls.
    pub(crate) async fn listener(&self, session: &Session, channel: &str) -> Result<Listener> {
        let listener = self.listener.get_or_try_init(|| session.listen(channel));
        listener.await.cloned()
    }
}
