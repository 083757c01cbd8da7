//! Takes what is too old from the beginning of logs, so that what is left of
//! a log has no hole. A closed pair goes with its last event.

use futures::TryStreamExt as _;
use mingle_store::{Result, sql, sql::Tx};

use super::SqlStore;

/// Rooms looked at in one transaction at most.
const ROOMS: i64 = 64;

impl SqlStore {
    /// One bounded transaction; others write between two of them.
    pub(super) async fn take_expired(&self, before: i64, limit: usize) -> Result<u64> {
        let query = sql!("expired_rooms").query();
        let rooms = query.bind(before).bind(ROOMS).all(&self.database).await?;
        if rooms.is_empty() {
            return Ok(0);
        }
        let mut tx = self.database.begin().await?;
        let rooms = rooms.iter().map(|row| row.get("room_id")).collect::<Result<Vec<String>>>();
        let mut rooms = rooms?;
        // In the order in which batches of sends lock theirs.
        rooms.sort_unstable();
        let mut left = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut taken = 0;
        for room_id in rooms {
            if left == 0 {
                break;
            }
            let gone = take(&mut tx, &room_id, before, left).await?;
            taken += gone.unsigned_abs();
            left -= gone;
        }
        tx.commit().await?;
        Ok(taken)
    }
}

/// Takes at most `limit` rows of one room.
async fn take(tx: &mut Tx, room_id: &str, before: i64, limit: i64) -> Result<i64> {
    // Nobody appends meanwhile to the log whose beginning moves.
    sql!("lock").bind(room_id).execute(&mut *tx).await?;
    let query = sql!("expired_rows").query();
    let mut last = None;
    let mut gone = 0;
    // One row at a time: most rooms end at their first.
    let mut rows = query.bind(room_id).bind(limit).stream(&mut *tx);
    while let Some(row) = rows.try_next().await? {
        if row.get::<i64>("sent_at")? >= before {
            break;
        }
        last = Some((row.get::<i64>("seq")?, row.get::<String>("id")?));
        gone += 1;
    }
    drop(rows);
    if let Some((seq, id)) = last {
        let query = sql!("expire").query();
        query.bind(room_id).bind(seq).execute(&mut *tx).await?;
        let query = sql!("begin_at").query();
        query.bind(room_id).bind(seq).bind(id).execute(&mut *tx).await?;
        sql!("forget_members").bind(room_id).execute(&mut *tx).await?;
        sql!("forget_room").bind(room_id).execute(&mut *tx).await?;
    }
    Ok(gone)
}
