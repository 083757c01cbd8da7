//! The rules of single fields.

use mingle_proto::presence::v1;

use crate::domain::{Invalid, Status, Why};

const MAX_ID: usize = 128;
const MAX_NODE_ID: usize = 64;
const MAX_TEXT: usize = 256;

/// A user, session or connection id: 1 to 128 characters, none of them control
/// characters.
pub(super) fn id(field: &str, value: String) -> Result<String, Invalid> {
    if value.is_empty() {
        return Err(Invalid::new(field, Why::Required, "is required"));
    }
    text(field, &value, MAX_ID)?;
    Ok(value)
}

/// A node id: 1 to 64 characters of `[A-Za-z0-9._-]`.
pub(super) fn node_id(field: &str, value: String) -> Result<String, Invalid> {
    if value.is_empty() {
        return Err(Invalid::new(field, Why::Required, "is required"));
    }
    if value.len() > MAX_NODE_ID {
        return Err(too_long(field, MAX_NODE_ID));
    }
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    if !value.bytes().all(allowed) {
        return Err(Invalid::new(field, Why::Malformed, "must hold only A-Z a-z 0-9 . _ -"));
    }
    Ok(value)
}

/// Text that describes: at most 256 characters, none of them control
/// characters.
pub(super) fn description(field: &str, value: String) -> Result<String, Invalid> {
    text(field, &value, MAX_TEXT)?;
    Ok(value)
}

/// A generation: from 1.
pub(super) fn generation(field: &str, value: u64) -> Result<u64, Invalid> {
    if value == 0 {
        return Err(Invalid::new(field, Why::Required, "must be at least 1"));
    }
    Ok(value)
}

/// A status that a session can show; `None` when unspecified.
pub(super) fn status(field: &str, value: i32) -> Result<Option<Status>, Invalid> {
    match v1::Status::try_from(value) {
        Ok(v1::Status::Unspecified) => Ok(None),
        Ok(v1::Status::Online) => Ok(Some(Status::Online)),
        Ok(v1::Status::Away) => Ok(Some(Status::Away)),
        Ok(v1::Status::Busy) => Ok(Some(Status::Busy)),
        Ok(v1::Status::Offline | v1::Status::Unknown) | Err(_) => {
            Err(Invalid::new(field, Why::Malformed, "must be ONLINE, AWAY or BUSY"))
        }
    }
}

/// At most `max` items.
pub(super) fn at_most(field: &str, items: usize, max: usize) -> Result<(), Invalid> {
    if items > max {
        let rule = format!("must have at most {max} items, has {items}");
        return Err(Invalid::new(field, Why::TooLong, rule));
    }
    Ok(())
}

fn text(field: &str, value: &str, max: usize) -> Result<(), Invalid> {
    // Counting characters only when the bytes could be too many.
    if value.len() > max && value.chars().count() > max {
        return Err(too_long(field, max));
    }
    if value.chars().any(char::is_control) {
        return Err(Invalid::new(field, Why::Malformed, "must not hold control characters"));
    }
    Ok(())
}

fn too_long(field: &str, max: usize) -> Invalid {
    Invalid::new(field, Why::TooLong, format!("must have at most {max} characters"))
}
