//! PostgreSQL behind a transaction pooler that keeps no prepared statements:
//! the next statement of a caller may run in another session.

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt as _;
use mingle_store::{
    Database, Result,
    bus::{self, Announcement, Bus, Delivery, Merged, Servers},
    postgres::{Options, Postgres},
    sql::Sql,
    sqlite::Migration,
};
use mingle_testkit as kit;
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::bus::{
    reader::{News, PATIENCE as SOON, Reader, announcement},
    stage::{QUICK, redis_client},
};

const STEPS: &[Migration] =
    &[Migration { version: 1, sql: "create table item (id bigint primary key)" }];
/// Of as many callers at once as share the pooler's four sessions.
const CALLERS: i64 = 16;
const ROUNDS: i64 = 25;

/// The pooler asks a server that refused it no more for 15 s.
const LONG: Duration = Duration::from_secs(60);

/// What callers ask: taken for one another, they show.
const TEXTS: [&str; 4] = [
    "select $1::bigint + 1000 as answer",
    "select $1::bigint + 2000 as answer",
    "select $1::bigint + 3000 as answer",
    "select $1::bigint + 4000 as answer",
];
const INSERT: &str = "insert into item (id) values ($1)";

fn statement(text: &'static str) -> Sql {
    Sql { owner: "", name: "test", sqlite: "", postgres: text }
}

/// One caller's calls, each of which must get its own answer.
async fn calls(database: &Database, caller: i64) -> Result<()> {
    let kind = usize::try_from(caller).unwrap() % TEXTS.len();
    let expected = caller + 1000 * (i64::try_from(kind).unwrap() + 1);
    let ask = || statement(TEXTS[kind]).bind(caller);
    for round in 0..ROUNDS {
        let row = ask().optional(database).await?.unwrap();
        assert_eq!(row.get::<i64>("answer")?, expected, "alone");
        let rows = ask().all(database).await?;
        assert_eq!(rows[0].get::<i64>("answer")?, expected, "all");
        let rows: Vec<_> = ask().stream(database).try_collect().await?;
        assert_eq!(rows[0].get::<i64>("answer")?, expected, "stream");

        let mut tx = database.begin().await?;
        let row = ask().optional(&mut tx).await?.unwrap();
        assert_eq!(row.get::<i64>("answer")?, expected, "in a transaction");
        statement(INSERT).bind(caller * ROUNDS + round).execute(&mut tx).await?;
        tx.commit().await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_caller_gets_its_own_answers() {
    let pooler = kit::Postgres::shared().await.pooler().await;
    let direct_url = Some(pooler.direct_url.clone());
    answers(&pooler, Options { direct_url, ..Options::new(&pooler.url) }).await;
}

/// It refuses the settings of a session, or drops them: so it is known.
#[tokio::test]
async fn a_pooler_that_nobody_told_of_is_taken_for_one() {
    let server = kit::Postgres::shared().await;
    let refuses = server.pooler().await;
    answers(&refuses, Options::new(&refuses.url)).await;
    let drops = server.pooler_that_ignores("extra_float_digits,options").await;
    answers(&drops, Options::new(&drops.url)).await;
}

async fn answers(pooler: &kit::Pooler, options: Options) {
    let server = kit::Postgres::shared().await;
    let postgres = Postgres::connect(options).await.unwrap();
    assert!(postgres.is_pooled());
    postgres.migrate("test", STEPS).await.unwrap();
    let database = Database::Postgres(postgres);
    let mut tasks = JoinSet::new();
    for caller in 0..CALLERS {
        let database = database.clone();
        tasks.spawn(async move { calls(&database, caller).await });
    }
    for called in tasks.join_all().await {
        called.unwrap();
    }
    let name = pooler.direct_url.rsplit_once('/').unwrap().1;
    let expected = (CALLERS * ROUNDS).to_string();
    assert_eq!(server.sql(name, "select count(*) from item"), expected);
}

/// The way past the pooler is no way past it.
#[tokio::test]
async fn who_is_told_of_a_direct_way_that_leads_to_a_pooler_does_not_listen() {
    let server = kit::Postgres::shared().await;
    let refuses = server.pooler().await;
    let drops = server.pooler_that_ignores("extra_float_digits,options").await;
    for pooler in [&refuses, &drops] {
        for (direct, may_listen) in [(&pooler.url, false), (&pooler.direct_url, true)] {
            let direct_url = Some(format!("{direct}?sslmode=disable"));
            let options = Options { direct_url, ..Options::new(&pooler.url) };
            let postgres = Postgres::connect(options).await.unwrap();
            assert!(postgres.is_pooled());
            assert_eq!(postgres.may_listen(), may_listen, "{direct}");
        }
    }
}

/// Who listened there would do so in the sessions of others.
#[tokio::test]
async fn what_is_never_heard_is_no_source_and_no_gap_either() {
    let pooler = kit::Postgres::shared().await.pooler().await;
    let blind = Postgres::connect(Options::new(&pooler.url)).await.unwrap();
    let blind = Merged::start(Servers::Postgres(blind), QUICK);
    let mut deaf = blind.subscribe("topic").await.unwrap();
    let seeing = Postgres::connect(Options::new(&pooler.direct_url)).await.unwrap();
    let seeing = Merged::start(Servers::Postgres(seeing), QUICK);
    let mut heard = seeing.subscribe("topic").await.unwrap();
    let begin = Instant::now();
    let mut said = 0;
    kit::eventually(SOON, "several silences", async || {
        said += u8::from(blind.publish(&[Announcement::new("topic", vec![said])]).await.is_ok());
        assert_eq!(blind.sources().postgres, Some(false));
        begin.elapsed() > QUICK.lost_after * 5
    })
    .await;
    assert!(said > 0, "nothing was published");
    assert!(timeout(QUICK.beat, deaf.recv()).await.is_err(), "nothing was heard, so nothing ended");
    // What it says is heard by those who have a way past the pooler.
    while timeout(SOON, heard.recv()).await.unwrap() == Some(Delivery::Gap) {}
    assert_eq!(seeing.sources().postgres, Some(true));
}

/// Redis takes it from none, and PostgreSQL to nobody: it is a gap all the same.
#[tokio::test]
async fn what_redis_refuses_where_nobody_may_listen_is_a_gap_on_redis() {
    let redis = kit::Redis::start().await;
    let pooler = kit::Postgres::shared().await.pooler().await;
    let both = async || {
        let postgres = Postgres::connect(Options::new(&pooler.url)).await.unwrap();
        assert!(!postgres.may_listen());
        let redis = redis_client(&redis, Duration::from_millis(250)).await;
        Arc::new(Merged::start(Servers::Both(redis, postgres), bus::Options::default()))
    };
    let (here, there) = (both().await, both().await);
    for bus in [&here, &there] {
        kit::eventually(SOON, "redis is heard", async || bus.sources().redis == Some(true)).await;
    }
    let listening: Arc<dyn Bus> = there.clone();
    let mut reader = Reader::of(&listening, "a").await;
    here.publish(&[announcement("a", 1)]).await.unwrap();
    // What the first beats of both were a gap of is behind it.
    reader.until(1).await;
    assert_eq!(redis.cli(&["ACL", "SETUSER", "mingle", "-publish"]), "OK");
    here.publish(&[announcement("a", 2)]).await.expect("the database takes it");
    assert_eq!(redis.cli(&["ACL", "SETUSER", "mingle", "+publish"]), "OK");
    assert_eq!(reader.next().await, News::Gap);
    here.publish(&[announcement("a", 3)]).await.unwrap();
    assert_eq!(reader.until(3).await, 0, "told once");
}

/// A fail-over behind the pooler leads to a standby for a while: what it would
/// answer may be old, and it takes no writes.
#[tokio::test]
async fn a_standby_behind_the_pooler_is_a_database_that_is_away() {
    let server = kit::Postgres::start().await;
    let pooler = server.pooler().await;
    let open = async || {
        let direct_url = Some(pooler.direct_url.clone());
        Postgres::connect(Options { direct_url, ..Options::new(&pooler.url) }).await.unwrap()
    };
    let (reads, writes) = (open().await, open().await);
    reads.snapshot().await.unwrap().commit().await.unwrap();
    writes.begin().await.unwrap().commit().await.unwrap();
    for postgres in [&reads, &writes] {
        let idle = async || postgres.readers().num_idle() == 1;
        kit::eventually(SOON, "a connection that stays", idle).await;
    }
    let signal = server.server().folder().join("data/standby.signal");
    std::fs::write(&signal, "").unwrap();
    server.restart().await;
    let guest: PgConnectOptions = pooler.url.parse().unwrap();
    kit::eventually(LONG, "the pooler leads to it", async || {
        let Ok(mut guest) = guest.connect().await else { return false };
        let asked = sqlx::raw_sql("select 1 where pg_is_in_recovery()");
        asked.fetch_one(&mut guest).await.is_ok()
    })
    .await;
    let read = reads.snapshot().await.map(drop).expect_err("what it reads may be old");
    let written = writes.begin().await.map(drop).expect_err("it takes no writes");
    for error in [read, written] {
        assert_eq!(error.to_string(), "postgres is a standby: Unavailable", "{error:?}");
    }
    for postgres in [&reads, &writes] {
        kit::eventually(SOON, "it is known", async || postgres.gate().is_away()).await;
    }
    std::fs::remove_file(signal).unwrap();
    server.restart().await;
    kit::eventually(LONG, "another primary", async || {
        reads.snapshot().await.is_ok() && writes.begin().await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_transaction_is_bounded_through_the_pooler_too() {
    let pooler = kit::Postgres::shared().await.pooler().await;
    let options =
        Options { direct_url: Some(pooler.direct_url.clone()), ..Options::new(&pooler.url) };
    let database = Database::Postgres(Postgres::connect(options).await.unwrap());
    let setting = statement("select current_setting('statement_timeout') as answer");
    let mut tx = database.snapshot().await.unwrap();
    let row = setting.query().optional(&mut tx).await.unwrap().unwrap();
    assert_eq!(row.get::<String>("answer").unwrap(), "4500ms");
}
