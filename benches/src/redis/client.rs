//! One connection that carries the commands of many callers at a time.

use std::io::Write;

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
};

use super::value::Value;
use crate::Result;

type Reply = oneshot::Sender<Value>;

/// A connection; clones share it. It ends with the last of them.
#[derive(Clone, Debug)]
pub(super) struct Client(mpsc::UnboundedSender<(Vec<u8>, Reply)>);

impl Client {
    pub(super) async fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        let (commands, inbox) = mpsc::unbounded_channel();
        let (waiting, replies) = mpsc::unbounded_channel();
        tokio::spawn(write_commands(write, inbox, waiting));
        tokio::spawn(read_replies(read, replies));
        Ok(Self(commands))
    }

    /// Answers what the server says to a command.
    pub(super) async fn call(&self, words: &[&[u8]]) -> Result<Value> {
        let mut command =
            Vec::with_capacity(64 + words.iter().map(|w| w.len() + 16).sum::<usize>());
        write!(command, "*{}\r\n", words.len())?;
        for word in words {
            write!(command, "${}\r\n", word.len())?;
            command.extend_from_slice(word);
            command.extend_from_slice(b"\r\n");
        }
        let (reply, value) = oneshot::channel();
        self.0.send((command, reply))?;
        match value.await? {
            Value::Error(message) => Err(message.into()),
            value => Ok(value),
        }
    }
}

/// Writes what waits at once. Ends with the last client, or the connection.
async fn write_commands(
    mut stream: OwnedWriteHalf,
    mut inbox: mpsc::UnboundedReceiver<(Vec<u8>, Reply)>,
    waiting: mpsc::UnboundedSender<Reply>,
) {
    let mut buffer = Vec::new();
    while let Some(first) = inbox.recv().await {
        let mut next = Some(first);
        while let Some((command, reply)) = next {
            buffer.extend_from_slice(&command);
            if waiting.send(reply).is_err() {
                return;
            }
            next = inbox.try_recv().ok();
        }
        if stream.write_all(&buffer).await.is_err() {
            return;
        }
        buffer.clear();
    }
}

/// Hands replies out in order. Callers of a connection that ended find their channels closed.
async fn read_replies(mut stream: OwnedReadHalf, mut waiting: mpsc::UnboundedReceiver<Reply>) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(64 * 1024);
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        while let Ok(Some((value, length))) = Value::parse(&buffer) {
            buffer.advance(length);
            let Some(reply) = waiting.recv().await else {
                return;
            };
            // A caller that is gone needs no answer.
            drop(reply.send(value));
        }
    }
}
