//! fred, used by hand: one script of the fewest commands for each call that keeps the same promises.

use bytes::Bytes;
use fred::{
    clients::Pool,
    interfaces::{ClientLike, HashesInterface, LuaInterface},
    types::{Value, config::Config, scripts::Script},
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use statehouse_benches::{
    Result, VALUE,
    load::{self, Until},
    name,
};

use crate::compare::{Messages, Records};

/// Remembers for ten minutes under the id what stands for the content, so that a repeat is told from
/// a conflict; stores the message with its time, makes it ready, and wakes who waits for the first.
const SEND: &str = "
local known = redis.call('SET', KEYS[1], ARGV[2], 'NX', 'GET', 'PX', '600000')
if known then return known == ARGV[2] and 2 or 0 end
local time = redis.call('TIME')
local number = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[3], number, time[1] .. string.format('%06d', time[2]) .. ARGV[1])
redis.call('ZADD', KEYS[4], number, number)
if redis.call('ZCARD', KEYS[4]) == 1 then redis.call('PUBLISH', KEYS[4], '') end
return 1";

/// Makes ready again what was leased for too long, and leases the first message for 30 seconds. Its
/// number of attempts fences.
const RECEIVE: &str = "
local time = redis.call('TIME')
local at = time[1] .. string.format('%06d', time[2])
for _, ended in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', at, 'LIMIT', '0', '100')) do
  redis.call('ZREM', KEYS[3], ended)
  redis.call('ZADD', KEYS[1], ended, ended)
end
local number = redis.call('ZPOPMIN', KEYS[1])[1]
if not number then return false end
local attempt = redis.call('HINCRBY', KEYS[2], number, 1)
redis.call('ZADD', KEYS[3], string.format('%.0f', at + 30000000), number)
return { number, attempt, redis.call('HGET', KEYS[4], number) }";

/// Forgets a message, unless its lease has ended or is another's; a repeat is well for two minutes.
const ACK: &str = "
local time = redis.call('TIME')
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not ends or tonumber(ends) <= time[1] * 1000000 + time[2]
  or redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then
  return redis.call('GET', KEYS[4]) == ARGV[2] and 1 or 0
end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('SET', KEYS[4], ARGV[2], 'PX', '120000')
return 1";

/// Looks at what is there, since a record that is gone or has expired begins anew; counts the version,
/// writes the record, its history and a change, and the key into the list of keys if it is new.
const PUT: &str = "
local time = redis.call('TIME')
local at = time[1] .. string.format('%06d', time[2])
local was = redis.call('HMGET', KEYS[1], 'version', 'created_at', 'created_by', 'until')
local version, created_at, created_by = (was[1] or 0) + 1, was[2], was[3]
if not was[1] or was[4] ~= '' and tonumber(was[4]) <= tonumber(at) then
  created_at, created_by = at, ARGV[3]
end
redis.call('HSET', KEYS[1], 'version', version, 'data', ARGV[1], 'type', ARGV[2], 'at', at,
  'by', ARGV[3], 'created_at', created_at, 'created_by', created_by, 'until', '')
redis.call('HSET', KEYS[2], version, at .. ' ' .. ARGV[3] .. ' ' .. ARGV[2] .. ' ' .. ARGV[1])
if not was[1] then redis.call('ZADD', KEYS[4], '0', KEYS[1]) end
redis.call('XADD', KEYS[3], '*', 'key', KEYS[1], 'version', version, 'by', ARGV[3])
return { version, at }";

/// A record, as an application takes it.
#[derive(Debug)]
struct Record {
    version: u64,
    data: Bytes,
    content_type: String,
    created_at: u64,
    created_by: String,
    updated_at: u64,
    updated_by: String,
}

const CONTENT_TYPE: &str = "application/octet-stream";

/// Digits of a time in microseconds.
const TIME: usize = 16;

#[derive(Clone)]
pub(crate) struct Raw {
    pool: Pool,
    send: Script,
    receive: Script,
    ack: Script,
    put: Script,
    value: Bytes,
}

impl Raw {
    pub(crate) async fn open(port: u16, connections: usize) -> Result<Self> {
        let config = Config::from_url(&format!("redis://127.0.0.1:{port}/0"))?;
        let pool = Pool::new(config, None, None, None, connections)?;
        pool.init().await?;
        let [send, receive, ack, put] = [SEND, RECEIVE, ACK, PUT].map(Script::from_lua);
        for script in [&send, &receive, &ack, &put] {
            script.load(pool.next()).await?;
        }
        Ok(Self {
            value: vec![b'x'; VALUE].into(),
            pool,
            send,
            receive,
            ack,
            put,
        })
    }

    pub(crate) async fn version(&self) -> Result<String> {
        let info: String = self.pool.next().info(None).await?;
        let version = info
            .lines()
            .find_map(|line| line.strip_prefix("redis_version:"));
        Ok(version.unwrap_or("of an unknown version").to_owned())
    }

    async fn run<K, A>(&self, script: &Script, keys: K, arguments: A) -> Result<Value>
    where
        K: Into<fred::types::MultipleKeys> + Send,
        A: TryInto<fred::types::MultipleValues, Error: Into<fred::error::Error> + Send> + Send,
    {
        let client = self.pool.next();
        Ok(client
            .evalsha(script.sha1().clone(), keys, arguments)
            .await?)
    }
}

impl Messages for Raw {
    async fn send(&self) -> Result<()> {
        let id = format!("raw:{{q}}:id:{}", Uuid::now_v7().simple());
        let content = Bytes::copy_from_slice(&Sha256::digest(&self.value)[..8]);
        let keys = vec![
            id.as_str(),
            "raw:{q}:seq",
            "raw:{q}:bodies",
            "raw:{q}:ready",
        ];
        match self
            .run(&self.send, keys, vec![self.value.clone(), content])
            .await?
            .as_i64()
        {
            Some(1) => Ok(()),
            _ => Err("a repeated id".into()),
        }
    }

    async fn stock(&self, count: usize) -> Result<()> {
        let raw = self.clone();
        let calls = Until::Calls(count as u64);
        let send = move |_, _| {
            let raw = raw.clone();
            async move { raw.send().await }
        };
        load::run(64, calls, send).await?;
        Ok(())
    }

    async fn receive_and_ack(&self) -> Result<()> {
        let keys = vec![
            "raw:{q}:ready",
            "raw:{q}:attempts",
            "raw:{q}:leased",
            "raw:{q}:bodies",
        ];
        let leased = self.run(&self.receive, keys, ()).await?;
        let [number, attempt, body]: [Value; 3] = leased
            .into_array()
            .try_into()
            .map_err(|_| "nothing to receive")?;
        if body.as_bytes().map_or(0, <[u8]>::len) != TIME + VALUE {
            return Err("another message".into());
        }
        let acked = format!("raw:{{q}}:acked:{}", number.as_str().unwrap_or_default());
        let keys = vec![
            "raw:{q}:leased",
            "raw:{q}:attempts",
            "raw:{q}:bodies",
            &acked,
        ];
        match self
            .run(&self.ack, keys, vec![number, attempt])
            .await?
            .as_i64()
        {
            Some(1) => Ok(()),
            _ => Err("the lease has ended".into()),
        }
    }
}

impl Records for Raw {
    async fn put(&self, caller: u64, turn: u64) -> Result<()> {
        let key = name(caller, turn);
        let keys = vec![
            format!("raw:{{s}}:record:{key}"),
            format!("raw:{{s}}:history:{key}"),
            "raw:{s}:changes".to_owned(),
            "raw:{s}:keys".to_owned(),
        ];
        let arguments: Vec<Value> = vec![
            self.value.clone().into(),
            CONTENT_TYPE.into(),
            "bench".into(),
        ];
        self.run(&self.put, keys, arguments).await?;
        Ok(())
    }

    async fn get(&self, caller: u64, turn: u64) -> Result<()> {
        let key = format!("raw:{{s}}:record:{}", name(caller, turn));
        let record: Vec<Option<Bytes>> = self.pool.next().hmget(key, FIELDS.to_vec()).await?;
        match read(&record) {
            Some(record) if record.is_whole() => Ok(()),
            _ => Err("nothing to read".into()),
        }
    }
}

impl Record {
    /// Whether it is one that this side has written.
    fn is_whole(&self) -> bool {
        self.version > 0
            && self.data.len() == VALUE
            && self.content_type == CONTENT_TYPE
            && self.created_at <= self.updated_at
            && self.created_by == self.updated_by
    }
}

const FIELDS: [&str; 8] = [
    "version",
    "data",
    "type",
    "created_at",
    "created_by",
    "at",
    "by",
    "until",
];

/// The record of its fields, unless it is gone.
fn read(fields: &[Option<Bytes>]) -> Option<Record> {
    let text = |at: usize| std::str::from_utf8(fields.get(at)?.as_ref()?).ok();
    let number = |at: usize| text(at)?.parse().ok();
    let lasts = text(7)?.is_empty();
    lasts.then_some(Record {
        version: number(0)?,
        data: fields.get(1)?.clone()?,
        content_type: text(2)?.to_owned(),
        created_at: number(3)?,
        created_by: text(4)?.to_owned(),
        updated_at: number(5)?,
        updated_by: text(6)?.to_owned(),
    })
}
