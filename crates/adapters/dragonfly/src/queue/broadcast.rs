//! Subscriptions without a group: what one of them has heard and not told yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use statehouse_contracts::{Broadcast, BroadcastEvent, Pattern, Received, Result};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Desk;
use super::hub::{Cast, Hearing, closed};
use crate::time;

/// The most messages, and the most bytes, that one who listens may fall behind.
const MOST: usize = 4096;
const MOST_BYTES: usize = 16 << 20;

/// Begins to listen.
pub(crate) async fn listen(desk: &Desk, pattern: &Pattern) -> Result<Box<dyn Broadcast>> {
    desk.session.check_open("broadcast")?;
    let ear = Arc::new(Ear {
        pattern: pattern.clone(),
        heard: Mutex::default(),
        more: Notify::new(),
    });
    let hearing = desk.queue.hub.add(desk, &ear).await?;
    Ok(Box::new(Subscription {
        desk: desk.clone(),
        ear,
        _hearing: hearing,
    }))
}

/// What one who listens has heard.
#[derive(Debug)]
pub(super) struct Ear {
    pattern: Pattern,
    heard: Mutex<Heard>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Heard {
    /// The number after which it hears; until then it does not know.
    after: Option<u64>,
    events: VecDeque<Event>,
    /// What is not due yet, the next one last.
    later: Vec<Event>,
    /// How many messages and bytes it holds.
    held: usize,
    bytes: usize,
}

#[derive(Debug)]
enum Event {
    Message(Box<Waiting>),
    Gap(Option<u64>),
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    received: Received,
    size: usize,
    due: Instant,
    expires: Option<Instant>,
}

impl Ear {
    /// Hears what comes after the message with this number.
    pub(super) fn begin_after(&self, number: u64) {
        let mut heard = self.heard.lock();
        heard.after = Some(number);
        let own =
            |event: &Event| matches!(event, Event::Message(waiting) if waiting.number > number);
        heard.events.retain(own);
        heard.later.retain(own);
    }

    /// Notes that messages are missing here, up to the one with this number.
    pub(super) fn miss(&self, last: u64) {
        let mut heard = self.heard.lock();
        if heard.after.is_some_and(|after| last > after) {
            heard.gap(None);
            self.more.notify_one();
        }
    }

    pub(super) fn tell(&self, cast: &Cast) {
        let mut heard = self.heard.lock();
        let before = heard.after.is_some_and(|after| cast.number <= after);
        if before || !self.pattern.matches(&cast.received.message.topic) {
            return;
        }
        if heard.held >= MOST || heard.bytes.saturating_add(cast.size) > MOST_BYTES {
            heard.gap(Some(1));
        } else {
            heard.hold(cast);
        }
        drop(heard);
        self.more.notify_one();
    }

    /// Forgets a message that was taken back before it was due.
    pub(super) fn take_back(&self, id: &[u8]) {
        let mut heard = self.heard.lock();
        let is_it = |event: &Event| match event {
            Event::Message(waiting) => {
                waiting.received.message.id.0.as_bytes() == id && waiting.due > Instant::now()
            }
            Event::Gap(_) => false,
        };
        let Heard {
            events,
            later,
            held,
            bytes,
            ..
        } = &mut *heard;
        let mut keep = |event: &Event| {
            let goes = is_it(event);
            if let (true, Event::Message(waiting)) = (goes, event) {
                *held -= 1;
                *bytes -= waiting.size;
            }
            !goes
        };
        events.retain(&mut keep);
        later.retain(&mut keep);
    }

    /// What is to be told next, or when it may be.
    fn next(&self) -> Result<BroadcastEvent, Option<Instant>> {
        let mut heard = self.heard.lock();
        let now = Instant::now();
        loop {
            let due = heard.later.last().and_then(Event::due);
            let event = match due {
                Some(due) if due <= now => heard.later.pop(),
                _ => heard.events.pop_front(),
            };
            match event {
                None => return Err(due),
                Some(Event::Gap(missed)) => return Ok(BroadcastEvent::Gap { missed }),
                Some(Event::Message(waiting)) if waiting.due > now => heard.put_off(waiting),
                Some(Event::Message(waiting)) => {
                    heard.held -= 1;
                    heard.bytes -= waiting.size;
                    if waiting.expires.is_none_or(|expires| expires > now) {
                        return Ok(BroadcastEvent::Message(Box::new(waiting.received)));
                    }
                }
            }
        }
    }
}

impl Event {
    fn due(&self) -> Option<Instant> {
        match self {
            Event::Message(waiting) => Some(waiting.due),
            Event::Gap(_) => None,
        }
    }
}

impl Heard {
    fn hold(&mut self, cast: &Cast) {
        self.held += 1;
        self.bytes += cast.size;
        self.events.push_back(Event::Message(Box::new(Waiting {
            number: cast.number,
            received: cast.received.clone(),
            size: cast.size,
            due: cast.due,
            expires: cast.expires,
        })));
    }

    /// Notes a loss, together with the one before it when nothing was heard in between.
    fn gap(&mut self, missed: Option<u64>) {
        match self.events.back_mut() {
            Some(Event::Gap(before)) => {
                *before = before.zip(missed).map(|(before, missed)| before + missed);
            }
            _ => self.events.push_back(Event::Gap(missed)),
        }
    }

    fn put_off(&mut self, waiting: Box<Waiting>) {
        let key = (waiting.due, waiting.number);
        let at = self.later.partition_point(|event| match event {
            Event::Message(other) => (other.due, other.number) > key,
            Event::Gap(_) => false,
        });
        self.later.insert(at, Event::Message(waiting));
    }
}

/// A subscription. Dropping it ends it.
#[derive(Debug)]
struct Subscription {
    desk: Desk,
    ear: Arc<Ear>,
    _hearing: Arc<Hearing>,
}

#[async_trait]
impl Broadcast for Subscription {
    async fn next(&mut self, wait: Duration) -> Result<Option<BroadcastEvent>> {
        let deadline = time::deadline(wait);
        loop {
            self.desk.session.check_open("broadcast")?;
            let due = match self.ear.next() {
                Ok(event) => return Ok(Some(event)),
                Err(due) => due,
            };
            if Instant::now() >= deadline {
                return Ok(None);
            }
            let until = due.map_or(deadline, |due| due.min(deadline));
            tokio::select! {
                () = self.desk.session.closed() => return Err(closed()),
                () = sleep_until(until) => {}
                () = self.ear.more.notified() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use statehouse_contracts::{Message, Payload, Timestamp, Topic};

    use super::*;

    fn cast(number: u64, delay: Duration) -> Cast {
        Cast {
            number,
            received: Received {
                message: Message::new(Topic::new("t").unwrap(), Payload::text("x")),
                sent_at: Timestamp::UNIX_EPOCH,
                due_at: Timestamp::UNIX_EPOCH,
                expires_at: None,
            },
            size: 1,
            due: Instant::now() + delay,
            expires: None,
        }
    }

    fn ear() -> Ear {
        Ear {
            pattern: Pattern::ALL,
            heard: Mutex::default(),
            more: Notify::new(),
        }
    }

    fn is_message(event: &Result<BroadcastEvent, Option<Instant>>) -> bool {
        matches!(event, Ok(BroadcastEvent::Message(_)))
    }

    #[tokio::test]
    async fn what_is_too_much_is_counted_where_it_is_missing() {
        let ear = ear();
        ear.begin_after(1);
        for number in 0..MOST as u64 + 5 {
            ear.tell(&cast(number, Duration::ZERO));
        }
        for _ in 0..MOST {
            assert!(is_message(&ear.next()));
        }
        let gap = BroadcastEvent::Gap { missed: Some(3) };
        assert_eq!(ear.next().unwrap(), gap);
        assert_eq!(ear.next(), Err(None));
    }

    #[tokio::test]
    async fn what_was_lost_before_it_began_is_not_its_own() {
        let ear = ear();
        ear.miss(u64::MAX);
        ear.begin_after(7);
        ear.miss(7);
        assert_eq!(ear.next(), Err(None));
        ear.miss(8);
        ear.miss(9);
        let gap = BroadcastEvent::Gap { missed: None };
        assert_eq!(ear.next().unwrap(), gap);
        assert_eq!(ear.next(), Err(None));
    }

    #[tokio::test]
    async fn what_is_not_due_waits_and_can_be_taken_back() {
        let ear = ear();
        let (first, second) = (
            cast(1, Duration::from_secs(60)),
            cast(2, Duration::from_secs(30)),
        );
        ear.tell(&first);
        ear.tell(&second);
        assert_eq!(ear.next(), Err(Some(second.due)), "nothing is due");
        ear.take_back(second.received.message.id.0.as_bytes());
        assert_eq!(ear.next(), Err(Some(first.due)));
    }
}
