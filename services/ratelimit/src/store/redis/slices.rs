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
pub struct Wanted {
    /// Beside the cost.
    pub more: u64,
    /// Of what is left one part of so many is taken at most.
    pub parts: u64,
    /// It is used for so long.
    pub life: Duration,
}

/// What was taken.
#[derive(Debug)]
pub struct Taken {
    /// Beside the cost.
    pub more: u64,
    /// It may be used for less than this from when it was asked for, so much at most as
    /// was wanted.
    pub life: Duration,
    asked: Instant,
    charged: u64,
    marks: String,
}

impl Taken {
    /// It may be used before this.
    pub(in crate::store) fn until(&self) -> Instant {
        self.asked + self.life
    }
}

impl RedisStore {
    /// Charges an ask, and more of its limits for whoever asks next; nothing more where
    /// little is left. It is not remembered.
    ///
    /// All or nothing, and atomic. What is taken is charged as at the end of its life:
    /// nobody may use it later, and each use of it counts for a whole window.
    ///
    /// # Errors
    ///
    /// Those of the store: something may have been taken then, which nobody uses.
    pub async fn take_ahead(&self, ask: &Ask, wanted: Wanted) -> Result<(Answer, Option<Taken>)> {
        let keys = Keys::of(&self.redis, &ask.subject);
        let states: Vec<_> = ask.limits.iter().map(|limit| keys.limit(&limit.name)).collect();
        let life_us = u64::try_from(wanted.life.as_micros()).unwrap_or(0);
        let mut args = vec![ask.cost.into(), wanted.more.into(), wanted.parts.into()];
        args.push(life_us.into());
        args.extend(ask.limits.iter().flat_map(|limit| settings(limit)));
        // Before it is asked: rather shorter here than longer.
        let asked = Instant::now();
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
            life: Duration::from_micros(us),
            asked,
            charged: ask.cost + more,
            marks: rest.chunks(6).map(mark).collect::<Vec<_>>().join(" "),
        });
        Ok((answer, taken))
    }

    /// Gives back what was not used of what was taken for `ask`; for each limit, whether
    /// it regains something. To be called once: what is given back twice is.
    ///
    /// # Errors
    ///
    /// Those of the store: it may have been given back.
    pub async fn give_back_unused(
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
