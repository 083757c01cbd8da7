//! Puts a process together: backends, then roles in the order of the call
//! graph, then the run.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use mingle_runtime::{
    Role,
    config::{Config, Problems, Section},
    diagnostics::Diagnostics,
    lifecycle::{DataConfig, Process},
};
use mingle_store::{
    Backends,
    bus::Memory,
    clock::{Clock, SystemClock},
    sqlite::{self, Sqlite},
};
use uuid::Uuid;

use crate::{secrets, tell};

/// Runs `roles` until a signal.
pub(crate) async fn run(config: Config, roles: &[Role]) -> anyhow::Result<()> {
    let data: DataConfig = config.read()?;
    let database = Sqlite::open(&data.dir).await?;
    let config = secrets::complete(config, &data.dir).context("development secrets")?;
    check(&config)?;

    let clock = Arc::new(SystemClock);
    let node_id = format!("mingle-{}", Uuid::new_v4().simple());
    let mut process = Process::new(config, roles, &node_id, clock.now_ms())?;
    let backends = Backends { database: database.into(), redis: None, bus: Arc::new(Memory::new()), clock };
    declare(process.diagnostics(), &data.dir);
    bind(&mut process, &backends).await?;

    let mode = process.mode();
    process.run(tell::Announcer::new(mode, &data.dir).into_callback()).await?;
    backends.database.close().await;
    Ok(())
}

/// Reports the problems of every section at once.
fn check(config: &Config) -> Result<(), Problems> {
    fn one<S: Section>(config: &Config, problems: &mut Problems) {
        let _ = config.section::<S>(problems);
    }
    let mut problems = Problems::default();
    one::<mingle_presence::Config>(config, &mut problems);
    one::<mingle_chat::Config>(config, &mut problems);
    one::<mingle_matchmaking::Config>(config, &mut problems);
    one::<mingle_gateway::Config>(config, &mut problems);
    problems.into_result()
}

/// Callees first: a role finds those it calls bound.
async fn bind(process: &mut Process, backends: &Backends) -> anyhow::Result<()> {
    if let Some(ctx) = process.context(Role::Presence) {
        process.add(mingle_presence::bind(ctx, backends.clone()).await?);
    }
    if let Some(ctx) = process.context(Role::Chat) {
        process.add(mingle_chat::bind(ctx, backends.clone()).await?);
    }
    if let Some(ctx) = process.context(Role::Matchmaking) {
        process.add(mingle_matchmaking::bind(ctx, backends.clone()).await?);
    }
    if let Some(ctx) = process.context(Role::Gateway) {
        let clock = backends.clock.clone();
        process.add(mingle_gateway::bind(ctx, Arc::new(move || clock.now_ms())).await?);
    }
    Ok(())
}

fn declare(diagnostics: &Diagnostics, dir: &Path) {
    let file = dir.join(sqlite::FILE);
    diagnostics.declare("database", "sqlite", &file.display().to_string());
    diagnostics.declare("bus", "memory", "this process");
    diagnostics.declare("presence", "memory", "this process");
    diagnostics.declare("match index", "memory", "this process");
}
