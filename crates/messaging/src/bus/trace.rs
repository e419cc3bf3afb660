//! Spans of the bus. They cost a glance while nobody collects them.

use std::time::Instant;

use statehouse_contracts::Message;
use tracing::Span;
use tracing::field::Empty;

use super::Published;
use super::subscription::{Pushed, Subscriber};
use crate::trace::micros;

/// One message on its way to subscribers.
pub(super) struct Publish(Option<Traced>);

struct Traced {
    span: Span,
    started: Instant,
}

impl Publish {
    #[inline]
    pub(super) fn begin(message: &Message) -> Self {
        Self(tracing::enabled!(tracing::Level::TRACE).then(|| Traced::begin(message)))
    }

    /// It came to one of them, or its filter kept it away.
    #[inline]
    pub(super) fn delivered(&self, subscriber: &Subscriber, pushed: Pushed) {
        if let Some(traced) = &self.0 {
            traced.delivered(subscriber, pushed);
        }
    }

    #[inline]
    pub(super) fn end(self, published: Published) {
        if let Some(traced) = self.0 {
            traced.end(published);
        }
    }
}

impl Traced {
    #[cold]
    fn begin(message: &Message) -> Self {
        let span = tracing::trace_span!(
            "bus.publish",
            topic = %message.topic,
            from_agent = message.sender,
            message_id = %message.id,
            delivered = Empty,
            dropped = Empty,
            latency_us = Empty,
        );
        let started = Instant::now();
        Self { span, started }
    }

    #[cold]
    fn delivered(&self, subscriber: &Subscriber, pushed: Pushed) {
        tracing::trace_span!(
            parent: &self.span,
            "bus.deliver",
            subscription = %subscriber.id,
            agent = subscriber.agent,
            delivered = pushed.delivered,
            dropped = pushed.dropped,
            filtered = !pushed.delivered && !pushed.dropped,
        )
        .in_scope(|| {});
    }

    #[cold]
    fn end(self, published: Published) {
        self.span.record("delivered", published.delivered);
        self.span.record("dropped", published.dropped);
        self.span.record("latency_us", micros(self.started));
    }
}

pub(super) fn subscribed(subscriber: &Subscriber) {
    tracing::debug_span!(
        "bus.subscribe",
        subscription = %subscriber.id,
        agent = subscriber.agent,
        pattern = ?subscriber.pattern,
    )
    .in_scope(|| {});
}

pub(super) fn unsubscribed(subscriber: &Subscriber) {
    tracing::debug_span!(
        "bus.unsubscribe",
        subscription = %subscriber.id,
        agent = subscriber.agent,
    )
    .in_scope(|| {});
}
