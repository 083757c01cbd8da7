//! The steps of PostgreSQL.

use std::time::Duration;

use mingle_runtime::config::sources;
use mingle_store::{
    Result, Why,
    postgres::{Options, Postgres},
    sqlite::Migrated,
};

use super::{Found, Report, State, remedy};
use crate::backends::{DatabaseConfig, database_options, place};

pub(super) const STEPS: &[&str] = &["database", "tables", "announcements"];
/// Connections of a check.
const CONNECTIONS: u32 = 2;

pub(super) async fn check(
    report: &mut Report,
    source: &sources::Database,
    config: &DatabaseConfig,
) {
    let usual = database_options(source, config);
    // Whoever asks wants to know now.
    let options = Options { max_connections: CONNECTIONS, start: Duration::ZERO, ..usual };
    let mut connected = None;
    let reached = report.step(STEPS[0], async {
        match reach(options, &place(source.url.expose())).await {
            Ok((postgres, found)) => {
                connected = Some(postgres);
                found
            }
            Err(error) => Found::failed(&error, remedy::of_database),
        }
    });
    reached.await;
    let Some(postgres) = connected else {
        return report.skip(&STEPS[1..], "the database cannot be used");
    };
    report.step(STEPS[1], tables(&postgres)).await;
    report.step(STEPS[2], announcements(&postgres)).await;
    postgres.close().await;
}

/// Old versions, standbys and `synchronous_commit=off` are refused here.
async fn reach(options: Options, place: &str) -> Result<(Postgres, Found)> {
    let postgres = Postgres::connect(options).await?;
    let said = postgres.inspect().await?;
    let pooler = if postgres.is_pooled() { ", through a pooler" } else { "" };
    let what = format!(
        "version {} at {place}{pooler}, synchronous_commit {}",
        said.version, said.synchronous_commit
    );
    let found = match &*said.synchronous_commit {
        "on" | "remote_apply" => Found::ok(what),
        _ => Found::new(
            State::Warn,
            what,
            "set synchronous_commit to on where a standby may take over",
        ),
    };
    Ok((postgres, found))
}

async fn tables(postgres: &Postgres) -> Found {
    let all = async {
        let chat = mingle_chat::store::pending(postgres).await?;
        let matchmaking = mingle_matchmaking::store::sql::pending(postgres).await?;
        Ok::<_, mingle_store::Error>([("chat", chat), ("matchmaking", matchmaking)])
    };
    let all = match all.await {
        Ok(all) => all,
        Err(error) => return Found::failed(&error, newer),
    };
    let told = all.map(|(owner, Migrated { from, to })| format!("{owner} at {from} of {to}"));
    let what = told.join(", ");
    if all.iter().all(|(_, tables)| tables.from == tables.to) {
        Found::ok(what)
    } else {
        Found::new(State::Warn, what, "run mingle migrate, or let the first start do it")
    }
}

fn newer(why: Why) -> &'static str {
    match why {
        Why::Other => "run the program of the version that made these tables, or a newer one",
        why => remedy::of_database(why),
    }
}

async fn announcements(postgres: &Postgres) -> Found {
    match postgres.hears_itself().await {
        Ok(Some(took)) => {
            Found::ok(format!("NOTIFY is heard after {:.1} ms", 1e3 * took.as_secs_f64()))
        }
        Ok(None) => Found::new(
            State::Warn,
            "NOTIFY is not heard: without Redis messages arrive up to 6 s late",
            "set DATABASE_DIRECT_URL to the way past the transaction pooler",
        ),
        Err(error) => Found::failed(&error, |why| match why {
            Why::Other => "see DATABASE_DIRECT_URL, the way past a pooler",
            why => remedy::of_database(why),
        }),
    }
}
