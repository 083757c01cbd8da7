//! Puts a process together: backends, then roles in the order of the call
//! graph, then the run.

use std::sync::Arc;

use anyhow::Context as _;
use mingle_runtime::{
    Role,
    config::Config,
    lifecycle::{DataConfig, Process},
};
use mingle_store::clock::{Clock as _, SystemClock};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    backends::{Opened, Plan},
    judge, secrets, tell,
};

/// Runs `roles` on what `plan` says until a signal.
pub(crate) async fn run(config: Config, roles: &[Role], plan: Plan) -> anyhow::Result<()> {
    let data: DataConfig = config.read()?;
    let stop = CancellationToken::new();
    let embedded = matches!(plan, Plan::Embedded);
    let node_id: Arc<str> = format!("mingle-{}", Uuid::new_v4().simple()).into();
    let start = |config: Config| {
        judge::check(&config, roles)?;
        Process::new(config, roles, &node_id, SystemClock.now_ms())
    };
    let (mut process, opened) = if embedded {
        // The secrets are in the folder, which is this process's from here on.
        let opened = plan.open(&data, stop.clone()).await?;
        let config = secrets::complete(config, &data.dir).context("development secrets")?;
        (start(config)?, opened)
    } else {
        // The log tells which server is waited for.
        let process = start(config)?;
        (process, plan.open(&data, stop.clone()).await?)
    };
    plan.declare(process.diagnostics(), &data.dir);
    opened.watch(process.health(), stop.clone());
    opened.tell(process.diagnostics(), &node_id);
    bind(&mut process, &opened).await?;

    let mode = process.mode();
    let kept = embedded.then_some(data.dir.as_path());
    process.run(tell::Announcer::new(mode, kept).into_callback()).await?;
    opened.close().await;
    stop.cancel();
    Ok(())
}

/// Callees first: a role finds those it calls bound.
async fn bind(process: &mut Process, opened: &Opened) -> anyhow::Result<()> {
    if let Some(ctx) = process.context(Role::Ratelimit) {
        let bound = mingle_ratelimit::bind(ctx, opened.clock.clone(), opened.limits());
        process.add(bound.await?);
    }
    if let Some(ctx) = process.context(Role::Cache) {
        let bound = mingle_cache::bind(ctx, opened.clock.clone(), opened.cache());
        process.add(bound.await?);
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
