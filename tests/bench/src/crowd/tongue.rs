//! What the users of a system say and hear, whichever system it is.

use std::future::Future;

use anyhow::Context as _;
use tokio_tungstenite::tungstenite::Message;

use crate::floor::ws::Socket;

/// How one system's users speak, over WebSockets.
pub(crate) trait Tongue: Clone + Send + Sync + 'static {
    /// Who speaks hears themselves, and that is the only acknowledgement.
    const ECHOES: bool;

    /// Connects a user and enters a room, from its first message on.
    fn enter(
        &self,
        url: &str,
        user: &str,
        room: &str,
    ) -> impl Future<Output = anyhow::Result<Socket>> + Send;

    /// To say something in a room.
    fn say(&self, room: &str, key: Key, body: &str) -> Message;

    /// What came.
    ///
    /// **Errors**: what should not come.
    fn hear(&self, message: Message) -> anyhow::Result<Heard>;
}

/// Which message of the load, and when it was due: microseconds after the
/// load's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) due_us: u64,
}

impl Key {
    /// As text, which the system carries.
    pub(crate) fn text(self) -> String {
        format!("{}-{}", self.index, self.due_us)
    }

    /// From such a text.
    ///
    /// **Errors**: when it is none.
    pub(crate) fn read(text: &str) -> anyhow::Result<Self> {
        let both = text.split_once('-');
        let both = both.and_then(|(index, due)| index.parse().ok().zip(due.parse().ok()));
        let (index, due_us) = both.with_context(|| format!("a foreign message: {text}"))?;
        Ok(Self { index, due_us })
    }
}

/// What a message of the server means.
pub(crate) enum Heard {
    /// Somebody said this.
    Message(Key),
    /// What was said is acknowledged.
    Taken(u32),
    /// What was said is refused.
    Refused(u32),
    /// To be answered with this.
    Answer(Message),
    /// Nothing to the load.
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let key = Key { index: 7, due_us: 1_000_001 };
        assert_eq!(Key::read(&key.text()).unwrap(), key);
        assert!(["", "7", "7-", "a-1"].iter().all(|text| Key::read(text).is_err()));
    }
}
