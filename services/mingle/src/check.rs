//! Says what `mingle` would say of the configuration, looks at where it would
//! listen and keep data, and asks whom it would call, step by step, and changes
//! nothing that they keep for it.
//!
//! Whether Redis takes writes is found by the one that every connection makes, to
//! the fence: on a server that restarted it begins the new generation that the
//! first process would begin.
//!
//! A step is `ok`, `warn` (it runs, with less than it could have), `FAIL` (it
//! does not), or `skip` (there is nothing to ask, or a step before it failed). Each
//! is bounded. Those that know nothing of each other run at the same time.

mod cache;
mod clock;
mod configuration;
mod data;
mod database;
mod limiter;
mod listeners;
mod peers;
mod redis;
pub(crate) mod remedy;
mod report;

use std::process::ExitCode;

use mingle_runtime::{
    Role,
    config::{Config, Problems},
};
use tokio::join;

use report::{Found, Report, Steps};

/// What is checked.
#[derive(Clone, Copy)]
struct Asked<'a> {
    config: &'a Config,
    roles: &'a [Role],
}

/// Runs every step; the exit code is 1 when one failed.
pub(crate) async fn run(config: Result<Config, Problems>, roles: &[Role], json: bool) -> ExitCode {
    let mut report = Report::new(json);
    let has_failed = match &config {
        Ok(config) => all(report, Asked { config, roles }).await,
        Err(problems) => {
            let steps = report.group();
            steps.run(configuration::STEP, async { configuration::wrong(problems) }).await;
            drop(steps);
            report.tell().await
        }
    };
    ExitCode::from(u8::from(has_failed))
}

async fn all(mut report: Report, asked: Asked<'_>) -> bool {
    let [configuration, listeners, data, peers, redis, cache, database, limiter, clock] =
        std::array::from_fn(|_| report.group());
    let steps = async {
        let plan = configuration::check(configuration, asked).await;
        let beside = listeners::check(listeners, asked).await;
        let called = async {
            peers::check(peers, asked).await;
            limiter::check(limiter, asked, &beside).await;
        };
        let servers = async {
            let (redis, database) =
                join!(redis::check(redis, asked), database::check(database, asked));
            clock::check(clock, redis.as_ref(), database.as_ref()).await;
            if let Some(database) = database {
                database.close().await;
            }
        };
        let data = data::check(data, (asked, plan.as_ref()), &beside);
        join!(data, called, servers, cache::check(cache, asked));
    };
    join!(report.tell(), steps).0
}
