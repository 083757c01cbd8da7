use mingle_store::{
    ErrorKind,
    sqlite::{Migration, OpenError, Sqlite},
};
use sqlx::Row as _;

const STEPS: &[Migration] = &[
    Migration { version: 1, sql: "create table t (id integer primary key) strict" },
    Migration { version: 2, sql: "alter table t add column name text; create index n on t(name)" },
];

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let db = Sqlite::open(dir.path()).await.unwrap();
    db.migrate("test", STEPS).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    sqlx::query("insert into t (id, name) values (1, 'kept')").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = db.begin().await.unwrap();
    sqlx::query("insert into t (id, name) values (2, 'lost')").execute(&mut *tx).await.unwrap();
    drop(tx);
    db.close().await;
    drop(db);

    let db = Sqlite::open(dir.path()).await.unwrap();
    db.migrate("test", STEPS).await.unwrap();
    let rows = sqlx::query("select name from t").fetch_all(db.readers()).await.unwrap();
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(names, ["kept"]);
    let sync = sqlx::query("pragma synchronous").fetch_one(db.readers()).await.unwrap();
    assert_eq!(sync.get::<i64, _>(0), 2, "every commit is on disk before it is acknowledged");
}

#[tokio::test]
async fn a_folder_has_one_user() {
    let dir = tempfile::tempdir().unwrap();
    let first = Sqlite::open(dir.path()).await.unwrap();
    let second = Sqlite::open(dir.path()).await;
    assert!(matches!(second, Err(OpenError::Locked(path)) if path == dir.path()));
    drop(first);
    Sqlite::open(dir.path()).await.unwrap();
}

#[tokio::test]
async fn a_database_from_a_newer_program_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = Sqlite::open(dir.path()).await.unwrap();
    db.migrate("test", STEPS).await.unwrap();
    let error = db.migrate("test", &STEPS[..1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_violated_key_is_a_conflict_and_readers_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let db = Sqlite::open(dir.path()).await.unwrap();
    db.migrate("test", STEPS).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let insert = "insert into t (id) values (1)";
    sqlx::query(insert).execute(&mut *tx).await.unwrap();
    let error = mingle_store::Error::from(sqlx::query(insert).execute(&mut *tx).await.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(sqlx::query(insert).execute(db.readers()).await.is_err());
}

#[tokio::test]
async fn a_full_disk_is_transient_and_writes_go_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let db = Sqlite::open(dir.path()).await.unwrap();
    db.migrate("test", STEPS).await.unwrap();
    limit_pages(&db, 8).await;
    let mut refusals = 0;
    for id in 0..20 {
        refusals += u32::from(fill(&db, id).await.is_err_and(|error| error.is_transient()));
    }
    assert!(refusals > 0, "the disk was full");
    limit_pages(&db, 10_000).await;
    fill(&db, 100).await.unwrap();
}

/// The file's greatest size stands for the disk's.
async fn limit_pages(db: &Sqlite, pages: u32) {
    let mut tx = db.begin().await.unwrap();
    let pragma = sqlx::AssertSqlSafe(format!("pragma max_page_count = {pages}"));
    sqlx::raw_sql(pragma).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

async fn fill(db: &Sqlite, id: i64) -> mingle_store::Result<()> {
    let mut tx = db.begin().await?;
    let insert = sqlx::query("insert into t (id, name) values (?, ?)");
    insert.bind(id).bind("x".repeat(4000)).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}
