//! Bounds of single fields.

use std::collections::{HashMap, HashSet};

use crate::domain::{Fault, Invalid};

const USER_CHARS: usize = 128;
const ID_CHARS: usize = 64;
const NAME_CHARS: usize = 128;
const BODY_BYTES: usize = 8 * 1024;
const METADATA_BYTES: usize = 2 * 1024;
const METADATA_ENTRIES: usize = 32;

fn required(field: &'static str, text: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid::new(field, Fault::Required, "is required"));
    }
    Ok(())
}

fn bounded(field: &'static str, text: &str, chars: usize) -> Result<(), Invalid> {
    if text.chars().count() > chars {
        let why = format!("is longer than {chars} characters");
        return Err(Invalid::new(field, Fault::TooLong, why));
    }
    if text.chars().any(char::is_control) {
        return Err(Invalid::new(field, Fault::Malformed, "holds a control character"));
    }
    Ok(())
}

fn id(field: &'static str, text: &str, chars: usize) -> Result<(), Invalid> {
    required(field, text)?;
    bounded(field, text, chars)
}

/// A user id: 1 to 128 characters, none a control character.
pub fn user(field: &'static str, text: &str) -> Result<(), Invalid> {
    id(field, text, USER_CHARS)
}

/// A room id: whatever looks like one may be looked for.
pub fn room_id(text: &str) -> Result<(), Invalid> {
    id("room_id", text, ID_CHARS)
}

/// A message id.
pub fn message_id(text: &str) -> Result<(), Invalid> {
    id("message_id", text, ID_CHARS)
}

pub(super) fn client_msg_id(text: &str) -> Result<(), Invalid> {
    id("client_msg_id", text, ID_CHARS)
}

pub(super) fn name(text: &str) -> Result<(), Invalid> {
    bounded("name", text, NAME_CHARS)
}

pub(super) fn external_id(text: &str) -> Result<(), Invalid> {
    bounded("external_id", text, ID_CHARS)
}

pub(super) fn body(text: &str) -> Result<(), Invalid> {
    required("body", text)?;
    if text.len() > BODY_BYTES {
        let why = format!("is longer than {BODY_BYTES} bytes");
        return Err(Invalid::new("body", Fault::TooLong, why));
    }
    without_nul("body", text)
}

fn without_nul(field: &'static str, text: &str) -> Result<(), Invalid> {
    if text.contains('\0') {
        return Err(Invalid::new(field, Fault::Malformed, "holds a NUL character"));
    }
    Ok(())
}

pub(super) fn metadata(metadata: &HashMap<String, String>) -> Result<(), Invalid> {
    const FIELD: &str = "metadata";
    let bytes: usize = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if metadata.len() > METADATA_ENTRIES {
        let why = format!("has more than {METADATA_ENTRIES} entries");
        return Err(Invalid::new(FIELD, Fault::TooLong, why));
    }
    if bytes > METADATA_BYTES {
        let why = format!("is larger than {METADATA_BYTES} bytes, keys and values together");
        return Err(Invalid::new(FIELD, Fault::TooLong, why));
    }
    for (key, value) in metadata {
        if key.is_empty() {
            return Err(Invalid::new(FIELD, Fault::Malformed, "has an empty key"));
        }
        without_nul(FIELD, key)?;
        without_nul(FIELD, value)?;
    }
    Ok(())
}

/// Users, distinct, at most `most`.
pub fn users(field: &'static str, ids: &[String], most: usize) -> Result<(), Invalid> {
    if ids.len() > most {
        let why = format!("has more than {most} entries");
        return Err(Invalid::new(field, Fault::TooLong, why));
    }
    let mut seen = HashSet::new();
    for id in ids {
        user(field, id)?;
        if !seen.insert(id) {
            return Err(Invalid::new(field, Fault::Malformed, "names a user twice"));
        }
    }
    Ok(())
}

/// Rooms to follow or not, at most `most` at once.
pub fn room_ids(field: &'static str, ids: &[String], most: usize) -> Result<(), Invalid> {
    if ids.len() > most {
        let why = format!("has more than {most} entries");
        return Err(Invalid::new(field, Fault::TooLong, why));
    }
    ids.iter().try_for_each(|room| id(field, room, ID_CHARS))
}

/// The size of a page: 1 to `most`, 0 for `most`.
pub fn page(field: &'static str, asked: u32, most: u32) -> Result<usize, Invalid> {
    match asked {
        0 => Ok(most as usize),
        asked if asked <= most => Ok(asked as usize),
        _ => Err(Invalid::new(field, Fault::Malformed, format!("is not 0 to {most}"))),
    }
}
