//! Puts a process together: backends, then roles in the order of the call
//! graph, then the run.

use anyhow::Context as _;
use mingle_runtime::{
    Role,
    config::{Config, Problems, Section},
    lifecycle::{DataConfig, Process},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    backends::{Opened, Plan},
    secrets, tell,
};

/// Runs `roles` on what `plan` says until a signal.
pub(crate) async fn run(config: Config, roles: &[Role], plan: Plan) -> anyhow::Result<()> {
    let data: DataConfig = config.read()?;
    let stop = CancellationToken::new();
    let embedded = matches!(plan, Plan::Embedded);
    let opened = plan.open(&data, stop.clone()).await?;
    let config = if embedded {
        secrets::complete(config, &data.dir).context("development secrets")?
    } else {
        config
    };
    check(&config)?;

    let node_id = format!("mingle-{}", Uuid::new_v4().simple());
    let mut process = Process::new(config, roles, &node_id, opened.clock.now_ms())?;
    plan.declare(process.diagnostics(), &data.dir);
    bind(&mut process, &opened).await?;

    let mode = process.mode();
    let kept = embedded.then_some(data.dir.as_path());
    process.run(tell::Announcer::new(mode, kept).into_callback()).await?;
    opened.close().await;
    stop.cancel();
    Ok(())
}

/// Reports the problems of every section at once.
fn check(config: &Config) -> Result<(), Problems> {
    fn one<S: Section>(config: &Config, problems: &mut Problems) {
        let _ = config.section::<S>(problems);
    }
    let mut problems = Problems::default();
    one::<mingle_ratelimit::Config>(config, &mut problems);
    one::<mingle_presence::Config>(config, &mut problems);
    one::<mingle_chat::Config>(config, &mut problems);
    one::<mingle_matchmaking::Config>(config, &mut problems);
    one::<mingle_gateway::Config>(config, &mut problems);
    problems.into_result()
}

/// Callees first: a role finds those it calls bound.
async fn bind(process: &mut Process, opened: &Opened) -> anyhow::Result<()> {
    if let Some(ctx) = process.context(Role::Ratelimit) {
        let (clock, redis) = (opened.clock.clone(), opened.redis.clone());
        process.add(mingle_ratelimit::bind(ctx, clock, redis).await?);
    }
    if let Some(backends) = &opened.backends {
        if let Some(ctx) = process.context(Role::Presence) {
            process.add(mingle_presence::bind(ctx, backends.clone()).await?);
        }
        if let Some(ctx) = process.context(Role::Chat) {
            process.add(mingle_chat::bind(ctx, backends.clone()).await?);
        }
        if let Some(ctx) = process.context(Role::Matchmaking) {
            process.add(mingle_matchmaking::bind(ctx, backends.clone()).await?);
        }
    }
    if let Some(ctx) = process.context(Role::Gateway) {
        let clock = opened.clock.clone();
        process.add(mingle_gateway::bind(ctx, std::sync::Arc::new(move || clock.now_ms())).await?);
    }
    Ok(())
}
