//! Who asks a server that is away.

use std::time::Duration;

use mingle_store::{
    Database, ErrorKind,
    postgres::{Options, Postgres, within},
    sql::Sql,
};
use mingle_testkit::{self as kit, Fault, Proxy, eventually};
use sqlx::{ConnectOptions as _, Connection as _, postgres::PgConnectOptions};
use tokio::{
    runtime::Handle,
    task::{JoinSet, yield_now},
    time::{interval, timeout, timeout_at},
};

const SOON: Duration = Duration::from_secs(60);
/// Each call of a server away would last for this without a gate.
const LONG: Duration = Duration::from_secs(300);

/// Longer than the server is given to answer.
const FROZEN: Duration = Duration::from_secs(4);

/// A proxy on the way of an address, and the address through it.
async fn through_proxy(url: &str) -> (Proxy, String) {
    let (_, place) = url.split_once('@').unwrap();
    let (server, _) = place.split_once('/').unwrap();
    let proxy = Proxy::to(server.parse().unwrap()).await;
    let url = url.replace(server, &proxy.address().to_string());
    (proxy, url)
}

async fn reached_by(url: &str) -> (Proxy, Postgres) {
    let (proxy, url) = through_proxy(url).await;
    let options = Options { max_connections: 4, acquire: LONG, answer: LONG, ..Options::new(url) };
    let postgres = Postgres::connect(options).await.unwrap();
    postgres.begin().await.unwrap();
    (proxy, postgres)
}

async fn ask(postgres: &Postgres) -> mingle_store::Result<()> {
    let mut tx = postgres.begin().await?;
    let one = sqlx::query("select 1").execute(&mut *tx);
    within(postgres.answer(), one).await?;
    within(postgres.answer(), tx.commit()).await
}

#[tokio::test]
async fn who_waits_for_a_server_that_went_away_is_told_and_the_next_at_once() {
    let database = kit::Postgres::shared().await.database().await;
    let (proxy, postgres) = reached_by(&database.url).await;
    for fault in [Fault::Silent, Fault::Cut, Fault::NoAnswers] {
        proxy.set(fault);
        let mut callers = JoinSet::new();
        for _ in 0..32 {
            let postgres = postgres.clone();
            callers.spawn(async move { postgres.begin().await.map(drop) });
        }
        for told in timeout(SOON, callers.join_all()).await.expect("all are told") {
            let error = told.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{fault:?}");
        }
        eventually(SOON, "it counts as away", async || postgres.gate().is_away()).await;
        let connections = proxy.traffic().connections;
        let tasks = Handle::current().metrics().num_alive_tasks();
        let end = tokio::time::Instant::now() + SOON;
        for _ in 0..1_000 {
            let told = timeout_at(end, ask(&postgres)).await.expect("at once");
            let error = told.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{fault:?}");
            assert!(error.is_undone(), "nothing was asked: {error:?}");
        }
        let left = Handle::current().metrics().num_alive_tasks().saturating_sub(tasks);
        assert!(left < 100, "{left} tasks of refused calls wait");
        let asked = proxy.traffic().connections - connections;
        assert!(asked < 500, "the calls did not ask: {asked} connections");
        proxy.set(Fault::None);
        eventually(SOON, "it is back", async || ask(&postgres).await.is_ok()).await;
    }
}

/// Suspects it until it was asked by new connections several times.
async fn suspected(postgres: &Postgres, proxy: &Proxy, meanwhile: impl AsyncFn()) {
    let before = proxy.traffic().connections;
    eventually(SOON, "it was asked several times", async || {
        postgres.gate().suspect();
        meanwhile().await;
        proxy.traffic().connections >= before + 3
    })
    .await;
}

/// Where new connections are not answered, those of the pool that are say that
/// it is there: one that is idle, or the calls themselves.
#[tokio::test]
async fn a_server_that_answers_who_is_connected_is_not_away() {
    let database = kit::Postgres::shared().await.database().await;
    let (proxy, url) = through_proxy(&database.url).await;
    let options = Options { max_connections: 1, ..Options::new(url) };
    let postgres = Postgres::connect(options).await.unwrap();
    ask(&postgres).await.unwrap();
    proxy.set(Fault::Full);
    suspected(&postgres, &proxy, async || assert!(!postgres.gate().is_away(), "one is idle")).await;
    ask(&postgres).await.unwrap();

    let database = Database::Postgres(postgres.clone());
    let held = tokio::sync::Mutex::new(database.begin().await.unwrap());
    suspected(&postgres, &proxy, async || {
        let mut tx = held.lock().await;
        let one = Sql { owner: "", name: "one", sqlite: "", postgres: "select 1 as one" };
        one.query().optional(&mut *tx).await.expect("none is idle, and it answers");
    })
    .await;
    assert!(!postgres.gate().is_away());
    held.into_inner().commit().await.unwrap();
}

#[tokio::test]
async fn a_pooler_that_takes_no_more_clients_is_not_away() {
    let pooler = kit::Postgres::shared().await.pooler().await;
    let (proxy, url) = through_proxy(&pooler.url).await;
    let options = Options { max_connections: 1, ..Options::new(url) };
    let options = Options { direct_url: Some(pooler.direct_url.clone()), ..options };
    let postgres = Postgres::connect(options).await.unwrap();
    let held = postgres.begin().await.unwrap();
    let guest: PgConnectOptions = pooler.url.parse().unwrap();
    let mut guests = Vec::new();
    let refused = loop {
        match guest.connect().await {
            Ok(guest) => guests.push(guest),
            Err(error) => break error,
        }
    };
    let said = refused.as_database_error().unwrap();
    assert_eq!(said.code().as_deref(), Some("08P01"), "{said}");
    // None is idle and no call is answered: the refusal itself says it.
    suspected(&postgres, &proxy, async || assert!(!postgres.gate().is_away())).await;
    drop(held);
    ask(&postgres).await.unwrap();
    drop(guests);
}

#[tokio::test]
async fn a_server_that_is_full_is_not_away() {
    let server = kit::Postgres::start().await;
    let database = server.database().await;
    let options = Options { max_connections: 1, ..Options::new(&database.url) };
    let postgres = Postgres::connect(options).await.unwrap();
    let held = postgres.begin().await.unwrap();
    let guest: PgConnectOptions = database.url.parse().unwrap();
    let mut guests = Vec::new();
    let refused = loop {
        match guest.connect().await {
            Ok(guest) => guests.push(guest),
            Err(error) => break error,
        }
    };
    assert!(refused.as_database_error().is_some_and(|e| e.code().as_deref() == Some("53300")));
    // No place is free for longer than anybody trusts a server.
    postgres.begin().await.unwrap_err();
    assert!(server.server().log().matches("too many clients").count() > 1, "it was asked");
    assert!(!postgres.gate().is_away());
    drop(held);
    ask(&postgres).await.unwrap();
    for guest in guests {
        guest.close().await.unwrap();
    }
}

/// A process that is frozen while it asks has heard nothing, and nobody was silent.
#[tokio::test(flavor = "current_thread")]
async fn who_stood_still_does_not_say_that_the_server_is_away() {
    let database = kit::Postgres::shared().await.database().await;
    let options = Options { max_connections: 1, ..Options::new(&database.url) };
    let postgres = Postgres::connect(options).await.unwrap();
    // None is idle: a new connection alone can tell.
    let held = postgres.begin().await.unwrap();
    postgres.gate().suspect();
    // It asks, and is not answered yet.
    yield_now().await;
    yield_now().await;
    let still = std::time::Instant::now();
    while still.elapsed() < FROZEN {
        std::thread::park_timeout(FROZEN);
    }
    let mut looks = interval(Duration::from_millis(20));
    for _ in 0..20 {
        looks.tick().await;
        assert!(!postgres.gate().is_away());
    }
    drop(held);
    ask(&postgres).await.unwrap();
}
