//! The store itself.

use std::sync::Arc;

use async_trait::async_trait;
use dashmap::DashMap;
use mingle_store::{
    Error, ErrorKind, Result,
    redis::{Arg, Batch, Call, Generation, Redis, Script},
};
use redis::FromRedisValue;
use tokio::sync::watch;

use super::{
    codec::{self, corrupt},
    keys,
    scripts::{FILL, LOOK, PUT, TOUCH, VERSION},
};
use crate::{
    domain::{
        Ask, Expects, Fill, Filled, Found, Key, Lease, Load, Mark, Namespace, Put, Seen, Value,
    },
    store::{KEPT, Store},
};

/// Values of many processes over one server.
#[derive(Clone)]
pub struct RedisStore {
    redis: Redis,
    fence: watch::Receiver<Option<Generation>>,
    /// Bytes that values became, by namespace.
    kept: Arc<DashMap<Arc<str>, u64>>,
}

/// One life of the server's data, as the scripts know it.
type Life = [u8; 8];

impl RedisStore {
    /// The store over a server, whatever is in it.
    pub fn new(redis: Redis) -> Self {
        let fence = redis.fence();
        Self { redis, fence, kept: Arc::default() }
    }

    /// Bytes that the values became which were stored by this process.
    pub(crate) fn kept_bytes(&self, namespace: &str) -> u64 {
        self.kept.get(namespace).map_or(0, |bytes| *bytes)
    }

    fn count_kept(&self, of: &Namespace, bytes: usize) {
        let bytes = bytes as u64;
        *self.kept.entry(of.name.clone()).or_default() += bytes;
        metrics::counter!(KEPT, "namespace" => of.name.to_string()).increment(bytes);
    }

    /// Proves that it answers.
    pub(crate) async fn prove(&self) -> Result<()> {
        self.redis.query(&redis::cmd("TIME")).await
    }

    fn life(&self) -> Result<Life> {
        let held = self.fence.borrow();
        let life =
            held.as_ref().and_then(|held| u64::from_str_radix(held.as_str().get(..16)?, 16).ok());
        let life =
            life.ok_or_else(|| Error::new(ErrorKind::Unavailable, "redis was not there yet"));
        life.map(u64::to_be_bytes)
    }

    /// Runs a script for each, of this life of the data. What is answered under
    /// another one may be of before it.
    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        call: impl FnOnce(Life) -> Vec<Call>,
    ) -> Result<Vec<Result<T>>> {
        let life = self.life()?;
        let calls = call(life);
        let answers = match &calls[..] {
            [Call { keys, args }] => vec![self.redis.run(script, keys, args).await],
            calls => self.redis.run_many(script, calls).await?,
        };
        if self.life()? != life {
            return Err(Error::new(ErrorKind::Unavailable, "redis lost its data meanwhile"));
        }
        Ok(answers)
    }

    async fn run_one<T: FromRedisValue>(
        &self,
        script: &Script,
        call: impl FnOnce(Life) -> Call,
    ) -> Result<T> {
        let mut answers = self.run(script, |life| vec![call(life)]).await?;
        answers.pop().unwrap_or_else(|| Err(corrupt("cache answer")))
    }

    fn look_call(&self, ask: &Ask, life: Life) -> Call {
        let (token, captured) = match &ask.wanted {
            Some(wanted) => {
                (wanted.token.to_be_bytes().into(), codec::captured(&wanted.captured).into())
            }
            None => (NOTHING, NOTHING),
        };
        let luck = (ask.luck * 1e6) as u64;
        let args = vec![
            life.into(),
            eight(ask.void),
            token,
            ask.key.namespace.lease_us.into(),
            captured,
            luck.into(),
        ];
        Call { keys: keys::slot(&self.redis, &ask.key).into(), args }
    }

    fn put_call(&self, put: &Put, packed: &[u8], life: Life) -> Call {
        let (place, version) = match put.expects {
            Expects::Any => (Arg::Word("any"), None),
            Expects::Nothing { void } => (Arg::Word("nothing"), void),
            Expects::Version(version) => (Arg::Word("version"), Some(version)),
        };
        let args = vec![
            life.into(),
            put.version.to_be_bytes().into(),
            put.soft_us.into(),
            put.hard_us.into(),
            [&codec::captured(&put.captured), packed].concat().into(),
            place,
            eight(version),
        ];
        Call { keys: keys::slot(&self.redis, &put.key).into(), args }
    }

    fn fill_call(&self, fill: &Fill, packed: Vec<u8>, life: Life) -> Call {
        let mut args =
            vec![life.into(), fill.token.to_be_bytes().into(), fill.version.to_be_bytes().into()];
        args.extend(match &fill.load {
            Load::Value { captured, soft_us, hard_us, .. } => vec![
                Arg::Word("value"),
                (*soft_us).into(),
                (*hard_us).into(),
                codec::captured(captured).into(),
                packed.into(),
            ],
            Load::Absent => vec![Arg::Word("absent")],
            Load::Failed { throttle_us } => vec![Arg::Word("failed"), (*throttle_us).into()],
        });
        Call { keys: keys::slot(&self.redis, &fill.key).into(), args }
    }
}

fn packed(value: &Value, of: &Namespace) -> Vec<u8> {
    codec::value(value, of.compress_from)
}

fn found((now, lease, stored): (i64, i64, Vec<u8>), ask: &Ask) -> Result<Found> {
    let bad = |_| corrupt("cache answer");
    let now_us = u64::try_from(now).map_err(bad)?;
    let entry = (!stored.is_empty()).then(|| codec::entry(&stored)).transpose()?;
    let seen = entry.map(|entry| Seen { entry: Arc::new(entry), now_us });
    let lease = match lease {
        -1 => Lease::None,
        0 => Lease::Given { lasts_us: ask.key.namespace.lease_us },
        left => Lease::Held { left_us: u64::try_from(left).map_err(bad)? },
    };
    Ok(Found { seen, lease })
}

const NOTHING: Arg = Arg::Word("");

fn eight(number: Option<u64>) -> Arg {
    number.map_or(NOTHING, |number| number.to_be_bytes().into())
}

/// The same error for each.
fn each<T>(of: usize, all: Result<Vec<Result<T>>>) -> Vec<Result<T>> {
    all.unwrap_or_else(|error| (0..of).map(|_| Err(error.clone())).collect())
}

#[async_trait]
impl Store for RedisStore {
    async fn look(&self, asks: &[Ask]) -> Vec<Result<Found>> {
        let calls = |life| asks.iter().map(|ask| self.look_call(ask, life)).collect();
        let answers = each(asks.len(), self.run(&LOOK, calls).await);
        answers.into_iter().zip(asks).map(|(answer, ask)| found(answer?, ask)).collect()
    }

    async fn put(&self, puts: &[Put]) -> Vec<Result<bool>> {
        let packed: Vec<_> =
            puts.iter().map(|put| packed(&put.value, &put.key.namespace)).collect();
        let with = || puts.iter().zip(&packed);
        let calls = |life| with().map(|(put, packed)| self.put_call(put, packed, life)).collect();
        let answers = each(puts.len(), self.run::<i64>(&PUT, calls).await);
        let stored = |(answer, (put, packed)): (Result<i64>, (&Put, &Vec<u8>))| {
            let is_stored = answer? == 1;
            if is_stored {
                self.count_kept(&put.key.namespace, packed.len());
            }
            Ok(is_stored)
        };
        answers.into_iter().zip(with()).map(stored).collect()
    }

    async fn fill(&self, fill: &Fill) -> Result<Filled> {
        let packed = match &fill.load {
            Load::Value { value, .. } => packed(value, &fill.key.namespace),
            Load::Absent | Load::Failed { .. } => Vec::new(),
        };
        let bytes = packed.len();
        match self.run_one::<i64>(&FILL, |life| self.fill_call(fill, packed, life)).await? {
            0 => Ok(Filled::Rejected),
            1 => {
                self.count_kept(&fill.key.namespace, bytes);
                Ok(Filled::Stored)
            }
            2 => Ok(Filled::Rearmed),
            3 => Ok(Filled::Ended),
            _ => Err(corrupt("cache answer")),
        }
    }

    async fn touch(&self, key: &Key, version: u64, soft_us: u64, hard_us: u64) -> Result<bool> {
        let [entry, _] = keys::slot(&self.redis, key);
        let call = |life: Life| Call {
            keys: vec![entry.clone()],
            args: vec![life.into(), version.to_be_bytes().into(), soft_us.into(), hard_us.into()],
        };
        Ok(self.run_one::<i64>(&TOUCH, call).await? == 1)
    }

    /// Executed late it deletes once more, which may be done any time.
    async fn delete(&self, keys: &[Key]) -> Result<()> {
        let mut batch = Batch::new();
        for key in keys {
            batch.tell("DEL").arg(&keys::slot(&self.redis, key));
        }
        if batch.is_empty() { Ok(()) } else { self.redis.pipeline(&batch).await }
    }

    async fn versions(&self, marks: &[Mark]) -> Result<Vec<u64>> {
        let calls = |_| {
            let call = |mark: &Mark| Call {
                keys: vec![keys::version(&self.redis, mark)],
                args: vec![
                    rand::random::<[u8; 8]>().into(),
                    (mark.namespace.remembered_us() / 1_000).into(),
                ],
            };
            marks.iter().map(call).collect()
        };
        let answers = self.run::<Vec<u8>>(&VERSION, calls).await?;
        let version = |answer: Result<Vec<u8>>| {
            let bytes = answer?.try_into().map_err(|_| corrupt("version of a tag"))?;
            Ok(u64::from_be_bytes(bytes))
        };
        answers.into_iter().map(version).collect()
    }

    /// Executed late it voids once more, which may be done any time.
    async fn renew(&self, marks: &[Mark]) -> Result<()> {
        let mut batch = Batch::new();
        for mark in marks {
            let version: [u8; 8] = rand::random();
            let lives_ms = mark.namespace.remembered_us() / 1_000;
            let set = batch.tell("SET").arg(keys::version(&self.redis, mark));
            set.arg(&version[..]).arg("PX").arg(lives_ms);
        }
        if batch.is_empty() { Ok(()) } else { self.redis.pipeline(&batch).await }
    }
}
