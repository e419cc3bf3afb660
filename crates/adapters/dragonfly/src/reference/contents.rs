//! Calling the scripts, and moving chunks.

use std::ops::Range;

use bytes::Bytes;
use fred::interfaces::{HashesInterface, KeysInterface, SetsInterface};
use fred::types::{Expiration, Key, SetOptions, Value};
use futures::{StreamExt, TryStreamExt, stream};
use statehouse_content::{Chunk, Encoded};
use statehouse_contracts::{Collected, Error, ErrorKind, ReferenceId, ReferenceInfo, Result};

use super::entry::{Entry, entry};
use super::{absent, chunk, script};
use crate::reply::Reply;
use crate::script::Script;
use crate::session::Session;

/// How many chunks, at most 64 KiB each, one command carries.
const CHUNKS_AT_ONCE: usize = 16;

/// How many such commands are under way at the same time.
const TRANSFERS: usize = 4;

/// How long an upload that nobody goes on with is kept, in seconds.
const UPLOAD_TTL: i64 = 3600;

/// What a script answers when it let holders expire and did nothing else.
const AGAIN: &str = "AGAIN";

/// How much trash is freed by one call.
const SWEEP: usize = 100;

/// The contents of one namespace.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) session: Session,
    book: Vec<Key>,
}

impl Contents {
    pub(super) fn new(session: Session) -> Self {
        Self {
            book: script::BOOK_KEYS
                .map(|name| session.keys.one(name).into())
                .into(),
            session,
        }
    }

    fn chunks_key(&self, id: &ReferenceId) -> Key {
        self.session.keys.of(script::CHUNKS, &id.to_string()).into()
    }

    /// Runs a script over the book.
    pub(super) async fn run(
        &self,
        operation: &'static str,
        script: &'static Script,
        arguments: Vec<Value>,
    ) -> Result<Reply> {
        self.run_with(operation, script, Vec::new(), arguments)
            .await
    }

    /// Runs a script over the book and the chunks of one content.
    pub(super) async fn call(
        &self,
        operation: &'static str,
        script: &'static Script,
        id: &ReferenceId,
        arguments: Vec<Value>,
    ) -> Result<Reply> {
        let chunks = vec![self.chunks_key(id)];
        self.run_with(operation, script, chunks, arguments).await
    }

    /// Puts, with the key of an upload.
    pub(super) async fn put(
        &self,
        id: &ReferenceId,
        upload: Key,
        arguments: Vec<Value>,
    ) -> Result<Reply> {
        let more = vec![self.chunks_key(id), upload];
        self.run_with("put", &script::PUT, more, arguments).await
    }

    async fn run_with(
        &self,
        operation: &'static str,
        script: &'static Script,
        more: Vec<Key>,
        arguments: Vec<Value>,
    ) -> Result<Reply> {
        let keys: Vec<Key> = self.book.iter().cloned().chain(more).collect();
        loop {
            let (keys, arguments) = (keys.clone(), arguments.clone());
            let reply = self
                .session
                .script(operation, script, keys, arguments)
                .await?;
            let reply = Reply::from(reply);
            if !reply.is(AGAIN) {
                return Ok(reply);
            }
        }
    }

    /// The key of a new upload.
    pub(super) fn upload_key(&self, made: &str) -> Key {
        self.session.keys.of(script::UPLOADS, made).into()
    }

    /// Stores chunks under a key that expires by itself.
    pub(super) async fn upload(&self, key: &Key, encoded: &Encoded) -> Result<()> {
        let parts = encoded.chunks.chunks(CHUNKS_AT_ONCE).enumerate();
        let send = |(part, chunks): (usize, &[Chunk])| {
            let mut arguments = vec![Value::Integer(UPLOAD_TTL)];
            for (index, one) in chunks.iter().enumerate() {
                let number = (part * CHUNKS_AT_ONCE + index) as i64;
                arguments.extend([number.into(), chunk::seal(one).into()]);
            }
            let keys = vec![key.clone()];
            self.session.script("put", &script::UPLOAD, keys, arguments)
        };
        let sent = stream::iter(parts.map(send)).buffer_unordered(TRANSFERS);
        sent.try_for_each(|_| async { Ok(()) }).await
    }

    /// Reads chunks and decodes them by `decode`. When that fails, the content may just have been
    /// removed or stored anew, so it is read once more.
    pub(super) async fn read<F>(
        &self,
        operation: &'static str,
        id: &ReferenceId,
        wanted: Range<u64>,
        decode: impl Fn(&Entry, Vec<Chunk>) -> F,
    ) -> Result<(ReferenceInfo, Bytes)>
    where
        F: Future<Output = Result<Bytes>>,
    {
        let mut failed: Option<String> = None;
        loop {
            let (entry, chunks) = self.fetch(operation, id, &wanted).await?;
            let decoded = match chunks {
                Ok(chunks) => decode(&entry, chunks).await,
                Err(error) => Err(error),
            };
            match decoded {
                Ok(bytes) => return Ok((entry.info, bytes)),
                Err(error) if error.kind() != ErrorKind::Corrupted => return Err(error),
                Err(error) if failed.as_ref() == Some(&entry.made) => {
                    return Err(error.with_context("reference", id));
                }
                Err(_) => failed = Some(entry.made),
            }
        }
    }

    /// The entry, and the wanted chunks as far as there are so many.
    async fn fetch(
        &self,
        operation: &'static str,
        id: &ReferenceId,
        wanted: &Range<u64>,
    ) -> Result<(Entry, Result<Vec<Chunk>>)> {
        let number = |chunk: u64| i64::try_from(chunk).unwrap_or(i64::MAX >> 11);
        let arguments = vec![
            id.to_string().into(),
            number(wanted.start).into(),
            (number(wanted.end) - 1).into(),
            (CHUNKS_AT_ONCE as i64).into(),
        ];
        let found = self.call(operation, &script::READ, id, arguments).await?;
        let mut row = found.row()?;
        if row.is_empty() {
            return Err(absent(id));
        }
        let entry = entry(row.next()?)?;
        let last = usize::try_from(wanted.end)
            .unwrap_or(usize::MAX)
            .min(entry.chunks);
        let first = usize::try_from(wanted.start)
            .unwrap_or(usize::MAX)
            .min(last);
        let mut sealed: Vec<Reply> = row.next()?.list()?.collect();
        if sealed.len() < last - first {
            sealed = self.download(operation, id, first..last).await?;
        }
        Ok((entry, sealed.into_iter().map(open).collect()))
    }

    async fn download(
        &self,
        operation: &'static str,
        id: &ReferenceId,
        chunks: Range<usize>,
    ) -> Result<Vec<Reply>> {
        let (client, key) = (&self.session.store.client, self.chunks_key(id));
        let end = chunks.end;
        let parts = chunks.step_by(CHUNKS_AT_ONCE);
        let get = |first: usize| {
            let fields = first..end.min(first + CHUNKS_AT_ONCE);
            let fields: Vec<String> = fields.map(|index| index.to_string()).collect();
            let key = key.clone();
            client.run(operation, false, |commands| async move {
                commands.hmget::<Vec<Value>, _, _>(key, fields).await
            })
        };
        let got = stream::iter(parts.map(get)).buffered(TRANSFERS);
        let got: Vec<Vec<Value>> = got.try_collect().await?;
        Ok(got.into_iter().flatten().map(Reply::from).collect())
    }

    /// Removes what has expired and what nobody holds.
    pub(super) async fn collect(&self) -> Result<Collected> {
        let mut collected = Collected::default();
        let mut first = 1_i64;
        loop {
            let arguments = vec![first.into()];
            let reply = self
                .run("collect_garbage", &script::COLLECT, arguments)
                .await?;
            let mut row = reply.row()?;
            let (entries, bytes) = (row.number::<u64>()?, row.number::<u64>()?);
            collected.entries += entries;
            collected.bytes += bytes;
            first = 0;
            if entries == 0 {
                break;
            }
        }
        self.sweep().await?;
        Ok(collected)
    }

    /// Frees the chunks of contents that are gone.
    pub(super) async fn sweep(&self) -> Result<()> {
        const OPERATION: &str = "collect_garbage";
        let trash: Key = self.session.keys.one(script::TRASH).into();
        loop {
            let (client, key) = (&self.session.store.client, trash.clone());
            let some = client.run(OPERATION, false, |commands| async move {
                commands
                    .srandmember::<Vec<String>, _>(key, Some(SWEEP))
                    .await
            });
            let ids = some.await?;
            if ids.is_empty() {
                return Ok(());
            }
            let chunks = |id: &String| self.session.keys.of(script::CHUNKS, id).into();
            let keys = std::iter::once(trash.clone())
                .chain(ids.iter().map(chunks))
                .collect();
            let arguments = ids.into_iter().map(Value::from).collect();
            self.session
                .script(OPERATION, &script::SWEEP, keys, arguments)
                .await?;
        }
    }

    /// Collects garbage, unless another process has in this interval.
    pub(super) async fn look_after(&self) -> Result<()> {
        let key = self.session.keys.one(script::COLLECTOR);
        // A little less, so that this process's own next turn does not find it.
        let interval = self.session.config().gc_interval.mul_f64(0.9).as_millis();
        let expires = Expiration::PX(i64::try_from(interval).unwrap_or(i64::MAX).max(1));
        let client = &self.session.store.client;
        let mine = client.run("collect_garbage", false, |commands| async move {
            let (expires, only_new) = (Some(expires), Some(SetOptions::NX));
            commands
                .set::<Value, _, _>(key, 1, expires, only_new, false)
                .await
        });
        if !mine.await?.is_null() {
            self.collect().await?;
        }
        Ok(())
    }
}

fn open(sealed: Reply) -> Result<Chunk> {
    if sealed.is_none() {
        return Err(Error::new(
            ErrorKind::Corrupted,
            "a chunk of the content is missing",
        ));
    }
    chunk::open(sealed.bytes()?)
}
