//! `mingle migrate`, and starts on databases that were not migrated, or by a
//! newer program.

use std::time::Duration;

use mingle_testkit::{Builder, Finished, Mingle, Postgres, Redis, TestDatabase};

use crate::ledger::Ledger;

/// A server that is away is waited for half a minute.
const END: Duration = Duration::from_secs(90);
const VERSIONS: &str = "select count(*) from schema_version where owner in ('chat', 'matchmaking')";

fn migrate(url: &str) -> Builder {
    Mingle::builder().arg("migrate").env("DATABASE_URL", url)
}

async fn run(builder: Builder, code: i32) -> String {
    let Finished { status, log } = builder.run_to_end(END).await;
    assert_eq!(status.code(), Some(code), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    log
}

#[track_caller]
fn assert_told(log: &str, words: &[&str]) {
    for word in words {
        assert!(log.contains(word), "{word} is not in: {log}");
    }
}

/// Every table of the database and its columns, as PostgreSQL tells them.
async fn tables(server: &Postgres, database: &TestDatabase) -> String {
    let (_, name) = database.url.rsplit_once('/').unwrap();
    let columns = "select table_name, column_name, data_type from information_schema.columns
                   where table_schema = 'public' order by 1, ordinal_position";
    server.sql(name, columns)
}

#[tokio::test]
async fn tables_are_made_once_and_found_again() {
    let server = Postgres::shared().await;
    let database = server.database().await;
    let made = run(migrate(&database.url), 0).await;
    assert_told(&made, &["chat are made, at version 3", "matchmaking are made, at version 2"]);
    let before = tables(server, &database).await;
    assert_told(&before, &["chat_log|", "chat_rooms|", "mm_tickets|", "schema_version|"]);
    let again = run(migrate(&database.url), 0).await;
    assert_told(&again, &["chat are at version 3 already", "matchmaking are at version 2 already"]);
    assert_eq!(tables(server, &database).await, before);
}

#[tokio::test]
async fn those_that_migrate_at_once_take_turns() {
    let server = Postgres::shared().await;
    for _ in 0..5 {
        let database = server.database().await;
        let both = [migrate(&database.url), migrate(&database.url)].map(|one| run(one, 0));
        let both = futures::future::join_all(both).await;
        for owner in ["chat", "matchmaking"] {
            let made = format!("{owner} are made");
            let makers = both.iter().filter(|log| log.contains(&made)).count();
            assert_eq!(makers, 1, "{owner}: {both:?}");
        }
        let ledger = Ledger::postgres(&database.url).await;
        assert_eq!(ledger.count(VERSIONS).await, 2);
    }
}

#[tokio::test]
async fn a_role_migrates_by_itself() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let chat = serve_chat(&database, &redis).start().await;
    let ledger = Ledger::postgres(&database.url).await;
    assert_eq!(ledger.count(VERSIONS).await, 1, "its own tables");
    assert_eq!(ledger.count("select count(*) from chat_log").await, 0);
    // Beside a process that runs.
    let log = run(migrate(&database.url), 0).await;
    assert_told(&log, &["chat are at version 3 already", "matchmaking are made"]);
    drop(chat);
}

/// A role whose other roles are nowhere.
fn serve_chat(database: &TestDatabase, redis: &Redis) -> Builder {
    Mingle::builder()
        .arg("serve")
        .arg("chat")
        .env("REDIS_URL", redis.url())
        .env("DATABASE_URL", &database.url)
        .env("MINGLE_PEERS__RATELIMIT", "[\"http://127.0.0.1:9\"]")
        .env("MINGLE_PEERS__CACHE", "[\"http://127.0.0.1:9\"]")
}

#[tokio::test]
async fn a_wrong_address_is_told_by_name_and_without_the_password() {
    let refused = async |url: &str, code: i32, words: &[&str]| {
        let log = run(migrate(url), code).await;
        assert_told(&log, words);
        assert_told(&log, &["DATABASE_URL"]);
        assert!(!log.contains("sesame"), "the password is in the log: {log}");
        log
    };
    for url in ["sesame", "mysql://u:sesame@h/db", "postgres://u:sesame@127.0.0.1:99999/db"] {
        let log = refused(url, 2, &["is not a postgres:// URL"]).await;
        assert!(!log.contains("is missing"), "{log}");
    }
    refused("", 2, &["is missing"]).await;
    let database = Postgres::shared().await.database().await;
    let with_password = database.url.replace("postgres@", "postgres:sesame@");
    refused(&format!("{with_password}_none"), 1, &["does not exist", "127.0.0.1"]).await;
    let nobody = with_password.replace("postgres:sesame@", "nobody:sesame@");
    refused(&nobody, 1, &["nobody"]).await;
    // The log tells each try while a server is away.
    let away = refused("postgres://u:sesame@127.0.0.1:1/db", 1, &["127.0.0.1:1"]).await;
    assert!(away.matches("trying again").count() > 1, "{away}");
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_and_left_alone() {
    let server = Postgres::shared().await;
    let (database, redis) = (server.database().await, Redis::start().await);
    run(migrate(&database.url), 0).await;
    let (_, name) = database.url.rsplit_once('/').unwrap();
    server.sql(name, "update schema_version set version = 7 where owner = 'chat'");
    let before = tables(server, &database).await;
    let words = ["newer than this program", "chat are at version 7", "knows 3"];
    assert_told(&run(migrate(&database.url), 1).await, &words);
    assert_told(&run(serve_chat(&database, &redis), 1).await, &words);
    assert_eq!(tables(server, &database).await, before);
    let version = "select version from schema_version where owner = 'chat'";
    assert_eq!(server.sql(name, version), "7");
}
