//! Brings the tables of a database to the newest version.

use mingle_runtime::config::{Config, Problems, sources};
use mingle_store::Database;

use crate::backends;

/// Several may run at once, and beside processes of this version or the one
/// before.
pub(crate) async fn run(config: &Config) -> anyhow::Result<()> {
    let mut problems = Problems::default();
    let source = sources::database(config.environment(), &mut problems);
    problems.require(source.is_some(), "DATABASE_URL", "is missing: there is nothing to migrate");
    let section = config.section(&mut problems);
    problems.into_result()?;
    let (Some(source), Some(section)) = (source, section) else { return Ok(()) };
    let database: Database = backends::connect(&source, &section).await?.into();
    mingle_chat::store::migrate(&database).await?;
    mingle_matchmaking::store::sql::migrate(&database).await?;
    database.close().await;
    eprintln!("The tables of chat and matchmaking are up to date.");
    Ok(())
}
