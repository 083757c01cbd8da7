//! What the role announces, heard where it says it.

use async_trait::async_trait;
use mingle_presence::domain::Lost;
use mingle_proto::presence::v1::Superseded;
use mingle_store::{
    Result,
    bus::{Announcement, Bus, Memory, Subscription},
};
use parking_lot::Mutex;
use prost::Message as _;

/// The form of the announcements, as the README has it.
const VERSION: u8 = 1;

#[derive(Default)]
struct Said {
    lost: Vec<Lost>,
    changed: Vec<String>,
}

/// A bus that keeps what was announced until someone asks for it.
///
/// **Shape**: a role announces before it answers, so whoever has its answer
/// finds here what belongs to it. By whom a session is lost and who changed is
/// read from the announcement; calls at the same time tell theirs apart by the
/// session and the user.
///
/// **Guarantees**: what nobody asked for fails the test at its end: the role
/// announced what it had no cause for.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Said>);

#[async_trait]
impl Bus for Heard {
    async fn publish(&self, batch: &[Announcement]) -> Result<()> {
        batch.iter().for_each(|said| self.hear(said));
        Ok(())
    }

    /// Nobody listens: of a bus for itself.
    async fn subscribe(&self, topic: &str) -> Result<Subscription> {
        Memory::new().subscribe(topic).await
    }
}

impl Heard {
    fn hear(&self, Announcement { topic, payload }: &Announcement) {
        let payload = payload.strip_prefix(&[VERSION]).expect("an announcement of this version");
        let mut said = self.0.lock();
        if topic.starts_with("presence:user:") {
            let users = std::str::from_utf8(payload).expect("users");
            said.changed.extend(users.split('\n').map(str::to_owned));
        } else {
            let node_id = topic.strip_prefix("presence:node:").expect("a topic of presence");
            let node_id = node_id.to_owned();
            let Superseded { session_id, generation, connection_id } =
                Superseded::decode(payload).expect("a superseded socket");
            said.lost.push(Lost { node_id, session_id, generation, connection_id });
        }
    }

    /// The holder that lost `session_id`.
    pub(crate) fn lost(&self, session_id: &str) -> Option<Lost> {
        let lost = &mut self.0.lock().lost;
        let at = lost.iter().position(|lost| lost.session_id == session_id)?;
        Some(lost.remove(at))
    }

    /// True when `user_id` was said to have changed.
    pub(crate) fn changed(&self, user_id: &str) -> bool {
        let changed = &mut self.0.lock().changed;
        let at = changed.iter().position(|changed| changed == user_id);
        at.map(|at| changed.remove(at)).is_some()
    }

    /// All who were said to have changed.
    pub(crate) fn all_changed(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().changed)
    }

    /// # Panics
    /// When something was announced without cause.
    pub(crate) fn assert_nothing_more(&self) {
        let Said { lost, changed } = &*self.0.lock();
        assert!(lost.is_empty() && changed.is_empty(), "without cause: {lost:?}, {changed:?}");
    }
}
