//! What every connection of this process shares.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use mingle_proto::{
    chat::v1::chat_service_client::ChatServiceClient,
    matchmaking::v1::matchmaking_service_client::MatchmakingServiceClient,
};
use mingle_runtime::{Context, Role, config::Mode, grpc::Transport, states::States};

use crate::{
    Now,
    attempts::Attempts,
    auth::{origin, resume::Resumes, token::Tokens},
    config::Config,
    hub::{people::People, rooms::Rooms, sessions::Sessions, sockets::Sockets, tickets::Tickets},
    stats::Stats,
    throttle::Throttle,
    turns::Turns,
};

/// The gateway of this process.
pub(crate) struct Gateway {
    /// Its configuration.
    pub config: Config,
    /// Its context.
    pub ctx: Context,
    /// The time.
    pub now: Now,
    /// Verifies users.
    pub tokens: Tokens,
    /// Verifies sessions.
    pub resumes: Resumes,
    /// Charges those who ask.
    pub(crate) throttle: Throttle,
    /// Time over which sockets are closed when the process goes away.
    pub(crate) spread: Duration,
    /// How the deployment fares.
    pub(crate) stats: Stats,
    /// Wishes for a partner that were not answered.
    pub(crate) attempts: Attempts,
    /// Hellos that are worked on.
    pub(crate) hellos: Turns,
    /// Pages of missed events that are read.
    pub(crate) replays: Turns,
    /// Every socket.
    pub sockets: Arc<Sockets>,
    /// The rooms they follow.
    pub rooms: Arc<Rooms>,
    /// The tickets they wait for.
    pub tickets: Arc<Tickets>,
    /// The sessions they hold.
    pub(crate) sessions: Arc<Sessions>,
    /// The people they watch.
    pub people: Arc<People>,
}

impl Gateway {
    /// Calls to chat.
    pub(crate) fn chat(&self) -> ChatServiceClient<Transport> {
        ChatServiceClient::new(self.ctx.peers.get(Role::Chat))
    }

    /// Calls to chat about one room: they prefer one instance, which batches
    /// what is said in it and delivers to its own followers first.
    pub(crate) fn chat_about(&self, room_id: &str) -> ChatServiceClient<Transport> {
        ChatServiceClient::new(self.ctx.peers.get(Role::Chat).about(room_id))
    }

    /// Calls to matchmaking.
    pub(crate) fn matchmaking(&self) -> MatchmakingServiceClient<Transport> {
        MatchmakingServiceClient::new(self.ctx.peers.get(Role::Matchmaking))
    }

    /// What is degraded, by the roles that are not well.
    pub(crate) fn degraded(&self) -> States {
        self.ctx.diagnostics.by_role(&self.ctx.health.degraded().borrow())
    }

    /// True unless a page elsewhere may have pointed its name at this machine,
    /// which matters where anybody gets a token.
    pub(crate) fn is_own_host(&self, headers: &HeaderMap) -> bool {
        let is_guarded = self.hands_out_tokens() && self.config.listen.ip().is_loopback();
        !is_guarded || origin::is_own_host(headers, &self.config.allowed_origins)
    }

    /// True when development tokens are handed out.
    pub(crate) fn hands_out_tokens(&self) -> bool {
        let near = self.config.listen.ip().is_loopback() || self.config.dev_tokens_beyond_loopback;
        self.ctx.config.mode() == Mode::Development && near
    }
}
