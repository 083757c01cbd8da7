//! What a newer version does to the tables while this one is asked.

use mingle_chat::domain::Kind;
use mingle_testkit::Postgres;
use sqlx::{Connection as _, PgConnection};

use crate::{
    conformance::{Subject, delete, edit},
    stage::{self, NEW_YEAR},
};

/// Asks everything that reads whole rows.
async fn ask(s: &Subject, when: &str) {
    let room = s.room(Kind::Direct, &["ann", "bob", "cem"]).await;
    let said = s.send(&room, "ann", when).await.unwrap();
    s.write(&room, edit("ann", &said, "edited")).await.unwrap();
    assert_eq!(s.send(&room, "ann", when).await.unwrap(), said, "{when}: a repetition");
    s.write(&room, delete("ann", &said)).await.unwrap();
    s.leave(&room, "cem").await.unwrap();
    assert_eq!(s.view(&room, "bob").await.room.member_count, 2, "{when}");
    assert!(!s.store.list("ann", None, 10).await.unwrap().is_empty(), "{when}");
    assert_eq!(s.store.members(&room).await.unwrap().len(), 2, "{when}");
    assert_eq!(s.store.history(&room, u64::MAX, 10).await.unwrap().events.len(), 1, "{when}");
    assert!(s.log(&room).await.len() > 3, "{when}");
    assert_eq!(s.store.heads(std::slice::from_ref(&room)).await.unwrap().len(), 1, "{when}");
    let shared = s.store.shared("ann", &["bob".to_owned(), "dan".to_owned()]).await.unwrap();
    assert_eq!(shared, ["bob"], "{when}");
    s.store.idle(NEW_YEAR, 10).await.unwrap();
}

/// A session of PostgreSQL keeps the plan of a statement, and refuses it when the same
/// text begins to mean other columns.
#[tokio::test]
async fn a_column_that_is_added_changes_no_answer() {
    let fresh = Postgres::shared().await.database().await;
    // The session that asks again is the one that has asked.
    let s = Subject::over(stage::over(&fresh.url, 1).await).await;
    ask(&s, "before").await;
    let mut raw = PgConnection::connect(&fresh.url).await.unwrap();
    for add in [
        "alter table chat_rooms add column added bigint not null default 0",
        "alter table chat_members add column added bigint not null default 0",
        "alter table chat_log add column added bigint not null default 0",
    ] {
        sqlx::raw_sql(add).execute(&mut raw).await.unwrap();
    }
    ask(&s, "after").await;
}
