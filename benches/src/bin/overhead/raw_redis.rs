//! fred, used by hand: one script of the fewest commands for each call.

use bytes::Bytes;
use fred::{
    clients::Pool,
    interfaces::{ClientLike, HashesInterface, LuaInterface},
    types::{Value, config::Config, scripts::Script},
};
use uuid::Uuid;

use statehouse_benches::{
    Result, VALUE,
    load::{self, Until},
    name,
};

use crate::compare::{Messages, Records};

/// Remembers the id for ten minutes, stores the message and makes it ready.
const SEND: &str = "
if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', '600000') then return 0 end
local number = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[3], number, ARGV[1])
redis.call('ZADD', KEYS[4], number, number)
return 1";

/// Leases the first message for 30 seconds. Its number of attempts fences.
const RECEIVE: &str = "
local number = redis.call('ZPOPMIN', KEYS[1])[1]
if not number then return false end
local attempt = redis.call('HINCRBY', KEYS[2], number, 1)
local time = redis.call('TIME')
redis.call('ZADD', KEYS[3], time[1] + 30, number)
return { number, attempt, redis.call('HGET', KEYS[4], number) }";

/// Forgets a message, unless its lease has ended or is another's.
const ACK: &str = "
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not ends or tonumber(ends) <= tonumber(redis.call('TIME')[1]) then return 0 end
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return 1";

/// Counts the version and writes the record, its history and a change.
const PUT: &str = "
local time = redis.call('TIME')
local at = time[1] .. string.format('%06d', time[2])
local version = redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('HSET', KEYS[1], 'data', ARGV[1], 'type', ARGV[2], 'at', at, 'by', ARGV[3])
redis.call('HSET', KEYS[2], version, at .. ' ' .. ARGV[3] .. ' ' .. ARGV[2] .. ' ' .. ARGV[1])
redis.call('XADD', KEYS[3], '*', 'key', KEYS[1], 'version', version, 'by', ARGV[3])
return version";

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
        let keys = vec![
            id.as_str(),
            "raw:{q}:seq",
            "raw:{q}:bodies",
            "raw:{q}:ready",
        ];
        match self
            .run(&self.send, keys, self.value.clone())
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
        if body.as_bytes().map_or(0, <[u8]>::len) != VALUE {
            return Err("another message".into());
        }
        let keys = vec!["raw:{q}:leased", "raw:{q}:attempts", "raw:{q}:bodies"];
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
        ];
        let arguments: Vec<Value> = vec![
            self.value.clone().into(),
            "application/octet-stream".into(),
            "bench".into(),
        ];
        self.run(&self.put, keys, arguments).await?;
        Ok(())
    }

    async fn get(&self, caller: u64, turn: u64) -> Result<()> {
        let key = format!("raw:{{s}}:record:{}", name(caller, turn));
        let fields = vec!["version", "data", "type", "at", "by"];
        let record: Vec<Option<Bytes>> = self.pool.next().hmget(key, fields).await?;
        match &record[..] {
            [Some(_), Some(data), ..] if data.len() == VALUE => Ok(()),
            _ => Err("nothing to read".into()),
        }
    }
}
