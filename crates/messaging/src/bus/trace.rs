//! Spans of the bus. They cost a glance while nobody collects them.

use std::time::Instant;

use statehouse_contracts::Message;
use tracing::Span;
use tracing::field::Empty;

use super::Published;
use super::subscription::{Pushed, Subscriber};
use crate::trace::micros;

/// One message on its way to subscribers.
pub(super) struct Publish(Option<(Span, Instant)>);

impl Publish {
    #[inline]
    pub(super) fn begin(message: &Message) -> Self {
        if !tracing::enabled!(tracing::Level::TRACE) {
            return Self(None);
        }
        let span = tracing::trace_span!(
            "bus.publish",
            topic = %message.topic,
            from_agent = message.sender,
            message_id = %message.id,
            delivered = Empty,
            dropped = Empty,
            latency_us = Empty,
        );
        Self(Some((span, Instant::now())))
    }

    /// It came to one of them, or its filter kept it away.
    #[inline]
    pub(super) fn delivered(&self, subscriber: &Subscriber, pushed: Pushed) {
        let Some((span, _)) = &self.0 else { return };
        tracing::trace_span!(
            parent: span,
            "bus.deliver",
            subscription = %subscriber.id,
            agent = subscriber.agent,
            delivered = pushed.delivered,
            dropped = pushed.dropped,
            filtered = !pushed.delivered && !pushed.dropped,
        )
        .in_scope(|| {});
    }

    #[inline]
    pub(super) fn end(self, published: Published) {
        let Some((span, started)) = self.0 else {
            return;
        };
        span.record("delivered", published.delivered);
        span.record("dropped", published.dropped);
        span.record("latency_us", micros(started));
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
