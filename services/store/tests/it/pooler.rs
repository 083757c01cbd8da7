//! PostgreSQL behind a transaction pooler that keeps no prepared statements:
//! the next statement of a caller may run in another session.

use futures::TryStreamExt as _;
use mingle_store::{
    Database, Result,
    postgres::{Options, Postgres},
    sql::Sql,
    sqlite::Migration,
};
use mingle_testkit as kit;
use tokio::task::JoinSet;

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
    let server = kit::Postgres::shared().await;
    let pooler = server.pooler().await;
    let options =
        Options { direct_url: Some(pooler.direct_url.clone()), ..Options::new(&pooler.url) };
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
