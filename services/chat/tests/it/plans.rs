//! Each statement that runs often finds its rows by an index.

use mingle_store::sqlite::FILE;
use sqlx::{ConnectOptions as _, Row as _, sqlite::SqliteConnectOptions};

use crate::stage::Stage;

macro_rules! sql {
    ($name:literal) => {
        ($name, include_str!(concat!("../../sql/sqlite/", $name, ".sql")))
    };
}

/// The statement and what its plan must search by.
const HOT: &[((&str, &str), &[&str])] = &[
    (sql!("rooms"), &["r USING PRIMARY KEY (room_id=?)", "(external_id=?)"]),
    (sql!("memberships"), &["m USING PRIMARY KEY (room_id=? AND user_id=?)"]),
    (
        sql!("speakers"),
        &[
            "m USING PRIMARY KEY (room_id=? AND user_id=?)",
            "l USING INDEX chat_log_key (room_id=? AND actor=? AND client_msg_id=?)",
        ],
    ),
    (
        sql!("targets"),
        &[
            "l USING INDEX chat_log_message (room_id=? AND id=?)",
            "e USING PRIMARY KEY (room_id=? AND seq=?)",
            "t USING COVERING INDEX chat_log_target (room_id=? AND target_seq=?)",
        ],
    ),
    (sql!("counts"), &["l USING PRIMARY KEY (room_id=? AND seq<?)"]),
    (sql!("rewrite"), &["chat_log USING PRIMARY KEY (room_id=? AND seq=?)"]),
    (
        sql!("erase"),
        &["chat_log USING COVERING INDEX chat_log_target (room_id=? AND target_seq=?)"],
    ),
    (sql!("over"), &["chat_members USING PRIMARY KEY (room_id=?)"]),
    (
        sql!("view"),
        &["r USING PRIMARY KEY (room_id=?)", "m USING PRIMARY KEY (room_id=? AND user_id=?)"],
    ),
    (
        sql!("list"),
        &["m USING INDEX chat_members_user (user_id=?)", "r USING PRIMARY KEY (room_id=?)"],
    ),
    (sql!("members"), &["chat_members USING PRIMARY KEY (room_id=?)"]),
    (sql!("room"), &["chat_rooms USING PRIMARY KEY (room_id=?)"]),
    (sql!("id_at"), &["chat_log USING PRIMARY KEY (room_id=? AND seq=?)"]),
    (sql!("range"), &["chat_log USING PRIMARY KEY (room_id=? AND seq>?)"]),
    (sql!("newest"), &["chat_log USING PRIMARY KEY (room_id=?)"]),
    (sql!("history"), &["chat_log USING INDEX chat_log_history (room_id=? AND seq<?)"]),
    (sql!("heads"), &["r USING PRIMARY KEY (room_id=?)"]),
    (sql!("shared"), &["mine USING COVERING INDEX chat_members_live (user_id=?)", "theirs USING"]),
    (sql!("idle"), &["chat_rooms USING COVERING INDEX chat_rooms_idle (last_active_at<?)"]),
    (sql!("expired_rooms"), &["chat_rooms USING COVERING INDEX chat_rooms_oldest (oldest_at<?)"]),
    (sql!("expired_rows"), &["chat_log USING PRIMARY KEY (room_id=?)"]),
    (sql!("expire"), &["chat_log USING PRIMARY KEY (room_id=? AND seq<?)"]),
    (sql!("begin_at"), &["chat_rooms USING PRIMARY KEY", "l USING PRIMARY KEY (room_id=?)"]),
];

/// Sorting is for the rooms of one user, which no index has in their order.
const SORTS: &[&str] = &["list", "members", "rooms"];

#[tokio::test]
async fn every_hot_statement_uses_its_index() {
    let stage = Stage::new().await;
    stage.store().await;
    let options = SqliteConnectOptions::new().filename(stage.folder.path().join(FILE));
    let mut connection = options.connect().await.unwrap();
    for ((name, sql), searches) in HOT {
        let explain = sqlx::AssertSqlSafe(format!("explain query plan\n{sql}"));
        let plan = sqlx::query(explain).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        for search in *searches {
            let found = plan.iter().any(|line| line.contains(search));
            assert!(found, "{name} does not search {search}: {plan:#?}");
        }
        for line in &plan {
            let scans = line.starts_with("SCAN") && !line.contains("VIRTUAL TABLE");
            assert!(!scans || line.contains("CONSTANT ROW"), "{name} scans: {plan:#?}");
            let sorts = line.contains("TEMP B-TREE") && !SORTS.contains(name);
            assert!(!sorts, "{name} sorts: {plan:#?}");
        }
    }
}
