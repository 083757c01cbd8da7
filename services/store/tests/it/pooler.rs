//! PostgreSQL behind a transaction pooler that keeps no prepared statements:
//! the next statement of a caller may run in another session.

use futures::TryStreamExt as _;
use mingle_store::{
    Database, Result,
    bus::{Announcement, Bus as _, Delivery, Merged, Servers},
    postgres::{Options, Postgres},
    sql::Sql,
    sqlite::Migration,
};
use mingle_testkit as kit;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::bus::{reader::PATIENCE as SOON, stage::QUICK};

const STEPS: &[Migration] =
    &[Migration { version: 1, sql: "create table item (id bigint primary key)" }];
/// Of as many callers at once as share the pooler's four sessions.
const CALLERS: i64 = 16;
const ROUNDS: i64 = 25;

/// What callers ask: taken for one another, they show.
const TEXTS: [&str; 4] = [
    "select $1::bigint + 1000 as answer",
    "select $1::bigint + 2000 as answer",
    "select $1::bigint + 3000 as answer",
    "select $1::bigint + 4000 as answer",
];
const INSERT: &str = "insert into item (id) values ($1)";

fn statement(text: &'static str) -> Sql {
    Sql { name: "test", sqlite: "", postgres: text }
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
