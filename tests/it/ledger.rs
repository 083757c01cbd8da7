//! What the database file says, read by SQL: the outcome of a test, told by
//! none of the code under test.

use std::{collections::BTreeMap, path::Path};

use mingle_client::ws::proto::Position;
use sqlx::{
    AnyPool, Row as _,
    any::{AnyPoolOptions, install_default_drivers},
};

/// One row of a room's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) position: Position,
    pub(crate) is_message: bool,
    pub(crate) actor: String,
    pub(crate) client_msg_id: String,
    pub(crate) body: String,
}

/// What SQLite has and PostgreSQL has not, so that one SQL reads both.
const TWIN: &str = "
    create or replace function json_each(list text) returns table (value text)
        language sql immutable as 'select json_array_elements_text(list::json)';
    create or replace function json_object(text, json, text, text) returns text
        language sql immutable as 'select json_build_object($1, $2, $3, $4)::text';";

/// The database of a data folder, or of a server.
pub(crate) struct Ledger(AnyPool);

impl Ledger {
    /// Opens the database in `dir`; the process may be running.
    pub(crate) async fn open(dir: &Path) -> Self {
        Self::connect(&format!("sqlite://{}", dir.join("mingle.db").display())).await
    }

    /// Opens the database of a server.
    pub(crate) async fn postgres(url: &str) -> Self {
        let ledger = Self::connect(url).await;
        sqlx::raw_sql(TWIN).execute(&ledger.0).await.unwrap();
        ledger
    }

    async fn connect(url: &str) -> Self {
        install_default_drivers();
        Self(AnyPoolOptions::new().max_connections(1).connect(url).await.unwrap())
    }

    /// The log of every room, by room id.
    pub(crate) async fn rooms(&self) -> BTreeMap<String, Vec<Row>> {
        let sql = "select * from chat_log order by room_id, seq";
        let mut rooms: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for row in sqlx::query(sql).fetch_all(&self.0).await.unwrap() {
            let seq: i64 = row.get("seq");
            let entry = Row {
                position: Position { seq: seq.try_into().unwrap(), id: row.get("id") },
                is_message: row.get::<i64, _>("kind") == 1,
                actor: row.get("actor"),
                client_msg_id: row.get::<Option<_>, _>("client_msg_id").unwrap_or_default(),
                body: row.get("body"),
            };
            rooms.entry(row.get("room_id")).or_default().push(entry);
        }
        rooms
    }

    /// The log of one room.
    pub(crate) async fn room(&self, room: &str) -> Vec<Row> {
        self.rooms().await.remove(room).unwrap_or_default()
    }

    /// How far the log of a room goes.
    pub(crate) async fn head(&self, room: &str) -> u64 {
        let sql = "select head_seq from chat_rooms where room_id = $1";
        let head: i64 = sqlx::query_scalar(sql).bind(room).fetch_one(&self.0).await.unwrap();
        head.try_into().unwrap()
    }

    /// Puts a room's log back to where it ended at `seq`, as a standby that was
    /// behind would have it.
    pub(crate) async fn put_back(&self, room: &str, seq: i64) {
        let cut = "delete from chat_log where room_id = $1 and seq > $2";
        sqlx::query(cut).bind(room).bind(seq).execute(&self.0).await.unwrap();
        let head = "update chat_rooms set head_seq = l.seq, head_id = l.id, \
                    message_no = l.message_no \
                    from chat_log l where l.room_id = $1 and l.seq = $2 \
                    and chat_rooms.room_id = $1";
        sqlx::query(head).bind(room).bind(seq).execute(&self.0).await.unwrap();
    }

    /// The first column of the only row.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.0).await.unwrap()
    }

    /// The first column of every row.
    pub(crate) async fn texts(&self, sql: &'static str) -> Vec<String> {
        sqlx::query_scalar(sql).fetch_all(&self.0).await.unwrap()
    }

    /// Fails unless every room's log counts 1, 2, 3, … up to the room's head.
    pub(crate) async fn assert_gapless(&self) {
        let wrong = self
            .texts(
                "select r.room_id || ': head ' || r.head_seq || ', ' || count(l.seq) || ' rows, '
                    || 'last ' || coalesce(max(l.seq), 0)
                 from chat_rooms r left join chat_log l using (room_id)
                 group by r.room_id
                 having count(l.seq) <> r.head_seq or coalesce(max(l.seq), 0) <> r.head_seq
                     or coalesce(min(l.seq), 1) <> 1
                     or r.message_no <> count(l.seq) filter (where l.kind = 1)",
            )
            .await;
        assert!(wrong.is_empty(), "logs with holes: {wrong:#?}");
    }

    /// Lets go of the file.
    pub(crate) async fn close(self) {
        self.0.close().await;
    }
}
