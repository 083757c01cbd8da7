//! What is taken ahead of time, and what of it is given back.

use std::time::{Duration, Instant};

use mingle_store::Result;

use super::{
    RedisStore,
    keys::Keys,
    scripts::{SLICE, UNUSED},
    store::{corrupt, settings, standing},
};
use crate::domain::{Answer, Ask, Verdict};

/// How much more than is asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Wanted {
    pub(in crate::store) more: u64,
    /// Of what is left one part of so many is taken at most.
    pub(in crate::store) parts: u64,
    /// For so long.
    pub(in crate::store) life: Duration,
}

/// What was taken.
#[derive(Debug)]
pub(in crate::store) struct Taken {
    /// Beside the cost.
    pub(in crate::store) more: u64,
    /// It may be used before this.
    pub(in crate::store) until: Instant,
    charged: u64,
    marks: String,
}

impl RedisStore {
    /// Charges an ask, and more of its limits for whoever asks next; nothing more where
    /// little is left. It is not remembered.
    pub(in crate::store) async fn take_ahead(
        &self,
        ask: &Ask,
        wanted: Wanted,
    ) -> Result<(Answer, Option<Taken>)> {
        let keys = Keys::of(&self.redis, &ask.subject);
        let states: Vec<_> = ask.limits.iter().map(|limit| keys.limit(&limit.name)).collect();
        let life_us = u64::try_from(wanted.life.as_micros()).unwrap_or(0);
        let mut args = vec![ask.cost.into(), wanted.more.into(), wanted.parts.into()];
        args.push(life_us.into());
        args.extend(ask.limits.iter().flat_map(|limit| settings(limit)));
        // Before it is asked: rather shorter here than longer.
        let begun = Instant::now();
        let numbers: Vec<i64> = self.redis.run(&SLICE, &states, &args).await?;
        let bad = || corrupt("ratelimit slice");
        let Some(([verdict, more, us], rest)) = numbers.split_first_chunk() else {
            return Err(bad());
        };
        if rest.len() != ask.limits.len() * 6 {
            return Err(bad());
        }
        let standings = rest.chunks(6).map(|of| standing(&of[..3])).collect::<Result<_>>()?;
        let verdict = if *verdict == 1 { Verdict::Allowed } else { Verdict::Denied };
        let answer = Answer::new(verdict, standings);
        let more = u64::try_from(*more).map_err(|_| bad())?;
        let us = u64::try_from(*us).map_err(|_| bad())?;
        let mark = |of: &[i64]| format!("{},{},{}", of[3], of[4], of[5]);
        let taken = (more > 0).then(|| Taken {
            more,
            until: begun + Duration::from_micros(us),
            charged: ask.cost + more,
            marks: rest.chunks(6).map(mark).collect::<Vec<_>>().join(" "),
        });
        Ok((answer, taken))
    }

    /// Gives back what was not used of what was taken for `ask`; for each limit, whether
    /// it regains something.
    pub(in crate::store) async fn give_back_unused(
        &self,
        ask: &Ask,
        taken: &Taken,
        unused: u64,
    ) -> Result<Vec<bool>> {
        let keys = Keys::of(&self.redis, &ask.subject);
        let states: Vec<_> = ask.limits.iter().map(|limit| keys.limit(&limit.name)).collect();
        let mut args = vec![taken.charged.into(), unused.into(), taken.marks.as_str().into()];
        args.extend(ask.limits.iter().flat_map(|limit| settings(limit)));
        let given: Vec<i64> = self.redis.run(&UNUSED, &states, &args).await?;
        Ok(given.into_iter().map(|given| given == 1).collect())
    }
}
