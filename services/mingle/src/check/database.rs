//! The steps of PostgreSQL.

use std::time::Duration;

use mingle_runtime::config::{Problems, sources};
use mingle_store::{
    Result, Why,
    postgres::{Options, Places, Postgres},
    sqlite::Migrated,
};

use super::{Asked, Found, Steps, remedy};
use crate::backends::{DatabaseConfig, database_options, place};

const STEPS: &[&str] = &["database", "tables", "connections", "announcements"];
/// Connections of a check.
const CONNECTIONS: u32 = 2;

/// The server, when it can be used; to be closed.
pub(super) async fn check(steps: Steps, asked: Asked<'_>) -> Option<Postgres> {
    let mut problems = Problems::default();
    let source = sources::database(asked.config.environment(), &mut problems);
    let config: Option<DatabaseConfig> = asked.config.section(&mut problems);
    let (source, config) = match (source, config, problems.into_result()) {
        (Some(source), Some(config), Ok(())) => (source, config),
        (None, Some(_), Ok(())) => {
            steps.skip(STEPS, "DATABASE_URL is not set: nothing to ask").await;
            return None;
        }
        _ => {
            steps.skip(STEPS, "see the configuration").await;
            return None;
        }
    };
    let usual = database_options(&source, &config);
    let pool = usual.max_connections;
    // Whoever asks wants to know now.
    let options = Options { max_connections: CONNECTIONS, start: Duration::ZERO, ..usual };
    let mut connected = None;
    let reached = steps.run(STEPS[0], async {
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
        steps.skip(&STEPS[1..], "the database cannot be used").await;
        return None;
    };
    steps.run(STEPS[1], tables(&postgres)).await;
    steps.run(STEPS[2], connections(&postgres, pool)).await;
    steps.run(STEPS[3], announcements(&postgres)).await;
    Some(postgres)
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
        _ => Found::warn(what, "set synchronous_commit to on where a standby may take over"),
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
        Found::warn(what, "run mingle migrate, or let the first start do it")
    }
}

fn newer(why: Why) -> &'static str {
    match why {
        Why::Other => "run the program of the version that made these tables, or a newer one",
        why => remedy::of_database(why),
    }
}

/// How many this process may open, of those that nobody has.
async fn connections(postgres: &Postgres, pool: u32) -> Found {
    let Places { left, most, wanted } = match postgres.places(pool).await {
        Ok(places) => places,
        Err(error) => return Found::failed(&error, remedy::of_database),
    };
    let what = format!("{left} of {most} are left; a process opens up to {wanted}");
    if postgres.is_pooled() {
        Found::ok(format!("{what}, of the pooler"))
    } else if left < wanted {
        Found::warn(
            what,
            "raise max_connections of the server, put a pooler before it, or lower \
             MINGLE_DATABASE__MAX_CONNECTIONS; beside the process asked about, its own are counted",
        )
    } else {
        Found::ok(what)
    }
}

async fn announcements(postgres: &Postgres) -> Found {
    match postgres.hears_itself().await {
        Ok(Some(took)) => {
            Found::ok(format!("NOTIFY is heard after {:.1} ms", 1e3 * took.as_secs_f64()))
        }
        Ok(None) => Found::warn(
            "NOTIFY is not heard: without Redis messages arrive up to 6 s late",
            "set DATABASE_DIRECT_URL to the way past the transaction pooler",
        ),
        Err(error) => Found::failed(&error, |why| match why {
            Why::Other => "see DATABASE_DIRECT_URL, the way past a pooler",
            why => remedy::of_database(why),
        }),
    }
}
