//! The store itself.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mingle_store::{
    Error, ErrorKind, Result,
    redis::{Arg, Call, Redis},
};

use super::{
    keys::Keys,
    scripts::{CHECK, REFUND, RESET},
};
use crate::{
    domain::{Algorithm, Answer, Ask, Charged, Limit, Limits, NEVER, Place, Standing, Verdict},
    store::Store,
};

/// What each further check of a batch may take: several times the script.
const EACH: Duration = Duration::from_micros(40);

/// Limits of many processes over one server.
#[derive(Clone)]
pub struct RedisStore {
    pub(super) redis: Redis,
    remember_us: u64,
}

impl RedisStore {
    /// The store over a server, whatever is in it; charges are remembered for
    /// at most `remember_us`.
    pub fn new(redis: Redis, remember_us: u64) -> Self {
        Self { redis, remember_us }
    }

    fn call(&self, charges: bool, ask: &Ask) -> Call {
        let mode = match charges && ask.cost > 0 {
            false => Arg::Word("peek"),
            true if ask.is_lease() => Arg::Word("hold"),
            true => Arg::Word("take"),
        };
        let keys = Keys::of(&self.redis, &ask.subject);
        let limits = ask.limits.iter();
        let shadows = match limits.clone().any(|limit| limit.shadow) {
            false => Arg::Word(""),
            true => limits
                .clone()
                .map(|limit| if limit.shadow { 's' } else { '-' })
                .collect::<String>()
                .into(),
        };
        let mut args = vec![
            mode,
            ask.cost.into(),
            ask.content().into(),
            ask.remembered_us(self.remember_us).div_ceil(1_000).into(),
            shadows,
        ];
        args.extend(limits.clone().flat_map(|limit| settings(limit)));
        let charge = keys.charge(&ask.charge_id);
        let states = limits.map(|limit| keys.limit(&limit.name));
        Call { keys: std::iter::once(charge).chain(states).collect(), args }
    }
}

/// The five arguments of a limit.
pub(super) fn settings(limit: &Limit) -> [Arg; 5] {
    let kind = match limit.algorithm {
        Algorithm::SlidingWindow | Algorithm::Concurrency => Arg::Word("S"),
        Algorithm::Gcra | Algorithm::TokenBucket => Arg::Word("G"),
        Algorithm::FixedWindow => Arg::Word("F"),
    };
    let numbers = [limit.quota, limit.window_us, limit.step_us(), limit.burst];
    let [quota, window, step, burst] = numbers.map(Arg::from);
    [kind, quota, window, step, burst]
}

pub(super) fn corrupt(what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, what)
}

/// Reads what the script answered to an ask with as many limits.
fn answer(numbers: &[i64], limits: usize) -> Result<Answer> {
    let bad = || corrupt("ratelimit answer");
    let (verdict, rest) = numbers.split_first().ok_or_else(bad)?;
    let verdict = match verdict {
        0 => Verdict::Denied,
        1 => Verdict::Allowed,
        2 => Verdict::Repeated,
        3 => return Ok(Answer::new(Verdict::Reused, Vec::new())),
        _ => return Err(bad()),
    };
    let standings: Vec<_> = rest.chunks(3).map(standing).collect::<Result<_>>()?;
    if standings.len() == limits { Ok(Answer::new(verdict, standings)) } else { Err(bad()) }
}

/// What a script says of one limit: remaining, retry and reset.
pub(super) fn standing(numbers: &[i64]) -> Result<Standing> {
    let bad = |_| corrupt("ratelimit answer");
    let [remaining, retry, reset] = numbers else { return Err(corrupt("ratelimit answer")) };
    let retry_us = u64::try_from(*retry).unwrap_or(NEVER);
    Ok(Standing {
        allowed: retry_us == 0,
        remaining: u64::try_from(*remaining).map_err(bad)?,
        retry_us,
        reset_us: u64::try_from(*reset).map_err(bad)?,
    })
}

/// What a stored charge says, before its marks: the text itself, the cost and
/// the names of the limits.
fn content(record: &str) -> Option<(&str, u64, Vec<&str>)> {
    let (content, _) = record.split_once('|')?;
    let mut words = content.split(' ');
    let cost = words.next()?.parse().ok()?;
    Some((content, cost, words.collect()))
}

#[async_trait]
impl Store for RedisStore {
    async fn check(&self, asks: &[Ask]) -> Vec<Result<Answer>> {
        if let [ask] = asks {
            let Call { keys, args } = self.call(true, ask);
            let numbers = self.redis.run::<Vec<i64>>(&CHECK, &keys, &args).await;
            return vec![numbers.and_then(|numbers| answer(&numbers, ask.limits.len()))];
        }
        let calls: Vec<_> = asks.iter().map(|ask| self.call(true, ask)).collect();
        let redis = self.redis.clone().with_longer(EACH * u32::try_from(asks.len()).unwrap_or(0));
        match redis.run_many::<Vec<i64>>(&CHECK, &calls).await {
            Ok(answers) => answers
                .into_iter()
                .zip(asks)
                .map(|(numbers, ask)| answer(&numbers?, ask.limits.len()))
                .collect(),
            Err(error) => asks.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn peek(&self, ask: &Ask) -> Result<Answer> {
        let Call { keys, args } = self.call(false, ask);
        answer(&self.redis.run::<Vec<i64>>(&CHECK, &keys, &args).await?, ask.limits.len())
    }

    /// Two steps: the charge tells which limits, and so which keys.
    async fn refund(&self, of: Charged<'_>, limits: &Arc<Limits>) -> Result<bool> {
        let keys = Keys::of(&self.redis, of.subject);
        let charge = keys.charge(of.charge_id);
        let mut get = redis::cmd("GET");
        get.arg(&charge);
        let Some(record) = self.redis.query::<Option<String>>(&get).await? else {
            return Ok(false);
        };
        let (content, cost, names) = content(&record).ok_or_else(|| corrupt("charge"))?;
        // A limit that was taken out of the configuration gets nothing back.
        let known: Vec<(usize, &Arc<Limit>)> = names
            .iter()
            .enumerate()
            .filter_map(|(at, name)| Some((at + 1, limits.get(*name)?)))
            .collect();
        let places: Vec<_> = known.iter().map(|(at, _)| at.to_string()).collect();
        let mut args =
            vec![content.into(), cost.into(), places.join(",").into(), of.unless_repeated.into()];
        args.extend(known.iter().flat_map(|(_, limit)| settings(limit)));
        let states = known.iter().map(|(_, limit)| keys.limit(&limit.name));
        let all: Vec<_> = std::iter::once(charge).chain(states).collect();
        Ok(self.redis.run::<i64>(&REFUND, &all, &args).await? == 1)
    }

    fn place(&self, subject: &str, limit: &Limit) -> Place {
        Place::Redis(Keys::of(&self.redis, subject).limit(&limit.name))
    }

    async fn reset(&self, subject: &str, limits: &[Arc<Limit>]) -> Result<()> {
        let keys = Keys::of(&self.redis, subject);
        let states: Vec<_> = limits.iter().map(|limit| keys.limit(&limit.name)).collect();
        let args: Vec<_> = limits.iter().flat_map(|limit| settings(limit)).collect();
        self.redis.run::<i64>(&RESET, &states, &args).await.map(drop)
    }
}
