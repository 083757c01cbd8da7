//! The page token of a list of rooms.

use crate::domain::{Bookmark, Fault, Invalid};

/// A version, so that a token of another day is refused, not misread.
const VERSION: &str = "r1";

/// The token of the page after `bookmark`.
pub fn print_bookmark(bookmark: &Bookmark) -> String {
    format!("{VERSION}.{:x}.{}", bookmark.last_active_at, bookmark.room_id)
}

/// Reads a token back; the first page has none.
pub fn parse_bookmark(token: &str) -> Result<Option<Bookmark>, Invalid> {
    if token.is_empty() {
        return Ok(None);
    }
    let parse = || {
        let (at, room_id) = token.strip_prefix(VERSION)?.strip_prefix('.')?.split_once('.')?;
        let last_active_at = i64::from_str_radix(at, 16).ok()?;
        let id = room_id.len() == 36 && room_id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
        id.then(|| Bookmark { last_active_at, room_id: room_id.to_owned() })
    };
    let why = "is not one that this service made";
    parse().map(Some).ok_or_else(|| Invalid::new("page_token", Fault::Malformed, why))
}
