//! The step of the clocks: tokens, tickets and leases are judged by them.

use mingle_store::{
    Result,
    clock::{Skew, SystemClock},
    postgres::Postgres,
    redis::Redis,
};

use super::{Found, Steps};

const STEP: &str = "clock";
/// Two clocks that differ by more are not kept by the same time.
const MOST_MS: i64 = 1000;

pub(super) async fn check(steps: Steps, redis: Option<&Redis>, database: Option<&Postgres>) {
    if redis.is_none() && database.is_none() {
        return steps.skip(&[STEP], "no server to compare with").await;
    }
    let step = async {
        let mut skews = Vec::new();
        if let Some(redis) = redis {
            skews.push(("redis", redis.skew(&SystemClock).await));
        }
        if let Some(database) = database {
            skews.push(("database", database.skew(&SystemClock).await));
        }
        judge(skews)
    };
    steps.run(STEP, step).await;
}

fn judge(skews: Vec<(&str, Result<Skew>)>) -> Found {
    let (mut what, mut differs) = (Vec::new(), false);
    for (server, skew) in skews {
        what.push(match skew {
            Ok(skew) => {
                differs |= skew.exceeds(MOST_MS);
                let Skew { ahead_ms, within_ms } = skew;
                let side = if ahead_ms < 0 { "behind" } else { "ahead" };
                format!("{server} is {} ms {side}, give or take {within_ms}", ahead_ms.abs())
            }
            Err(error) => format!("{server} does not tell: {}", error.words()),
        });
    }
    let what = what.join("; ");
    if !differs {
        return Found::ok(what);
    }
    Found::warn(
        what,
        "keep the clocks of all machines by NTP: see chronyc tracking, or timedatectl",
    )
}
