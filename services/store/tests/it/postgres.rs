//! PostgreSQL as it is: a server of the test's own, and its faults.

use std::time::{Duration, Instant};

use mingle_store::{
    Error, ErrorKind, Result,
    postgres::{Options, Postgres, within},
    sqlite::Migration,
};
use mingle_testkit as kit;
use mingle_testkit::eventually;
use sqlx::Row as _;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(20);

const STEPS: &[Migration] = &[
    Migration { version: 1, sql: "create table item (id bigint primary key); create table two ()" },
    Migration { version: 2, sql: "alter table item add column note text not null default ''" },
];

/// Bounds short enough to be waited for.
fn brief(url: &str) -> Options {
    let bound = Duration::from_millis(800);
    Options { max_connections: 4, acquire: bound, answer: bound, ..Options::new(url) }
}

async fn open() -> Postgres {
    let database = kit::Postgres::shared().await.database().await;
    let postgres = Postgres::connect(Options::new(database.url)).await.unwrap();
    postgres.migrate("test", STEPS).await.unwrap();
    postgres
}

async fn insert(postgres: &Postgres, id: i64) -> Result<()> {
    let mut tx = postgres.begin().await?;
    let insert = sqlx::query("insert into item (id) values ($1)").bind(id);
    within(postgres.answer(), insert.execute(&mut *tx)).await?;
    within(postgres.answer(), tx.commit()).await
}

async fn count(postgres: &Postgres) -> Result<i64> {
    let count = sqlx::query("select count(*) from item").fetch_one(postgres.readers());
    Ok(within(postgres.answer(), count).await?.try_get(0)?)
}

async fn session_setting(postgres: &Postgres, name: &str) -> String {
    let query = sqlx::query("select current_setting($1)").bind(name);
    query.fetch_one(postgres.readers()).await.unwrap().get(0)
}

#[tokio::test]
async fn a_server_that_goes_away_during_a_start_is_waited_for() {
    let database = kit::Postgres::shared().await.database().await;
    let proxy = kit::Proxy::to(([127, 0, 0, 1], database.port).into()).await;
    let by = format!(":{}", proxy.address().port());
    let url = database.url.replace(&format!(":{}", database.port), &by);
    let postgres = Postgres::connect(brief(&url)).await.unwrap();
    let before = proxy.traffic().connections;
    proxy.set(kit::Fault::Cut);
    let migrating = tokio::spawn(async move { postgres.migrate("test", STEPS).await });
    eventually(SOON, "it is tried", async || proxy.traffic().connections > before + 1).await;
    assert!(!migrating.is_finished(), "given up");
    proxy.set(kit::Fault::None);
    assert_eq!(migrating.await.unwrap().unwrap().to, 2);
}

/// It answers the first question of a start, and not the next one.
#[tokio::test]
async fn a_server_that_goes_away_between_two_questions_is_waited_for() {
    let database = kit::Postgres::shared().await.database().await;
    let proxy = kit::Proxy::to(([127, 0, 0, 1], database.port).into()).await;
    let by = format!(":{}", proxy.address().port());
    let url = database.url.replace(&format!(":{}", database.port), &by);
    // So that there is time to be away in.
    proxy.set(kit::Fault::Slow(Duration::from_millis(200)));
    let starting = tokio::spawn(async move { Postgres::connect(Options::new(url)).await });
    eventually(SOON, "the second one", async || proxy.traffic().connections == 2).await;
    proxy.set(kit::Fault::Cut);
    eventually(SOON, "it is cut", async || proxy.traffic().cut > 0).await;
    proxy.set(kit::Fault::None);
    starting.await.unwrap().expect("it is back within the time of a start");
}

#[tokio::test]
async fn migrates_once_however_many_ask() {
    let database = kit::Postgres::shared().await.database().await;
    let mut tasks = JoinSet::new();
    for n in 0..8 {
        let url = database.url.clone();
        tasks.spawn(async move {
            let postgres = Postgres::connect(Options::new(url)).await?;
            // Two owners, because they share one table of versions.
            postgres.migrate("test", STEPS).await?;
            postgres.migrate(if n % 2 == 0 { "even" } else { "odd" }, &[]).await?;
            postgres.migrate("test", STEPS).await
        });
    }
    for migrated in tasks.join_all().await {
        migrated.unwrap();
    }
    let postgres = Postgres::connect(Options::new(database.url)).await.unwrap();
    insert(&postgres, 1).await.unwrap();
    let row = sqlx::query("select version from schema_version where owner = 'test'");
    assert_eq!(row.fetch_one(postgres.readers()).await.unwrap().get::<i64, _>(0), 2);
}

#[tokio::test]
async fn an_older_program_refuses_a_newer_database() {
    let postgres = open().await;
    let error = postgres.migrate("test", &STEPS[..1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("newer than this program"), "{error}");
    postgres.migrate("test", STEPS).await.unwrap();
}

#[tokio::test]
async fn a_failing_migration_leaves_nothing() {
    const BAD: &[Migration] = &[
        Migration { version: 1, sql: "create table half (id bigint)" },
        Migration { version: 2, sql: "create table half (id bigint)" },
    ];
    let postgres = open().await;
    let error = postgres.migrate("bad", BAD).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    postgres.migrate("bad", &BAD[..1]).await.unwrap();
}

#[tokio::test]
async fn a_server_that_acknowledges_too_early_is_refused_by_name() {
    let shared = kit::Postgres::shared().await;
    let database = shared.database().await;
    let name = database.url.rsplit_once('/').unwrap().1.to_owned();
    shared.sql("postgres", &format!("alter database {name} set synchronous_commit = off"));
    let error = Postgres::connect(Options::new(&database.url)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("synchronous_commit=off"), "{error}");

    shared.sql("postgres", &format!("alter database {name} reset synchronous_commit"));
    let postgres = Postgres::connect(brief(&database.url)).await.unwrap();
    postgres.migrate("test", STEPS).await.unwrap();
    shared.sql("postgres", &format!("alter database {name} set synchronous_commit = off"));
    shared.sql(
        &name,
        "select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()",
    );
    eventually(SOON, "the broken connections are gone", async || {
        let error = insert(&postgres, 1).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        std::error::Error::source(&error).is_some_and(|cause| cause.to_string().contains("pool"))
    })
    .await;
    assert_eq!(shared.sql(&name, "select count(*) from item"), "0");
}

#[tokio::test]
async fn a_wrong_login_or_url_is_told_at_once() {
    let database = kit::Postgres::shared().await.database().await;
    for url in [database.url.replace("/test_", "/absent_"), "mysql://h/d".to_owned()] {
        let begin = Instant::now();
        let error = Postgres::connect(Options::new(url)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(begin.elapsed() < SOON, "what no waiting mends is not waited for");
    }
}

#[tokio::test]
async fn sessions_are_bounded_and_named() {
    let postgres = open().await;
    assert_eq!(session_setting(&postgres, "statement_timeout").await, "4500ms");
    assert_eq!(session_setting(&postgres, "lock_timeout").await, "3s");
    assert_eq!(session_setting(&postgres, "idle_in_transaction_session_timeout").await, "10s");
    assert_eq!(session_setting(&postgres, "application_name").await, "mingle");
}

#[tokio::test]
async fn a_snapshot_sees_nothing_of_later_and_writes_nothing() {
    let postgres = open().await;
    insert(&postgres, 1).await.unwrap();
    let mut snapshot = postgres.snapshot().await.unwrap();
    let count = "select count(*) from item";
    let before: i64 = sqlx::query(count).fetch_one(&mut *snapshot).await.unwrap().get(0);
    insert(&postgres, 2).await.unwrap();
    let after: i64 = sqlx::query(count).fetch_one(&mut *snapshot).await.unwrap().get(0);
    assert_eq!((before, after), (1, 1));
    let write = sqlx::query("insert into item (id) values (3)").execute(&mut *snapshot).await;
    assert_eq!(Error::from(write.unwrap_err()).kind(), ErrorKind::Unavailable, "read only");
}

#[tokio::test]
async fn what_a_statement_did_wrong_is_told_apart() {
    let database = kit::Postgres::shared().await.database().await;
    let postgres = Postgres::connect(brief(&database.url)).await.unwrap();
    postgres.migrate("test", STEPS).await.unwrap();
    insert(&postgres, 1).await.unwrap();
    assert_eq!(insert(&postgres, 1).await.unwrap_err().kind(), ErrorKind::Conflict);
    let cases = [
        ("select pg_sleep(30)", ErrorKind::Timeout),
        ("select nothing", ErrorKind::Unsupported),
        ("insert into item (id) values (null)", ErrorKind::Corrupt),
        ("select 1 / 0", ErrorKind::Corrupt),
    ];
    for (sql, expected) in cases {
        let error = sqlx::query(sql).execute(postgres.readers()).await.unwrap_err();
        assert_eq!(Error::from(error).kind(), expected, "{sql}");
    }
    assert_eq!(count(&postgres).await.unwrap(), 1);
}

#[tokio::test]
async fn a_lock_held_too_long_is_transient() {
    // With the usual bounds: the lock's is well before the statement's.
    let postgres = open().await;
    let mut holder = postgres.begin().await.unwrap();
    sqlx::query("lock table item").execute(&mut *holder).await.unwrap();
    assert_eq!(insert(&postgres, 1).await.unwrap_err().kind(), ErrorKind::Unavailable);
    holder.rollback().await.unwrap();
    insert(&postgres, 1).await.unwrap();
}

#[tokio::test]
async fn an_exhausted_pool_is_told_in_time_and_heals() {
    let database = kit::Postgres::shared().await.database().await;
    let postgres = Postgres::connect(brief(&database.url)).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(postgres.begin().await.unwrap());
    }
    let error = postgres.begin().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("pool"), "{error}");
    held.clear();
    postgres.begin().await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_transaction_behind() {
    let server = kit::Postgres::start().await;
    let database = server.database().await;
    let name = database.url.rsplit_once('/').unwrap().1;
    let options = Options { max_connections: 1, ..Options::new(&database.url) };
    let postgres = Postgres::connect(options).await.unwrap();
    postgres.migrate("test", STEPS).await.unwrap();
    insert(&postgres, 1).await.unwrap();
    eventually(SOON, "the connection is back", async || postgres.readers().num_idle() == 1).await;
    // BEGIN is on its way when the caller leaves.
    server.freeze();
    let begun = tokio::time::timeout(Duration::from_millis(200), postgres.begin()).await;
    assert!(begun.is_err());
    server.thaw();
    // On the same connection, which commits by itself.
    let alone = sqlx::query("insert into item (id) values (2)").execute(postgres.readers());
    within(SOON, alone).await.unwrap();
    assert_eq!(server.sql(name, "select count(*) from item"), "2", "others see it");
}

#[tokio::test]
async fn killed_backends_cost_a_transient_failure_each_at_most() {
    let shared = kit::Postgres::shared().await;
    let database = shared.database().await;
    let postgres = Postgres::connect(brief(&database.url)).await.unwrap();
    postgres.migrate("test", STEPS).await.unwrap();
    let held = [postgres.begin().await.unwrap(), postgres.begin().await.unwrap()];
    drop(held);
    let name = database.url.rsplit_once('/').unwrap().1;
    let killed = shared.sql(
        name,
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()",
    );
    let mut failed = 0;
    for id in 0..20 {
        match insert(&postgres, id).await {
            Ok(()) => {}
            Err(error) => {
                assert!(error.is_transient(), "{error:?}");
                failed += 1;
            }
        }
    }
    assert!(failed <= killed.parse().unwrap(), "{failed} failures of {killed} killed");
    assert_eq!(count(&postgres).await.unwrap(), 20 - failed);
}

#[tokio::test]
async fn a_frozen_server_answers_nobody_for_long_and_heals() {
    let server = kit::Postgres::start().await;
    let database = server.database().await;
    let postgres = Postgres::connect(brief(&database.url)).await.unwrap();
    postgres.migrate("test", STEPS).await.unwrap();
    insert(&postgres, 1).await.unwrap();
    server.freeze();
    let begin = Instant::now();
    // More calls than places in the pool, twice: none waits for another's wreck.
    for round in 1..3 {
        let mut tasks = JoinSet::new();
        for id in 0..12 {
            let postgres = postgres.clone();
            tasks.spawn(async move { insert(&postgres, round * 100 + id).await });
        }
        for failed in tasks.join_all().await {
            let error = failed.unwrap_err();
            assert!(error.is_transient(), "{error:?}");
        }
    }
    assert!(begin.elapsed() < SOON);
    assert!(count(&postgres).await.unwrap_err().is_transient());
    server.thaw();
    eventually(SOON, "it heals", async || insert(&postgres, 3).await.is_ok()).await;
}

#[tokio::test]
async fn a_pool_stranded_at_a_host_that_vanished_is_replaced() {
    let database = kit::Postgres::shared().await.database().await;
    let (_, place) = database.url.split_once('@').unwrap();
    let (server, _) = place.split_once('/').unwrap();
    let proxy = kit::Proxy::to(server.parse().unwrap()).await;
    let url = database.url.replace(server, &proxy.address().to_string());
    let postgres = Postgres::connect(brief(&url)).await.unwrap();
    postgres.migrate("test", STEPS).await.unwrap();
    for round in 0..3 {
        let before = count(&postgres).await.unwrap();
        let mut tasks = JoinSet::new();
        for id in 0..12 {
            let (postgres, id) = (postgres.clone(), round * 100 + id);
            tasks.spawn(async move {
                let mut said = 0;
                // Whoever finds out tells of it.
                while insert(&postgres, id * 10_000 + said).await.is_ok() {
                    said += 1;
                }
                said
            });
        }
        eventually(SOON, "they are at it", async || {
            count(&postgres).await.is_ok_and(|count| count > before + 100)
        })
        .await;
        proxy.strand();
        assert!(tasks.join_all().await.into_iter().sum::<i64>() > 0);
        eventually(SOON, "others are made", async || insert(&postgres, -1 - round).await.is_ok())
            .await;
        assert!(count(&postgres).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn an_abandoned_commit_is_unknown_because_it_may_yet_happen() {
    let server = kit::Postgres::start().await;
    let database = server.database().await;
    let postgres = Postgres::connect(Options::new(&database.url)).await.unwrap();
    postgres.migrate("test", STEPS).await.unwrap();
    let mut tx = postgres.begin().await.unwrap();
    sqlx::query("insert into item (id) values (2)").execute(&mut *tx).await.unwrap();
    server.freeze();
    let error = within(Duration::from_millis(200), tx.commit()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    server.thaw();
    eventually(SOON, "what was in the socket was executed", async || {
        count(&postgres).await.unwrap() == 1
    })
    .await;
}

#[tokio::test]
async fn a_restart_is_waited_for_and_loses_nothing() {
    let server = kit::Postgres::start().await;
    let database = server.database().await;
    let postgres = Postgres::connect(brief(&database.url)).await.unwrap();
    postgres.migrate("test", STEPS).await.unwrap();
    for id in 0..10 {
        insert(&postgres, id).await.unwrap();
    }
    server.kill();
    for id in 10..12 {
        let error = insert(&postgres, id).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
    }
    // A process that starts now waits for the server that comes.
    let early = tokio::spawn(Postgres::connect(brief(&database.url)));
    server.restart().await;
    early.await.unwrap().unwrap();
    eventually(SOON, "it heals", async || insert(&postgres, 100).await.is_ok()).await;
    assert_eq!(count(&postgres).await.unwrap(), 11, "what was acknowledged, and no more");
    postgres.close().await;
    assert_eq!(insert(&postgres, 101).await.unwrap_err().kind(), ErrorKind::Unavailable);
}
