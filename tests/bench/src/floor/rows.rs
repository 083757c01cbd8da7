//! The rows that the server writes, and bare ways to write them.

use std::{future::Future, sync::Arc};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    latency::Latencies,
    pace::{Rate, Schedule},
};

/// Rows of one grouped commit at most, as the server's.
pub(crate) const GROUP: usize = 256;

/// What the server writes for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// What it appends for one message.
    Message,
    /// What it inserts for one join.
    Ticket,
}

/// One connection to a database.
pub(crate) trait Writer: Send + 'static {
    /// Inserts `rows` in one transaction, on disk when this returns.
    fn commit(
        &mut self,
        row: Row,
        rows: Vec<Value>,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// How long each row took, from when it was due, and how late the generator was.
pub(crate) struct Inserted {
    pub(crate) took: Latencies,
    pub(crate) late: Arc<Latencies>,
}

/// Inserts rows at a rate, up to `group` in one transaction: what has come
/// while one was committed is the next.
pub(crate) async fn insert(
    mut writer: impl Writer,
    rate: Rate,
    group: usize,
    (row, make): (Row, impl Fn(u64) -> Value + Send + 'static),
) -> anyhow::Result<Inserted> {
    let schedule = Schedule::new(rate);
    let (due, mut waiting) = mpsc::channel(4 * GROUP);
    let committed = tokio::spawn(async move {
        let took = Latencies::new()?;
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, group).await > 0 {
            writer.commit(row, batch.iter().map(|index| make(*index)).collect()).await?;
            for index in batch.drain(..) {
                took.record(schedule.since(index));
            }
        }
        anyhow::Ok(took)
    });
    let late = schedule.run(move |index| {
        // The writer says itself why it ended.
        let _ = due.blocking_send(index);
    });
    let late = late.await?;
    Ok(Inserted { took: committed.await??, late })
}

/// Message `n` of the room number `room`, as long as the server's rows are.
pub(crate) fn message(room: u64, n: u64, body: &str) -> Value {
    json!({
        "room_id": id(room), "seq": n, "id": id(n), "kind": 1, "actor": format!("user-{room}"),
        "client_msg_id": n.to_string(), "body_hash": "5a".repeat(32), "body": body,
        "message_no": n, "sent_at": 1_700_000_000_000_u64 + n, "trace_id": "5a".repeat(16),
    })
}

/// The ticket of join `n`.
pub(crate) fn ticket(n: u64) -> Value {
    json!({
        "ticket_id": id(n), "user_id": format!("user-{n}"), "pool": "random-chat",
        "attributes": r#"{"gender":"female"}"#, "created_at": 1_700_000_000_000_u64 + n,
        "expires_at": 1_700_000_600_000_u64 + n,
    })
}

/// As long as a UUID and, as version 7, growing.
fn id(n: u64) -> String {
    format!("{:08x}-{:04x}-7000-8000-5a5a5a5a5a5a", n >> 16, n & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::id;

    #[test]
    fn ids_grow_and_are_as_long_as_uuids() {
        let ids: Vec<_> = (0..100_000).step_by(1111).map(id).collect();
        assert!(ids.is_sorted() && ids.iter().all(|id| id.len() == 36));
    }
}
