//! Hearing what is sent: one connection per namespace and process listens while anybody does, and
//! tells each who listens what its pattern matches.
//!
//! Senders publish only while somebody is known to listen, which has to be said again and again.
//! Every message is numbered, published or not, so that a loss shows: in a number that does not
//! follow the last, or in the answer to the word that somebody listens.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::Message as Published;
use parking_lot::Mutex;
use statehouse_contracts::{Error, Received, Result};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::broadcast::Ear;
use super::{Desk, scripts, stored};
use crate::client::Own;
use crate::error::map;
use crate::reply::{Row, senseless};
use crate::session::Store;
use crate::time::{micros, timestamp};

/// For how long one word that somebody listens is good, and how often it is said.
const HEARD_FOR: Duration = Duration::from_secs(60);
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The listening of one namespace; open while somebody listens.
#[derive(Debug, Default)]
pub(super) struct Hub {
    open: tokio::sync::Mutex<Weak<Hearing>>,
}

impl Hub {
    /// Adds an ear, which hears everything that is sent from now on.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached.
    pub(super) async fn add(&self, desk: &Desk, ear: &Arc<Ear>) -> Result<Arc<Hearing>> {
        let mut open = self.open.lock().await;
        let hearing = match open.upgrade() {
            Some(hearing) => hearing,
            None => {
                let hearing = Hearing::open(desk).await?;
                *open = Arc::downgrade(&hearing);
                hearing
            }
        };
        hearing.ears.lock().push(Arc::downgrade(ear));
        let said = hearing.say().await?;
        // What was lost up to here is not the ear's own.
        ear.begin_after(said.last);
        Ok(hearing)
    }
}

/// A connection that listens, and the ears that it tells.
#[derive(Debug)]
pub(super) struct Hearing {
    own: Own,
    store: Arc<Store>,
    meta: String,
    ears: Mutex<Vec<Weak<Ear>>>,
    heard: Mutex<Heard>,
    _stop: DropGuard,
}

/// What the server answers to the word that somebody listens.
#[derive(Clone, Copy, Debug)]
struct Said {
    /// The number of the last message.
    last: u64,
    /// The number of the last message that was not published; 0 when all were.
    unheard: u64,
}

/// Up to which message everything was heard, or is known to be lost. Only one task counts here.
#[derive(Debug)]
struct Heard {
    last: u64,
    /// The number of the last message when the server was asked before: by the next time it was
    /// heard, or is lost.
    due: u64,
}

impl Heard {
    fn from(last: u64) -> Self {
        Self { last, due: last }
    }

    /// Counts a message that was heard; answers whether some before it were lost.
    fn message(&mut self, number: u64) -> bool {
        let lost = number > self.last + 1;
        self.last = self.last.max(number);
        lost
    }

    /// Takes in what the server says; answers whether it tells of a loss.
    fn said(&mut self, said: Said) -> bool {
        if said.last < self.last {
            // The server has an older state than it had.
            self.last = said.last;
            self.due = said.last;
            return true;
        }
        let gone = said.unheard.max(self.due);
        let lost = gone > self.last;
        self.last = self.last.max(gone);
        self.due = said.last;
        lost
    }
}

impl Hearing {
    async fn open(desk: &Desk) -> Result<Arc<Self>> {
        let own = desk.store().client.own("broadcast").await?;
        let meta = desk.session.keys.one("meta");
        let messages = own.fred().message_rx();
        own.subscribe(&format!("{meta}:cast"))
            .await
            .map_err(|error| map("broadcast", error, false))?;
        let said = say(desk.store(), &meta).await?;
        let stop = CancellationToken::new();
        let hearing = Arc::new(Self {
            own,
            store: Arc::clone(desk.store()),
            meta,
            ears: Mutex::default(),
            heard: Mutex::new(Heard::from(said.last)),
            _stop: stop.clone().drop_guard(),
        });
        tokio::spawn(hear(Arc::downgrade(&hearing), messages, stop));
        Ok(hearing)
    }

    async fn say(&self) -> Result<Said> {
        say(&self.store, &self.meta).await
    }

    /// Says it again, and hears whether messages were not published meanwhile.
    async fn say_again(&self) {
        match self.say().await {
            Ok(said) => {
                let (lost, last) = {
                    let mut heard = self.heard.lock();
                    (heard.said(said), heard.last)
                };
                if lost {
                    self.each(|ear| ear.miss(last));
                }
            }
            Err(error) => tracing::debug!(%error, "it is said later that somebody listens"),
        }
    }

    /// Subscribes once more, on a new connection.
    async fn renew(&self) {
        let channel = format!("{}:cast", self.meta);
        if let Err(error) = self.own.subscribe(&channel).await {
            tracing::debug!(%error, "a broadcast hears nothing until the next connection");
        }
        match self.say().await {
            Ok(said) => *self.heard.lock() = Heard::from(said.last),
            Err(error) => tracing::debug!(%error, "it is said later that somebody listens"),
        }
        self.miss();
    }

    /// Tells all ears that messages may be missing here.
    fn miss(&self) {
        self.each(|ear| ear.miss(u64::MAX));
    }

    fn each(&self, tell: impl Fn(&Ear)) {
        self.ears.lock().retain(|ear| match ear.upgrade() {
            Some(ear) => {
                tell(&ear);
                true
            }
            None => false,
        });
    }

    fn tell(&self, published: &Published) {
        let Some(bytes) = published.value.as_bytes() else {
            return;
        };
        if let Some(id) = bytes.strip_prefix(b"-") {
            return self.each(|ear| ear.take_back(id));
        }
        let Some(cast) = published.value.clone().into_bytes().map(Cast::read) else {
            return;
        };
        match cast {
            Ok(cast) => self.tell_cast(&cast),
            Err(error) => {
                tracing::warn!(%error, "a message of a broadcast cannot be read");
                self.miss();
            }
        }
    }

    fn tell_cast(&self, cast: &Cast) {
        let lost = self.heard.lock().message(cast.number);
        if lost {
            self.each(|ear| ear.miss(cast.number - 1));
        }
        self.each(|ear| ear.tell(cast));
    }
}

/// Says that somebody listens.
async fn say(store: &Store, meta: &str) -> Result<Said> {
    let arguments = vec![micros(HEARD_FOR).to_string().into()];
    let answer = store
        .client
        .script("broadcast", &scripts::LISTEN, vec![meta.into()], arguments);
    let mut reply = Row::from(answer.await?);
    Ok(Said {
        last: reply.number()?,
        unheard: reply.number()?,
    })
}

/// A message as it is published: `number:seq:delay:ttl:` and its stored form.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) number: u64,
    pub(super) received: Received,
    pub(super) size: usize,
    /// When it is due, and when it expires, by this process's clock.
    pub(super) due: Instant,
    pub(super) expires: Option<Instant>,
}

impl Cast {
    fn read(bytes: Bytes) -> Result<Self> {
        let mut rest = &bytes[..];
        let mut next = || -> Result<i64> {
            let end = rest
                .iter()
                .position(|byte| *byte == b':')
                .ok_or_else(senseless)?;
            let number = std::str::from_utf8(&rest[..end]).map_err(|_| senseless())?;
            rest = &rest[end + 1..];
            number.parse().map_err(|_| senseless())
        };
        let (number, seq, delay, ttl) = (next()?, next()?, next()?, next()?);
        let at = bytes.len() - rest.len();
        let message = stored::decode(bytes.slice(at..))?;
        let span = |micros: i64| Duration::from_micros(micros.try_into().unwrap_or(0));
        // It was accepted a moment ago.
        let due = Instant::now() + span(delay);
        Ok(Self {
            number: number.try_into().map_err(|_| senseless())?,
            size: bytes.len(),
            received: Received {
                message,
                sent_at: timestamp(seq),
                due_at: timestamp(seq.saturating_add(delay)),
                expires_at: (ttl > 0).then(|| timestamp(seq + delay + ttl)),
            },
            due,
            expires: (ttl > 0).then(|| due + span(ttl)),
        })
    }
}

/// Tells what is published, and says again and again that somebody listens.
async fn hear(
    hearing: Weak<Hearing>,
    mut messages: tokio::sync::broadcast::Receiver<Published>,
    stop: CancellationToken,
) {
    let Some(fred) = hearing.upgrade().map(|hearing| hearing.own.fred().clone()) else {
        return;
    };
    let mut connections = fred.reconnect_rx();
    let mut ticks = interval_at(Instant::now() + SAY_EVERY, SAY_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            message = messages.recv() => {
                let Some(hearing) = hearing.upgrade() else { return };
                match message {
                    Ok(message) => hearing.tell(&message),
                    Err(RecvError::Lagged(_)) => hearing.miss(),
                    Err(RecvError::Closed) => {
                        hearing.miss();
                        messages = fred.message_rx();
                    }
                }
            }
            _ = connections.recv() => {
                let Some(hearing) = hearing.upgrade() else { return };
                hearing.renew().await;
            }
            _ = ticks.tick() => {
                let Some(hearing) = hearing.upgrade() else { return };
                if fred.ping::<()>(None).await.is_err() {
                    // Fails only while it is reconnecting anyway.
                    let _ = fred.force_reconnection().await;
                }
                // Whatever came before the answer, on the same connection.
                while let Ok(message) = messages.try_recv() {
                    hearing.tell(&message);
                }
                hearing.say_again().await;
            }
        }
    }
}

/// The error of listening on a closed handle.
pub(super) fn closed() -> Error {
    Error::closed().with_operation("broadcast")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_does_not_follow_tells_of_a_loss_once() {
        let mut heard = Heard::from(4);
        assert!(!heard.message(5));
        assert!(heard.message(7), "6 is missing");
        let said = Said {
            last: 9,
            unheard: 6,
        };
        assert!(
            !heard.said(said),
            "6 was told already; 8 and 9 are on their way"
        );
        assert!(!heard.message(8));
    }

    #[test]
    fn what_was_not_published_is_lost_though_nothing_follows_it() {
        let mut heard = Heard::from(4);
        let said = |last, unheard| Said { last, unheard };
        assert!(!heard.said(said(4, 0)));
        assert!(!heard.said(said(4, 3)), "that was before it began");
        assert!(heard.said(said(8, 6)));
        assert!(!heard.message(5), "published before, heard late");
        assert!(!heard.message(7) && !heard.message(8));
        assert!(!heard.said(said(8, 6)), "told once");
    }

    #[test]
    fn what_is_not_heard_for_a_whole_turn_is_lost() {
        let mut heard = Heard::from(4);
        let said = |last| Said { last, unheard: 0 };
        assert!(!heard.said(said(6)), "on their way");
        assert!(!heard.message(5));
        assert!(heard.said(said(7)), "6 was on its way for too long");
        assert!(!heard.message(7));
        assert!(!heard.said(said(7)));
    }

    #[test]
    fn a_server_with_an_older_state_tells_of_a_loss() {
        let mut heard = Heard::from(9);
        let said = Said {
            last: 3,
            unheard: 0,
        };
        assert!(heard.said(said));
        assert!(!heard.message(4));
    }
}
