//! The service as a store: each wish and each read is an RPC, through the
//! whole server stack, and what is told is read back. So the suite also holds
//! that the service loses and distorts nothing on the way.
//!
//! [`NoRpc`] is all that goes past the service.

mod store;
mod told;
mod writes;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use mingle_chat::{
    domain::{Event, Position, Refusal, View},
    store::Store,
};
use mingle_proto::chat::v1::{ListMembersRequest, Member};
use mingle_store::Result;
use parking_lot::Mutex;

use self::told::outcome;
use crate::stage::{Client, Stage, traced};

/// What no RPC offers: had from the database beneath.
enum NoRpc {
    /// `is_said`: the service's own, before it refuses a message.
    IsSaid,
    /// `range`: the service's own, to repair what its streams missed.
    Range,
    /// `heads`: the service's own, for the same.
    Heads,
    /// `idle`: the sweep's.
    Idle,
    /// `expire`: the sweep's.
    Expire,
    /// `write` of `CloseIdle`: the sweep's.
    CloseIdle,
    /// Fields that no reply carries. Of a room: creator, external id, origin,
    /// base, last activity, number of messages. Of a membership: the seq of
    /// joining, when it ended, the messages read.
    Untold,
    /// On whose behalf to ask: an RPC has an actor; `members`, `history` and
    /// `replay` have none.
    Reader,
}

/// An actor who is in no room.
const NOBODY: &str = "nobody";

/// See the module. The hash of a message and the origin of a room are the
/// service's own; what a write made happen is what the log gained meanwhile,
/// exact for a room with one writer at a time.
pub(super) struct Through {
    client: Client,
    beneath: Arc<dyn Store>,
    /// By room: who was ever a member.
    users: Mutex<HashMap<String, BTreeSet<String>>>,
    /// By user and last room of a page: where the list goes on.
    tokens: Mutex<HashMap<(String, String), String>>,
}

impl Through {
    pub(super) async fn new(stage: &Stage) -> Self {
        traced();
        Self {
            client: stage.serve("[chat]\nmax_members = 5").await.client,
            beneath: stage.store().await,
            users: Mutex::default(),
            tokens: Mutex::default(),
        }
    }

    fn client(&self) -> Client {
        self.client.clone()
    }

    fn beneath(&self, _: NoRpc) -> &dyn Store {
        &*self.beneath
    }

    async fn untold(&self, room_id: &str, user: &str) -> Result<View> {
        let stored = self.beneath(NoRpc::Untold).view(room_id, user).await?;
        Ok(stored.expect("a room that was told of"))
    }

    fn remember(&self, room_id: &str, users: impl IntoIterator<Item = String>) {
        self.users.lock().entry(room_id.to_owned()).or_default().extend(users);
    }

    /// One who may read the room, if anybody may.
    async fn reader(&self, room_id: &str) -> Result<String> {
        let users = self.users.lock().get(room_id).cloned().unwrap_or_default();
        for user in users {
            let view = self.beneath(NoRpc::Reader).view(room_id, &user).await?;
            if view.is_some_and(|view| view.may_read()) {
                return Ok(user);
            }
        }
        Ok(NOBODY.to_owned())
    }

    /// `user` among the members that the service lists them; `Err` when it
    /// does not let them read the room.
    async fn listed(&self, room_id: &str, user: &str) -> Result<Option<Member>, Refusal> {
        let request = ListMembersRequest { actor: user.to_owned(), room_id: room_id.to_owned() };
        let told = outcome(self.client().list_members(request).await)?;
        Ok(told.members.into_iter().find(|member| member.user_id == user))
    }

    /// What the log gained since the position.
    async fn since(&self, room_id: &str, before: &Position) -> Result<Vec<Event>> {
        let Some(replay) = self.replay(room_id, before, 200).await? else { return Ok(Vec::new()) };
        assert!(replay.proved.is_ok() && !replay.page.has_more);
        Ok(replay.page.events)
    }
}
