//! One request: what is sent, and how its answer is read.

use std::fmt::Display;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use statehouse_contracts::{Error, Result};
use statehouse_wire::{ItemsDoc, header};

use crate::client::Handle;
use crate::error::{Failure, map, nonsense, refused};

/// What does not stand in a segment of a path or in a query as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b':');

/// How long a call that the closing of its handle interrupts may still take. One that only has to
/// be answered is answered by then; one that waits is ended.
const LAST_MOMENT: Duration = Duration::from_millis(250);

/// The shortest time from one poll that found nothing to the next.
const BETWEEN_POLLS: Duration = Duration::from_millis(25);

/// `text` as one segment of a path, or as a value in a query.
pub(crate) fn encoded(text: &str) -> String {
    match text {
        // These two would be folded away.
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        text => utf8_percent_encode(text, ESCAPED).to_string(),
    }
}

/// One request of a handle.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    handle: &'a Handle,
    operation: &'static str,
    method: Method,
    uri: String,
    headers: HeaderMap,
    body: Bytes,
    mutates: bool,
    waits: Option<Duration>,
    /// How much longer than a plain call it may take.
    slow: Duration,
}

impl Handle {
    /// A request of `operation` to the route of these segments.
    pub(crate) fn request(
        &self,
        operation: &'static str,
        method: Method,
        segments: &[&str],
    ) -> Request<'_> {
        let mut uri = self.client.base().to_owned();
        for segment in segments {
            uri.push('/');
            uri.push_str(&encoded(segment));
        }
        Request {
            handle: self,
            operation,
            mutates: method != Method::GET,
            method,
            uri,
            headers: self.scope.clone(),
            body: Bytes::new(),
            waits: None,
            slow: Duration::ZERO,
        }
    }

    pub(crate) fn get(&self, operation: &'static str, segments: &[&str]) -> Request<'_> {
        self.request(operation, Method::GET, segments)
    }

    pub(crate) fn post(&self, operation: &'static str, segments: &[&str]) -> Request<'_> {
        self.request(operation, Method::POST, segments)
    }

    pub(crate) fn put(&self, operation: &'static str, segments: &[&str]) -> Request<'_> {
        self.request(operation, Method::PUT, segments)
    }

    pub(crate) fn delete(&self, operation: &'static str, segments: &[&str]) -> Request<'_> {
        self.request(operation, Method::DELETE, segments)
    }

    /// Asks again and again, each time for as long as the service allows, until `ask` answers
    /// something or `wait` is over. `ask` gets the wait of one request.
    pub(crate) async fn long_poll<T, F, Fut>(&self, wait: Duration, mut ask: F) -> Result<T>
    where
        T: Answer,
        F: FnMut(Duration) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let begun = Instant::now();
        loop {
            let left = wait.saturating_sub(begun.elapsed());
            let asked = Instant::now();
            let answer = ask(left.min(self.max_wait())).await?;
            if !answer.is_nothing() || begun.elapsed() >= wait {
                return Ok(answer);
            }
            self.rest(asked).await?;
        }
    }

    /// Lets some time pass since `asked`: a service that hardly waits is not asked all the time.
    pub(crate) async fn rest(&self, asked: Instant) -> Result<()> {
        let pause = BETWEEN_POLLS.saturating_sub(asked.elapsed());
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.closed.cancelled() => Err(Error::closed()),
        }
    }
}

/// The answer to a call that waits.
pub(crate) trait Answer {
    /// Whether nothing came in time.
    fn is_nothing(&self) -> bool;
}

impl<T> Answer for Vec<T> {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

impl Request<'_> {
    /// Adds a parameter.
    pub(crate) fn query(mut self, name: &str, value: impl Display) -> Self {
        let mark = if self.uri.contains('?') { '&' } else { '?' };
        let value = utf8_percent_encode(&value.to_string(), ESCAPED).to_string();
        self.uri.push_str(&format!("{mark}{name}={value}"));
        self
    }

    /// Adds a parameter where it is given.
    pub(crate) fn maybe<T: Display>(self, name: &str, value: Option<T>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Adds a limit; 0 leaves it to the service.
    pub(crate) fn limit(self, limit: usize) -> Self {
        self.maybe("limit", (limit > 0).then_some(limit))
    }

    /// Adds a header of the service's own, whose text is percent-encoded.
    pub(crate) fn header(self, name: &'static str, text: &str) -> Result<Self> {
        let encoded = header::encode(text);
        self.raw_header(HeaderName::from_static(name), &encoded)
    }

    /// Adds a header as it is.
    pub(crate) fn raw_header(mut self, name: HeaderName, text: &str) -> Result<Self> {
        let value = HeaderValue::try_from(text)
            .map_err(|_| Error::invalid(format!("{text:?} cannot stand in the header {name}")))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// The document as the body.
    pub(crate) fn json<T: Serialize>(self, document: &T) -> Result<Self> {
        let body = serde_json::to_vec(document)
            .map_err(|error| Error::internal("a document cannot be written").with_source(error))?;
        Ok(self.json_bytes(body.into()))
    }

    /// A document that is serialized already as the body.
    pub(crate) fn json_bytes(mut self, body: Bytes) -> Self {
        let json = HeaderValue::from_static("application/json");
        self.headers.insert(CONTENT_TYPE, json);
        self.body = body;
        self
    }

    /// The bytes as the body.
    pub(crate) fn bytes(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    /// Says that it changes nothing, although it is no GET.
    pub(crate) fn reads(mut self) -> Self {
        self.mutates = false;
        self
    }

    /// Says that the service may wait for so long. Closing the handle ends it at once.
    pub(crate) fn waits(mut self, wait: Duration) -> Self {
        self.waits = Some(wait);
        self
    }

    /// Says that the service may make it wait for room for so long. Closing the handle ends it
    /// after a moment.
    pub(crate) fn admitted_within(mut self, wait: Duration) -> Self {
        self.slow = wait;
        self
    }

    /// Reads the answer as a document.
    pub(crate) async fn answer<T: DeserializeOwned>(self) -> Result<T> {
        let operation = self.operation;
        let (_, body) = self.parts().await?;
        serde_json::from_slice(&body).map_err(|error| nonsense(error).with_operation(operation))
    }

    /// Reads the answer as a document and takes it as what it stands for.
    pub(crate) async fn answer_into<D: DeserializeOwned, T: TryFrom<D, Error = E>, E: Display>(
        self,
    ) -> Result<T> {
        let operation = self.operation;
        let document: D = self.answer().await?;
        T::try_from(document).map_err(|error| nonsense(error).with_operation(operation))
    }

    /// Reads the answer as a list, and takes each item as what it stands for.
    pub(crate) async fn items<D, T, E>(self) -> Result<Vec<T>>
    where
        D: DeserializeOwned,
        T: TryFrom<D, Error = E>,
        E: Display,
    {
        let operation = self.operation;
        let list: ItemsDoc<D> = self.answer().await?;
        let items: Result<_, E> = list.items.into_iter().map(T::try_from).collect();
        items.map_err(|error| nonsense(error).with_operation(operation))
    }

    /// Reads the answer and forgets it.
    pub(crate) async fn done(self) -> Result<()> {
        self.parts().await.map(|_| ())
    }

    /// Reads the answer's headers and body.
    pub(crate) async fn parts(self) -> Result<(HeaderMap, Bytes)> {
        let handle = self.handle;
        let closed = handle.closed.clone();
        let (operation, waits) = (self.operation, self.waits.is_some());
        let interrupted = !self.slow.is_zero();
        if closed.is_cancelled() {
            return Err(Error::closed().with_operation(operation));
        }
        let limit = handle.client.timeout + self.waits.unwrap_or(self.slow);
        let mutates = self.mutates;
        let run = async {
            let whole = tokio::time::timeout(limit, self.whole());
            whole
                .await
                .unwrap_or_else(|_| Err(map(operation, Failure::TimedOut(limit), mutates)))
        };
        let over = async {
            if !waits && !interrupted {
                return std::future::pending().await;
            }
            closed.cancelled().await;
            if interrupted {
                tokio::time::sleep(LAST_MOMENT).await;
            }
        };
        tokio::select! {
            biased;
            answer = run => answer,
            // The service may do it all the same, before it hears that nobody waits.
            () = over => {
                Err(Error::closed().with_operation(operation).with_ambiguous(mutates))
            }
        }
    }

    async fn whole(self) -> Result<(HeaderMap, Bytes)> {
        let (operation, mutates) = (self.operation, self.mutates);
        let (parts, body) = self.sent().await?.into_parts();
        let body = body.collect().await;
        let body = body.map_err(|error| map(operation, Failure::Answer(error), mutates))?;
        let body = body.to_bytes();
        if parts.status.is_success() {
            return Ok((parts.headers, body));
        }
        let status = parts.status.as_u16();
        Err(refused(status, &parts.headers, &body, mutates).with_operation(operation))
    }

    /// Opens a stream of events.
    pub(crate) async fn stream(mut self) -> Result<Incoming> {
        let events = HeaderValue::from_static("text/event-stream");
        self.headers.insert(ACCEPT, events);
        let (operation, limit) = (self.operation, self.handle.client.timeout);
        let opened = tokio::time::timeout(limit, self.sent()).await;
        let timed_out = |_| map(operation, Failure::TimedOut(limit), false);
        let (parts, body) = opened.map_err(timed_out)??.into_parts();
        if parts.status.is_success() {
            return Ok(body);
        }
        let text = body.collect().await;
        let text = text.map_err(|error| map(operation, Failure::Answer(error), false))?;
        let status = parts.status.as_u16();
        let error = refused(status, &parts.headers, &text.to_bytes(), false);
        Err(error.with_operation(operation))
    }

    async fn sent(self) -> Result<Response<Incoming>> {
        let mut request = hyper::Request::new(Full::new(self.body));
        *request.uri_mut() = self
            .uri
            .parse()
            .map_err(|error| Error::invalid(format!("{}: {error}", self.uri)))?;
        *request.method_mut() = self.method;
        *request.headers_mut() = self.headers;
        let client = &self.handle.client;
        let answer = client.send(request).await;
        answer.map_err(|error| {
            let error = map(self.operation, Failure::Request(error), self.mutates);
            error.with_context("host", client.base())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_keeps_its_text() {
        let table = [
            ("a", "a"),
            ("states:batchGet", "states:batchGet"),
            ("a/b 🦀", "a%2Fb%20%F0%9F%A6%80"),
            ("#.*", "%23.%2A"),
            (".", "%2E"),
            ("..", "%2E%2E"),
            ("...", "..."),
            ("?&=%+", "%3F%26%3D%25%2B"),
        ];
        for (text, expected) in table {
            assert_eq!(encoded(text), expected);
            let back = percent_encoding::percent_decode_str(expected);
            assert_eq!(back.decode_utf8().unwrap(), text);
        }
    }
}
