//! What a request key stands for: a hash of the content.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::domain::{Hash, Kind};

/// Each part goes in with its length, so that no two contents share bytes.
struct Content(Sha256);

impl Content {
    fn new() -> Self {
        Self(Sha256::new())
    }

    fn part(mut self, text: &str) -> Self {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text);
        self
    }

    fn hash(self) -> Hash {
        self.0.finalize().into()
    }
}

/// Of a message.
pub(super) fn of_message(body: &str, metadata: &BTreeMap<String, String>) -> Hash {
    let content = Content::new().part(body);
    metadata.iter().fold(content, |content, (key, value)| content.part(key).part(value)).hash()
}

/// Of a room: its kind and its first members, whatever their order.
pub(super) fn of_room(kind: Kind, members: &[String]) -> Hash {
    let kind = match kind {
        Kind::Pair => "pair",
        Kind::Direct => "direct",
        Kind::Channel => "channel",
    };
    let mut members: Vec<_> = members.iter().collect();
    members.sort();
    members.into_iter().fold(Content::new().part(kind), |content, id| content.part(id)).hash()
}
