//! Streams of events: the `text/event-stream` format of the HTML standard, section 9.2.

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use statehouse_contracts::Result;

use crate::error::{Failure, map, nonsense};

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// `message` when the stream names none.
    pub(crate) name: String,
    /// The lines of its data, joined.
    pub(crate) data: String,
}

/// The most bytes of one line: a message with the largest payload, and much room.
const MAX_LINE: usize = 256 << 20;

/// Turns bytes into events, however they are cut.
#[derive(Debug, Default)]
struct Parser {
    buffer: BytesMut,
    /// How much of the buffer has no end of a line.
    searched: usize,
    name: String,
    data: Option<String>,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len() + bytes.len() > MAX_LINE {
            return Err(nonsense("a line of its stream does not end"));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The next event that is whole.
    fn next(&mut self) -> Option<Event> {
        while let Some(line) = self.line() {
            if !line.is_empty() {
                self.field(&line);
                continue;
            }
            let name = std::mem::take(&mut self.name);
            if let Some(data) = self.data.take() {
                let name = if name.is_empty() {
                    "message".to_owned()
                } else {
                    name
                };
                return Some(Event { name, data });
            }
        }
        None
    }

    /// The next line, without its end.
    fn line(&mut self) -> Option<String> {
        let rest = &self.buffer[self.searched..];
        let Some(found) = rest.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + found);
        self.buffer.advance(1);
        self.searched = 0;
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        Some(String::from_utf8_lossy(line).into_owned())
    }

    fn field(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match (field, &mut self.data) {
            ("event", _) => self.name = value.to_owned(),
            ("data", Some(data)) => {
                data.push('\n');
                data.push_str(value);
            }
            ("data", data) => *data = Some(value.to_owned()),
            // A comment, or a field that we have no use for.
            _ => {}
        }
    }
}

/// The events of one answer.
#[derive(Debug)]
pub(crate) struct Events {
    body: Incoming,
    parser: Parser,
}

impl Events {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body,
            parser: Parser::default(),
        }
    }

    /// The next event; `None` when the stream has ended. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.parser.next() {
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| map("next", Failure::Answer(error), false))?;
            if let Some(bytes) = frame.data_ref() {
                self.parser.feed(bytes)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event {
            name: name.to_owned(),
            data: data.to_owned(),
        }
    }

    const STREAM: &str = ": hello\n\nevent: gap\ndata: {\"missed\":3}\n\ndata:a\ndata: b\nid: 7\n\n\
                          event: nothing\n\nevent:x\r\ndata: ü\r\n\r\ndata: not whole\n";

    #[test]
    fn events_come_out_however_the_bytes_are_cut() {
        for size in [1, 2, 3, 7, STREAM.len()] {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for bytes in STREAM.as_bytes().chunks(size) {
                parser.feed(bytes).unwrap();
                events.extend(std::iter::from_fn(|| parser.next()));
            }
            let expected = [
                event("gap", "{\"missed\":3}"),
                event("message", "a\nb"),
                event("x", "ü"),
            ];
            assert_eq!(events, expected, "in pieces of {size}");
        }
    }
}
