//! Matchmaking in process: real rows in a file, its own clock, fakes of those
//! it calls, and the gRPC client in front.

use std::{path::Path, sync::Arc, time::Duration};

use mingle_matchmaking::{
    Config,
    service::{Matcher, Service, Sweep},
};
use mingle_proto::{
    chat::v1::chat_service_server::ChatServiceServer,
    matchmaking::v1::{
        CancelTicketRequest, CreateTicketRequest, GetTicketRequest, Liveness, Ticket, TicketIds,
        TicketState, Wanted, WatchRequest, WatchResponse,
        matchmaking_service_client::MatchmakingServiceClient,
        matchmaking_service_server::MatchmakingServiceServer, watch_request::Action,
    },
    presence::v1::presence_service_server::PresenceServiceServer,
};
use mingle_runtime::{
    Context, Role,
    config::Section as _,
    grpc::{Routes, Transport},
    status::Described,
};
use mingle_store::{
    Backends, Database,
    bus::{Bus, Memory},
    clock::ManualClock,
    postgres::{Options, Postgres},
    sqlite::{FILE, OpenError, Sqlite},
};
use mingle_testkit::eventually;
use sqlx::SqlitePool;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::fakes::{Chat, Presence};

pub(crate) const POOL: &str = "random-chat";
/// Long enough for any machine; nothing waits this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const START: i64 = 1_000_000_000_000;

pub(crate) type Client = MatchmakingServiceClient<Transport>;

/// What outlives a restart.
#[derive(Clone)]
pub(crate) struct Around {
    pub(crate) dir: Arc<tempfile::TempDir>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) chat: Chat,
    pub(crate) presence: Presence,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) overrides: String,
    /// Without it joins are counted here, as far as `terms` says.
    pub(crate) ratelimit: Option<Transport>,
    pub(crate) terms: String,
}

impl Default for Around {
    fn default() -> Self {
        Self {
            dir: Arc::new(tempfile::tempdir().unwrap()),
            clock: Arc::new(ManualClock::at(START)),
            chat: Chat::default(),
            presence: Presence::default(),
            bus: Arc::new(Memory::new()),
            overrides: String::new(),
            ratelimit: None,
            terms: "quota = 1000000".to_owned(),
        }
    }
}

/// A running instance that sweeps by hand.
pub(crate) struct World {
    pub(crate) around: Around,
    pub(crate) ctx: Context,
    pub(crate) client: Client,
    pub(crate) database: Sqlite,
    sweep: Sweep,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::open(Around::default()).await
    }

    pub(crate) async fn open(around: Around) -> Self {
        let database = database(around.dir.path()).await;
        let (ctx, matcher, config) = assemble(&around, database.clone()).await;
        let mut sweep = Sweep::new(matcher.clone(), &config, &ctx);
        sweep.rebuild().await.unwrap();
        matcher.recall().await.unwrap();
        let service = Service::new(matcher, Duration::from_millis(config.recheck_ms), &ctx);
        let routes = Routes::new(MatchmakingServiceServer::new(service));
        let client = Client::new(Transport::local(routes));
        Self { around, ctx, client, database, sweep }
    }

    /// Stops everything; what is left is the file and the surroundings.
    pub(crate) async fn close(self) -> Around {
        self.ctx.stop.cancel();
        self.ctx.tasks.close();
        tokio::time::timeout(PATIENCE, self.ctx.tasks.wait()).await.unwrap();
        self.around.clone()
    }

    pub(crate) async fn sweep(&mut self) {
        self.sweep.once().await;
    }

    /// Lets time pass and sweeps.
    pub(crate) async fn pass(&mut self, ms: i64) {
        self.around.clock.advance(ms);
        self.sweep().await;
    }

    pub(crate) async fn create(&self, request: CreateTicketRequest) -> Result<Ticket, Status> {
        let reply = self.client.clone().create_ticket(request).await?;
        Ok(reply.into_inner().ticket.unwrap())
    }

    pub(crate) async fn join(&self, user: &str, gender: &str, wants: &[&str]) -> Ticket {
        self.create(request(user, gender, wants)).await.unwrap()
    }

    pub(crate) async fn get(&self, actor: &str, ticket_id: &str) -> Result<Ticket, Status> {
        get(&self.client, actor, ticket_id, 0).await
    }

    pub(crate) async fn cancel(&self, actor: &str, ticket_id: &str) -> Result<Ticket, Status> {
        cancel(&self.client, actor, ticket_id).await
    }

    /// Waits until the ticket is matched and its room is there.
    pub(crate) async fn matched(&self, ticket: &Ticket) -> Ticket {
        eventually(PATIENCE, "a match with its room", async || {
            let now = self.get(&ticket.user_id, &ticket.ticket_id).await.unwrap();
            (!now.room_id.is_empty()).then_some(now)
        })
        .await
    }

    pub(crate) async fn state(&self, ticket: &Ticket) -> TicketState {
        self.get(&ticket.user_id, &ticket.ticket_id).await.unwrap().state()
    }

    /// Says that the owners of matched tickets were told, and waits until that
    /// is written.
    pub(crate) async fn tell(&self, tickets: &[&Ticket]) {
        let follower = Follower::of(&self.client).await;
        let ids: Vec<&str> = tickets.iter().map(|ticket| ticket.ticket_id.as_str()).collect();
        follower.act(Action::Told, &ids).await;
        let sql = self.sql().await;
        for id in ids {
            eventually(PATIENCE, "the outcome to be noted as told", async || {
                let told = "select told = 1 from mm_tickets where ticket_id = ?";
                sqlx::query_scalar::<_, bool>(told).bind(id).fetch_one(&sql).await.unwrap()
            })
            .await;
        }
    }

    /// Other eyes on the same file.
    pub(crate) async fn sql(&self) -> SqlitePool {
        let path = self.around.dir.path().join(FILE);
        SqlitePool::connect(&format!("sqlite://{}?mode=ro", path.display())).await.unwrap()
    }
}

async fn assemble(around: &Around, database: Sqlite) -> (Context, Arc<Matcher>, Config) {
    let overrides = format!("{}\n[matchmaking.limit]\n{}\n", around.overrides, around.terms);
    let ctx = Context::for_test(&[Config::DEFAULTS], &overrides);
    if let Some(ratelimit) = &around.ratelimit {
        ctx.peers.set(Role::Ratelimit, ratelimit.clone());
    }
    let chat = Routes::new(ChatServiceServer::new(around.chat.clone()));
    ctx.peers.set(Role::Chat, Transport::local(chat));
    let presence = Routes::new(PresenceServiceServer::new(around.presence.clone()));
    ctx.peers.set(Role::Presence, Transport::local(presence));
    let backends = Backends {
        database: database.into(),
        redis: None,
        bus: around.bus.clone(),
        clock: around.clock.clone(),
    };
    let (matcher, config) = mingle_matchmaking::assemble(&ctx, backends).await.unwrap();
    (ctx, matcher, config)
}

/// Opens the file; an instance that was dropped lets go of it soon.
pub(crate) async fn database(dir: &Path) -> Sqlite {
    eventually(PATIENCE, "the data folder to be free", async || match Sqlite::open(dir).await {
        Ok(database) => Some(database),
        Err(OpenError::Locked(_)) => None,
        Err(error) => panic!("{error:?}"),
    })
    .await
}

/// A fresh database of this process's server.
pub(crate) async fn postgres() -> Database {
    let fresh = mingle_testkit::Postgres::shared().await.database().await;
    // Nothing is wrong with it, but for the machine's disk.
    let (answer, silence) = (PATIENCE, PATIENCE);
    let options = Options { max_connections: 4, answer, silence, ..Options::new(&fresh.url) };
    Postgres::connect(options).await.unwrap().into()
}

pub(crate) fn request(user: &str, gender: &str, wants: &[&str]) -> CreateTicketRequest {
    let values = wants.iter().map(|&value| value.to_owned()).collect();
    CreateTicketRequest {
        told_ticket_ids: Vec::new(),
        request_id: String::new(),
        actor: user.to_owned(),
        pool: POOL.to_owned(),
        attributes: [("gender".to_owned(), gender.to_owned())].into(),
        wants: [("gender".to_owned(), Wanted { values })].into(),
        trusted_attributes: Default::default(),
        liveness: Liveness::Presence.into(),
    }
}

pub(crate) async fn get(
    client: &Client,
    actor: &str,
    ticket_id: &str,
    wait_ms: u32,
) -> Result<Ticket, Status> {
    let (actor, ticket_id) = (actor.to_owned(), ticket_id.to_owned());
    let mut request = tonic::Request::new(GetTicketRequest { actor, ticket_id, wait_ms });
    request.set_timeout(Duration::from_secs(30));
    Ok(client.clone().get_ticket(request).await?.into_inner().ticket.unwrap())
}

pub(crate) async fn cancel(
    client: &Client,
    actor: &str,
    ticket_id: &str,
) -> Result<Ticket, Status> {
    let (actor, ticket_id) = (actor.to_owned(), ticket_id.to_owned());
    let reply = client.clone().cancel_ticket(CancelTicketRequest { actor, ticket_id }).await?;
    Ok(reply.into_inner().ticket.unwrap())
}

/// Code, reason and field of a failure.
#[track_caller]
pub(crate) fn fault<T: std::fmt::Debug>(
    result: Result<T, Status>,
) -> (&'static str, String, String) {
    let described = Described::from(&result.unwrap_err());
    (described.kind.name(), described.reason, described.field)
}

/// One gateway's stream.
pub(crate) struct Follower {
    actions: mpsc::Sender<WatchRequest>,
    states: Streaming<WatchResponse>,
}

impl Follower {
    pub(crate) async fn of(client: &Client) -> Self {
        let (actions, queue) = mpsc::channel(16);
        Self::over(client, actions, queue).await
    }

    /// A stream whose first requests are in `queue` already.
    pub(crate) async fn over(
        client: &Client,
        actions: mpsc::Sender<WatchRequest>,
        queue: mpsc::Receiver<WatchRequest>,
    ) -> Self {
        let states = client.clone().watch(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Self { actions, states }
    }

    pub(crate) async fn act(&self, action: fn(TicketIds) -> Action, tickets: &[&str]) {
        let ticket_ids = tickets.iter().map(|&id| id.to_owned()).collect();
        let action = Some(action(TicketIds { ticket_ids }));
        self.actions.send(WatchRequest { action }).await.unwrap();
    }

    /// The next state, or how the stream ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Ticket>, Status> {
        let next = tokio::time::timeout(PATIENCE, self.states.message()).await.unwrap()?;
        Ok(next.and_then(|response| response.ticket))
    }

    pub(crate) async fn state(&mut self) -> Ticket {
        self.next().await.unwrap().unwrap()
    }

    /// Adds a ticket that nobody has: its answer proves that every action
    /// before it was done.
    pub(crate) async fn done(&mut self) {
        self.act(Action::Add, &["none"]).await;
        assert_eq!(self.state().await.ticket_id, "none");
    }
}
