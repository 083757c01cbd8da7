//! What the database file says, read by SQL: the outcome of a test, told by
//! none of the code under test.

use std::{collections::BTreeMap, path::Path};

use mingle_client::ws::proto::Position;
use sqlx::{
    AnyPool, Row as _,
    any::{AnyPoolOptions, AnyRow, install_default_drivers},
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

/// A ticket of matchmaking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) state: String,
    /// The match it is in.
    pub(crate) of: Option<String>,
}

/// A match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) id: String,
    pub(crate) tickets: Vec<String>,
    /// Sorted, as they are kept.
    pub(crate) users: Vec<String>,
    pub(crate) room: Option<String>,
}

/// A pair room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) id: String,
    /// The match it was made for.
    pub(crate) of: Option<String>,
    /// All who ever were members, sorted.
    pub(crate) members: Vec<String>,
}

/// All that a checker compares with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) rooms: BTreeMap<String, Vec<Row>>,
    pub(crate) heads: BTreeMap<String, u64>,
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) matches: Vec<Match>,
    /// Pair rooms.
    pub(crate) made: Vec<Made>,
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

    /// Everything.
    pub(crate) async fn rows(&self) -> Rows {
        Rows {
            rooms: self.rooms().await,
            heads: self.heads().await,
            tickets: self.tickets().await,
            matches: self.matches().await,
            made: self.made().await,
        }
    }

    /// The head of every room.
    pub(crate) async fn heads(&self) -> BTreeMap<String, u64> {
        let rows = self.all("select room_id, head_seq from chat_rooms").await;
        let head = |row: &AnyRow| {
            let seq: i64 = row.get("head_seq");
            (row.get("room_id"), seq.try_into().unwrap())
        };
        rows.iter().map(head).collect()
    }

    async fn tickets(&self) -> Vec<Ticket> {
        let rows = self.all("select ticket_id, user_id, state, match_id from mm_tickets").await;
        let ticket = |row: &AnyRow| Ticket {
            id: row.get("ticket_id"),
            user: row.get("user_id"),
            state: row.get("state"),
            of: row.get("match_id"),
        };
        rows.iter().map(ticket).collect()
    }

    async fn matches(&self) -> Vec<Match> {
        let sql = "select match_id, ticket_ids, user_ids, room_id from mm_matches";
        let list = |text: String| serde_json::from_str(&text).unwrap();
        let of = |row: &AnyRow| Match {
            id: row.get("match_id"),
            tickets: list(row.get("ticket_ids")),
            users: list(row.get("user_ids")),
            room: row.get("room_id"),
        };
        self.all(sql).await.iter().map(of).collect()
    }

    async fn made(&self) -> Vec<Made> {
        let sql = "select r.room_id, r.external_id, m.user_id
                   from chat_rooms r join chat_members m using (room_id) where r.kind = 1
                   order by r.room_id, m.user_id";
        let mut made: Vec<Made> = Vec::new();
        for row in self.all(sql).await {
            let (id, member): (String, String) = (row.get("room_id"), row.get("user_id"));
            match made.last_mut() {
                Some(room) if room.id == id => room.members.push(member),
                _ => made.push(Made { id, of: row.get("external_id"), members: vec![member] }),
            }
        }
        made
    }

    async fn all(&self, sql: &'static str) -> Vec<AnyRow> {
        sqlx::query(sql).fetch_all(&self.0).await.unwrap()
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

    /// Makes a row of a room's log one that cannot be read.
    pub(crate) async fn damage(&self, room: &str, seq: i64) {
        let sql = "update chat_log set metadata = '{' where room_id = $1 and seq = $2";
        let damaged = sqlx::query(sql).bind(room).bind(seq).execute(&self.0).await.unwrap();
        assert_eq!(damaged.rows_affected(), 1);
    }

    /// The first column of the only row.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.0).await.unwrap()
    }

    /// Transactions of a server's database so far. Its sessions tell what they
    /// did up to a second later.
    pub(crate) async fn transactions(&self) -> i64 {
        self.count(
            "select xact_commit + xact_rollback from pg_stat_database
             where datname = current_database()",
        )
        .await
    }

    /// Transactions that appended something that is still there.
    pub(crate) async fn appends(&self) -> i64 {
        self.count("select count(distinct xmin::text) from chat_log").await
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
