//! What was heard, against the logs.

use super::{
    journal::{Journal, Stay},
    verdict::Violation,
};
use crate::ledger::{Row, Rows};

const ORDER: &str = "events of a room are heard as logged: in order, each once, without a hole";
const WHOLE: &str = "who is in a room hears its log to the end";

pub(super) fn check(journals: &[Journal], rows: &Rows) -> Vec<Violation> {
    let stays = journals.iter().flat_map(|it| it.stays.iter().map(|stay| (&it.user, stay)));
    let found = stays.filter_map(|(user, stay)| contradiction(user, stay, rows));
    found.collect()
}

fn contradiction(user: &str, stay: &Stay, rows: &Rows) -> Option<Violation> {
    let log = rows.rooms.get(&stay.room).map_or(&[][..], Vec::as_slice);
    let mut logged = log.iter().filter(|row| row.position.seq > stay.after.seq);
    let differs = stay.heard.iter().enumerate().find_map(|(at, heard)| {
        let row = logged.next();
        (!row.is_some_and(|row| is_same(heard, row))).then_some((at, heard, row))
    });
    if let Some((at, heard, row)) = differs {
        let room = &stay.room;
        let what = format!("{user} in {room}, event {at}: heard {heard:?}, logged {row:?}");
        return Some(Violation::new(ORDER, what));
    }
    let head = log.last().map_or(0, |row| row.position.seq);
    (!stay.left && stay.at().seq < head).then(|| {
        let (room, seq) = (&stay.room, stay.at().seq);
        Violation::new(WHOLE, format_args!("{user} in {room}: heard to {seq} of {head}"))
    })
}

/// Of what is no message only the place is told in both.
fn is_same(heard: &Row, row: &Row) -> bool {
    if heard.is_message { heard == row } else { heard.position == row.position && !row.is_message }
}
