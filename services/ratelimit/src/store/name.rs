//! What a text is known by, however long it is.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// 128 bits of its SHA-256.
pub(super) fn short(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(text.as_bytes())[..16])
}

/// Of a subject that is kept as it is, in bytes.
const LONGEST: usize = 256;

/// A long subject is known by its digest: whoever asks decides what is in it.
pub(crate) fn known_as(subject: &str) -> Cow<'_, str> {
    match subject.len() {
        0..=LONGEST => Cow::Borrowed(subject),
        _ => Cow::Owned(short(subject)),
    }
}
