//! Between the protocol and the domain: every check of a request, with the
//! name of the field at fault, and every answer.

mod answer;
mod bookmark;
mod check;
mod content;
mod request;

pub use answer::{event, member, message, position, room, timestamp};
pub use bookmark::{parse_bookmark, print_bookmark};
pub use check::{message_id, page, room_id, room_ids, user, users};
pub use request::{close, create, delete, edit, join, leave, mark_read, send};
