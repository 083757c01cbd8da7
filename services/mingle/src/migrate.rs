//! Brings the tables of a database to the newest version.

use anyhow::Context as _;
use mingle_runtime::{
    config::{Config, Problems, sources},
    lifecycle::ProcessConfig,
    telemetry,
};
use mingle_store::{Database, sqlite::Migrated};

use crate::backends;

/// Several may run at once, and beside processes of this version or the one
/// before.
pub(crate) async fn run(config: &Config) -> anyhow::Result<()> {
    let mut problems = Problems::default();
    let source = sources::database(config.environment(), &mut problems);
    let is_there = source.is_some() || problems.has("DATABASE_URL");
    problems.require(is_there, "DATABASE_URL", "is missing: there is nothing to migrate");
    let section = config.section(&mut problems);
    let process: Option<ProcessConfig> = config.section(&mut problems);
    problems.into_result()?;
    let (Some(source), Some(section), Some(process)) = (source, section, process) else {
        return Ok(());
    };
    telemetry::init(config.mode(), &process.log);
    let database: Database = backends::connect(&source, &section).await?.into();
    tell("chat", mingle_chat::store::migrate(&database).await)?;
    tell("matchmaking", mingle_matchmaking::store::sql::migrate(&database).await)?;
    database.close().await;
    Ok(())
}

fn tell(owner: &str, migrated: mingle_store::Result<Migrated>) -> anyhow::Result<()> {
    match migrated.with_context(|| format!("cannot migrate the tables of {owner}"))? {
        Migrated { from: 0, to } => eprintln!("The tables of {owner} are made, at version {to}."),
        Migrated { from, to } if from == to => {
            eprintln!("The tables of {owner} are at version {to} already.");
        }
        Migrated { from, to } => {
            eprintln!("The tables of {owner} went from version {from} to {to}.");
        }
    }
    Ok(())
}
