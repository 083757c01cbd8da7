//! The users whose presence sockets of this process watch.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dashmap::DashMap;
use mingle_proto::{
    errors::v1::Reason,
    gateway::v1::{self as pb, server_frame::Kind as FrameKind},
    presence::v1::{
        self as pr, presence_service_client::PresenceServiceClient, watch_request::Action,
        watch_response,
    },
};
use mingle_runtime::{
    Context,
    grpc::{Transport, degraded::DEGRADED},
    status::Kind,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tonic::{Request, Response, Status, Streaming};

use super::{
    link::{Feed, Follow},
    sessions::Sessions,
};
use crate::{
    fault::Fault,
    outbox::{Entry, Event, Outbox},
    translate,
};

/// Users named in one request when a stream opens.
const CHUNK: usize = 500;
/// Presence answers within this time or users are UNKNOWN.
const DEADLINE: Duration = Duration::from_secs(2);
/// How often it is asked, while something is degraded, who is not known.
const DOUBT: Duration = Duration::from_secs(5);
/// Users that one process watches, below what one stream takes.
const MAX_WATCHED: usize = 180_000;

/// One user and who watches them.
#[derive(Default)]
struct Watched {
    /// Presence was asked, or the next stream asks.
    is_asked: bool,
    /// What all of the watchers were told last, but for the name: a stream that is
    /// opened anew, or doubts, says it again.
    told: Option<pb::Presence>,
    watchers: Vec<(u64, Arc<Outbox>)>,
}

/// See the module.
pub(crate) struct People {
    client: PresenceServiceClient<Transport>,
    sessions: Arc<Sessions>,
    watched: DashMap<Arc<str>, Watched>,
    wishes: mpsc::Sender<Arc<str>>,
}

impl People {
    /// Watches through `presence`; `wishes` feeds the link.
    pub(crate) fn new(
        presence: Transport,
        sessions: Arc<Sessions>,
        wishes: mpsc::Sender<Arc<str>>,
    ) -> Self {
        let client = PresenceServiceClient::new(presence);
        Self { client, sessions, watched: DashMap::new(), wishes }
    }

    /// How many are watched.
    pub(crate) fn watched(&self) -> usize {
        self.watched.len()
    }

    /// Reads users' presence; UNKNOWN for all while presence is away. Another
    /// instance may know of whom the first one does not while it is degraded.
    pub(crate) async fn read(&self, user_ids: Vec<String>) -> Result<Vec<pr::Presence>, Fault> {
        let due = Instant::now() + DEADLINE;
        let mut answer = self.ask_by(due, &user_ids).await;
        if answer.as_ref().is_ok_and(is_in_doubt) {
            answer = self.ask_by(due, &user_ids).await.or(answer);
        }
        match answer.map_err(Fault::from) {
            Ok(answer) => Ok(answer.into_inner().presences),
            Err(fault) if fault.kind.is_transient() => {
                let unknown = |user_id| pr::Presence {
                    user_id,
                    status: pr::Status::Unknown.into(),
                    ..Default::default()
                };
                Ok(user_ids.into_iter().map(unknown).collect())
            }
            Err(fault) => Err(fault),
        }
    }

    async fn ask_by(
        &self,
        due: Instant,
        user_ids: &[String],
    ) -> Result<Response<pr::GetManyResponse>, Status> {
        let mut request = Request::new(pr::GetManyRequest { user_ids: user_ids.to_owned() });
        request.set_timeout(due.saturating_duration_since(Instant::now()));
        self.client.clone().get_many(request).await
    }

    /// Counts who is online everywhere.
    pub(crate) async fn count(&self) -> Result<pr::CountResponse, Fault> {
        Ok(self.client.clone().count(pr::CountRequest {}).await?.into_inner())
    }

    /// Watches users on behalf of a socket, from now on; answers those that
    /// nobody here asked for yet, for [`People::ask`]: who watched them first
    /// may go before it is done.
    ///
    /// **Errors**: RESOURCE_EXHAUSTED when this process watches as many as it
    /// may; then none of them is watched.
    pub(crate) fn watch(
        &self,
        socket: u64,
        outbox: &Arc<Outbox>,
        users: &[Arc<str>],
    ) -> Result<Vec<Arc<str>>, Fault> {
        if self.watched.len() + users.len() > MAX_WATCHED {
            let message = "this gateway watches as many users as it may";
            return Err(Fault::new(Kind::Exhausted, Reason::Overloaded, message).retry());
        }
        let mut new = Vec::new();
        for user in users {
            let mut watched = self.watched.entry(user.clone()).or_default();
            if !watched.is_asked {
                new.push(user.clone());
            }
            watched.watchers.retain(|(other, _)| *other != socket);
            watched.watchers.push((socket, outbox.clone()));
            watched.told = None;
        }
        Ok(new)
    }

    /// Asks to be told of these users, if they are watched still.
    pub(crate) async fn ask(&self, users: Vec<Arc<str>>) {
        for user in users {
            // The link is gone only when the gateway stops.
            let _ = self.wishes.send(user.clone()).await;
            if let Some(mut watched) = self.watched.get_mut(&user) {
                watched.is_asked = true;
            }
        }
    }

    /// Tells watchers whom presence does not know, which its stream does not:
    /// there, what was told before stands. Looks while something is degraded,
    /// until the process stops.
    ///
    /// **Bounds**: one question per [`CHUNK`] users each [`DOUBT`].
    pub(crate) async fn doubt(self: Arc<Self>, ctx: Context) {
        let mut states = ctx.health.degraded();
        let looking = async {
            while states.wait_for(|states| !states.is_empty()).await.is_ok() {
                self.look_for_unknown().await;
                let _ = timeout(DOUBT, states.changed()).await;
            }
        };
        ctx.stop.run_until_cancelled(looking).await;
    }

    async fn look_for_unknown(&self) {
        let is_unknown = |told: &pb::Presence| told.status() == pb::PresenceStatus::Unknown;
        let doubted = |user: &Watched| user.is_asked && !user.told.as_ref().is_some_and(is_unknown);
        let users: Vec<Arc<str>> =
            self.watched.iter().filter(|it| doubted(it)).map(|it| it.key().clone()).collect();
        for chunk in users.chunks(CHUNK) {
            let names = chunk.iter().map(ToString::to_string).collect();
            let Ok(presences) = self.read(names).await else { continue };
            let unknown = presences.into_iter().filter(|it| it.status() == pr::Status::Unknown);
            let unknown: Vec<Arc<str>> =
                unknown.filter_map(|presence| self.tell(presence)).collect();
            // Told anew when they are known, although that is what was told last.
            self.ask(unknown).await;
        }
    }

    /// Tells the watchers of a user; answers who that is, if there are any.
    fn tell(&self, presence: pr::Presence) -> Option<Arc<str>> {
        let mut watched = self.watched.get_mut(presence.user_id.as_str())?;
        let presence = translate::presence(presence);
        let told = pb::Presence { user_id: String::new(), ..presence.clone() };
        if watched.told.replace(told.clone()) == Some(told) {
            return Some(watched.key().clone());
        }
        let event = Event::new(FrameKind::Presence(presence));
        for (_, outbox) in &watched.watchers {
            outbox.push(Entry::Event(event.clone()));
        }
        Some(watched.key().clone())
    }

    /// No longer watches users on behalf of a socket.
    pub(crate) fn unwatch(&self, socket: u64, users: &[Arc<str>]) {
        for user in users {
            let emptied = self.watched.remove_if_mut(user, |_, watched| {
                watched.watchers.retain(|(other, _)| *other != socket);
                watched.watchers.is_empty()
            });
            if let Some((user, _)) = emptied {
                // A full queue leaves them watched until the next stream.
                let _ = self.wishes.try_send(user);
            }
        }
    }
}

/// Whoever answered does without something, and does not know everybody.
fn is_in_doubt(answer: &Response<pr::GetManyResponse>) -> bool {
    let mut presences = answer.get_ref().presences.iter();
    answer.metadata().contains_key(DEGRADED)
        && presences.any(|presence| presence.status() == pr::Status::Unknown)
}

fn ids(users: &[Arc<str>]) -> pr::WatchUsers {
    pr::WatchUsers { user_ids: users.iter().map(ToString::to_string).collect() }
}

#[async_trait]
impl Follow for People {
    type Wish = Arc<str>;
    type Request = pr::WatchRequest;
    type Response = pr::WatchResponse;

    async fn open(
        &self,
        feed: Feed<pr::WatchRequest>,
    ) -> Result<Streaming<pr::WatchResponse>, Status> {
        let stream = self.client.clone().watch(feed).await?.into_inner();
        // Sessions that were superseded meanwhile are named by a registration.
        self.sessions.doubt();
        Ok(stream)
    }

    fn everything(&self) -> Vec<pr::WatchRequest> {
        let node = pr::WatchNode { node_id: self.sessions.node_id().to_owned() };
        let users: Vec<_> = self.watched.iter().map(|entry| entry.key().clone()).collect();
        let add = users.chunks(CHUNK).map(|chunk| Action::Add(ids(chunk)));
        let actions = std::iter::once(Action::Node(node)).chain(add);
        actions.map(|action| pr::WatchRequest { action: Some(action) }).collect()
    }

    fn request(&self, user: Arc<str>) -> pr::WatchRequest {
        let is_watched = self.watched.contains_key(&user);
        let users = ids(&[user]);
        let action = if is_watched { Action::Add(users) } else { Action::Remove(users) };
        pr::WatchRequest { action: Some(action) }
    }

    async fn take(&self, response: pr::WatchResponse) -> Option<pr::WatchRequest> {
        match response.event? {
            watch_response::Event::Presence(presence) => {
                self.tell(presence);
            }
            watch_response::Event::Superseded(lost) => {
                let is_lost = |held: &pr::Session| held.connection_id == lost.connection_id;
                self.sessions.supersede(&lost.session_id, is_lost);
            }
            // The present states follow by themselves; who was superseded is
            // asked for.
            watch_response::Event::Gap(_) => self.sessions.doubt(),
        }
        None
    }

    fn name(&self) -> &'static str {
        "presence"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mingle_proto::presence::v1::{Presence, Status};
    use mingle_runtime::{Context, grpc::Transport};

    use super::People;
    use crate::{
        hub::{link, sessions::Sessions},
        outbox::{Encoding, Outbox},
    };

    #[tokio::test]
    async fn who_is_watched_is_asked_for_although_the_first_watcher_went() {
        let ctx = Context::for_test(&[], "");
        let sessions = Arc::new(Sessions::new(&ctx, 1, Arc::default()));
        let (wishes, mut asked) = link::channel();
        let people = People::new(Transport::absent("presence"), sessions, wishes);
        let outbox = Arc::new(Outbox::new(Encoding::Json, 1000));
        let users: [Arc<str>; 1] = ["ann".into()];
        // Whose socket breaks before it asks.
        people.watch(1, &outbox, &users).unwrap();
        let new = people.watch(2, &outbox, &users).unwrap();
        people.unwatch(1, &users);
        people.ask(new).await;
        assert_eq!(asked.try_recv().as_deref(), Ok("ann"));
        assert!(people.watch(3, &outbox, &users).unwrap().is_empty(), "asked for already");
    }

    #[tokio::test]
    async fn what_was_told_is_told_again_to_newcomers_only() {
        let ctx = Context::for_test(&[], "");
        let sessions = Arc::new(Sessions::new(&ctx, 1, Arc::default()));
        let people = People::new(Transport::absent("presence"), sessions, link::channel().0);
        let users: [Arc<str>; 1] = ["ann".into()];
        let tell = |outbox: &Outbox, status: Status| {
            let presence =
                Presence { user_id: "ann".into(), status: status.into(), ..Default::default() };
            people.tell(presence);
            outbox.take(usize::MAX, None).len()
        };
        let one = Arc::new(Outbox::new(Encoding::Json, 1000));
        people.watch(1, &one, &users).unwrap();
        let told = [Status::Online, Status::Online, Status::Unknown, Status::Online];
        assert_eq!(told.map(|status| tell(&one, status)), [1, 0, 1, 1]);
        let other = Arc::new(Outbox::new(Encoding::Json, 1000));
        people.watch(2, &other, &users).unwrap();
        assert_eq!(tell(&other, Status::Online), 1, "what they read may be older");
        assert_eq!(tell(&other, Status::Online), 0);
    }
}
