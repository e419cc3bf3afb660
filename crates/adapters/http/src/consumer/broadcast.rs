//! Listening without a group: a stream of events that is opened anew when it breaks.

use std::fmt::{self, Debug};
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use statehouse_contracts::{
    Broadcast, BroadcastEvent, Error, ErrorKind, Pattern, Received, Result,
};
use statehouse_wire::{ErrorDocument, GapDoc, ReceivedDoc};
use tokio::time::Instant;

use crate::client::Handle;
use crate::error::{nonsense, of_service};
use crate::sse::{Event, Events};

type Opening = Pin<Box<dyn Future<Output = Result<Events>> + Send>>;

/// The wait before the first and the last of many attempts to open the stream again.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A subscription.
pub(crate) struct Listener {
    handle: Handle,
    pattern: Pattern,
    stream: Stream,
    /// How often opening has failed since the stream broke.
    failures: u32,
}

enum Stream {
    Open(Events),
    /// Kept over calls: one that waits only briefly gets there as well.
    Opening(Opening),
}

impl Listener {
    pub(crate) async fn open(handle: Handle, pattern: Pattern) -> Result<Self> {
        if handle.closed.is_cancelled() {
            return Err(Error::closed().with_operation("broadcast"));
        }
        let events = open(handle.clone(), pattern.clone()).await?;
        Ok(Self {
            handle,
            pattern,
            stream: Stream::Open(events),
            failures: 0,
        })
    }

    /// Begins to open the stream again, after a while when that has failed before.
    fn reopen(&mut self) {
        let (handle, pattern) = (self.handle.clone(), self.pattern.clone());
        let wait = match self.failures {
            0 => Duration::ZERO,
            n => WAITS.0.saturating_mul(1 << (n - 1).min(8)).min(WAITS.1),
        };
        self.stream = Stream::Opening(Box::pin(async move {
            tokio::time::sleep(wait).await;
            open(handle, pattern).await
        }));
    }

    /// The next event, however long it takes. Dropping the future loses nothing.
    async fn event(&mut self) -> Result<BroadcastEvent> {
        loop {
            let opened = match &mut self.stream {
                Stream::Open(events) => match events.next().await {
                    Ok(Some(event)) => match understood(&event)? {
                        Some(event) => return Ok(event),
                        None => continue,
                    },
                    // Broken, or ended by the service: from here on messages may be missing.
                    Ok(None) | Err(_) => {
                        self.reopen();
                        return Ok(BroadcastEvent::Gap { missed: None });
                    }
                },
                Stream::Opening(opening) => opening.as_mut().await,
            };
            match opened {
                // And up to here, since the gap was told.
                Ok(events) => {
                    self.stream = Stream::Open(events);
                    self.failures = 0;
                    return Ok(BroadcastEvent::Gap { missed: None });
                }
                Err(error) => {
                    self.failures = self.failures.saturating_add(1);
                    self.reopen();
                    if !comes_back(&error) {
                        return Err(error);
                    }
                }
            }
        }
    }
}

async fn open(handle: Handle, pattern: Pattern) -> Result<Events> {
    let request = handle.get("broadcast", &["v1", "topics", pattern.as_str()]);
    // As it travels, mail included.
    let request = request.query("raw", true);
    Ok(Events::new(request.stream().await?))
}

/// Whether it may work later.
fn comes_back(error: &Error) -> bool {
    use ErrorKind::{Overloaded, Timeout, Unavailable};
    matches!(error.kind(), Unavailable | Overloaded | Timeout)
}

/// What an event tells; `None` of one that is for others.
fn understood(event: &Event) -> Result<Option<BroadcastEvent>> {
    match event.name.as_str() {
        "message" => {
            let received: ReceivedDoc = read(event)?;
            let received = Received::try_from(received).map_err(nonsense)?;
            Ok(Some(BroadcastEvent::Message(Box::new(received))))
        }
        "gap" => {
            let GapDoc { missed } = read(event)?;
            Ok(Some(BroadcastEvent::Gap { missed }))
        }
        "error" => match of_service(read::<ErrorDocument>(event)?) {
            // The stream ends after it, and is opened again.
            error if comes_back(&error) => Ok(None),
            error => Err(error),
        },
        _ => Ok(None),
    }
}

fn read<T: DeserializeOwned>(event: &Event) -> Result<T> {
    serde_json::from_str(&event.data).map_err(|error| nonsense(error).with_operation("next"))
}

#[async_trait]
impl Broadcast for Listener {
    async fn next(&mut self, wait: Duration) -> Result<Option<BroadcastEvent>> {
        let closed = self.handle.closed.clone();
        // A wait without an end is one of a year.
        let far = Instant::now() + Duration::from_secs(365 * 24 * 3600);
        let deadline = Instant::now().checked_add(wait).unwrap_or(far);
        tokio::select! {
            biased;
            () = closed.cancelled() => Err(Error::closed().with_operation("next")),
            event = tokio::time::timeout_at(deadline, self.event()) => event.ok().transpose(),
        }
    }
}

impl Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("pattern", &self.pattern)
            .field("open", &matches!(self.stream, Stream::Open(_)))
            .finish_non_exhaustive()
    }
}
