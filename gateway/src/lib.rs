//! The thin front of Mingle: HTTP and WebSocket for clients, gRPC behind.
//!
//! It authenticates, bounds, translates and delivers. It has no store, no
//! business rule, and no session state that another gateway would miss.
//!
//! - `ws`: the WebSocket protocol; `http`: the HTTP API and the page.
//! - `hub`: what this process follows on behalf of its sockets.
//! - `outbox`: what waits for one socket.
//! - `auth`: tokens, resume tokens, origins.
//! - `throttle`: how often one may ask; `attempts`: what is one question.
//! - `stats`: how every process fares.
//! - `pace`, `turns`: how fast, and how much at once.
//! - `meanings`: of its metrics.
//! - `drain`: how a gateway goes away without anybody losing a message.

mod attempts;
mod auth;
mod config;
mod drain;
mod fault;
mod gateway;
mod http;
mod hub;
mod listen;
mod meanings;
mod outbox;
mod pace;
mod stats;
mod throttle;
mod translate;
mod turns;
mod ws;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use mingle_runtime::{Bound, Context, Front, Role, lifecycle::ProcessConfig};

use self::{
    attempts::Attempts,
    auth::{resume::Resumes, token::Tokens},
    gateway::Gateway,
    hub::{
        link, people::People, rooms::Rooms, sessions::Sessions, sockets::Sockets, tickets::Tickets,
    },
    stats::Stats,
    throttle::Throttle,
    turns::Turns,
};

pub use auth::grant::{Grant, sign};
pub use config::{Config, Limits};
pub use throttle::Classes;

/// Tells the time, in milliseconds since 1970.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Binds the role: configuration, hubs, background tasks, listener.
pub async fn bind(ctx: Context, now: Now) -> anyhow::Result<Bound> {
    let config: Config = ctx.config.read().context("gateway")?;
    let process: ProcessConfig = ctx.config.read().context("process")?;
    meanings::describe();
    let sockets = Arc::new(Sockets::default());
    let sessions = Arc::new(Sessions::new(&ctx, now(), sockets.clone()));
    let (wishes, room_wishes) = link::channel();
    let rooms = Arc::new(Rooms::new(ctx.peers.get(Role::Chat), wishes, now.clone()));
    let (wishes, ticket_wishes) = link::channel();
    let tickets = Arc::new(Tickets::new(ctx.peers.get(Role::Matchmaking), wishes));
    let (wishes, people_wishes) = link::channel();
    let presence = ctx.peers.get(Role::Presence);
    let people = Arc::new(People::new(presence, sessions.clone(), wishes));
    let followed = (rooms.clone(), tickets.clone(), people.clone());
    ctx.diagnostics.count("rooms", move || followed.0.count());
    ctx.diagnostics.count("tickets", move || followed.1.count());
    ctx.diagnostics.count("people", move || followed.2.watched());
    let connected = sockets.clone();
    ctx.diagnostics.count("sockets", move || connected.count());
    let gateway = Arc::new(Gateway {
        tokens: Tokens::new(&config.jwt_secret, &config.jwt_audience, &config.jwt_issuer),
        resumes: Resumes::new(&config.session_secret),
        throttle: Throttle::new(&ctx, &config),
        stats: Stats::new(&ctx, now.clone()),
        spread: drain::spread(Duration::from_millis(process.grace_ms)),
        attempts: Attempts::default(),
        hellos: Turns::new(config.limits.hellos_at_once, "mingle_gateway_hellos"),
        replays: Turns::new(config.limits.replays_at_once, "mingle_gateway_replays"),
        sockets,
        rooms: rooms.clone(),
        tickets: tickets.clone(),
        sessions: sessions.clone(),
        people: people.clone(),
        ctx: ctx.clone(),
        config,
        now,
    });

    // The links are not among the role's tasks: sockets need them while they
    // drain, and nothing of theirs is lost with the process.
    tokio::spawn(link::run(rooms, room_wishes));
    tokio::spawn(link::run(tickets, ticket_wishes));
    tokio::spawn(link::run(people.clone(), people_wishes));
    sessions.introduce().await;
    ctx.tasks.spawn(sessions.keep_alive(ctx.clone()));
    let (refusals, telling) = (gateway.tokens.refusals(), ctx.clone());
    ctx.tasks.spawn(async move { refusals.tell(&telling).await });
    ctx.tasks.spawn(people.doubt(ctx.clone()));
    ctx.tasks.spawn(ctx.peers.clone().ask(ctx.stop.clone()));
    ctx.tasks.spawn(drain::tell_degraded(gateway.clone()));
    ctx.tasks.spawn(drain::drain(gateway.clone()));

    let bounds = listen::Bounds::from(&gateway.config.limits);
    let (listen, backlog) = (gateway.config.listen, gateway.config.limits.backlog());
    let ending = (ctx.stop.clone(), ctx.tasks.clone());
    let router = http::router(gateway);
    let serve = move |listener| Box::pin(listen::serve(listener, router, bounds, ending)) as _;
    Ok(Bound::front(Role::Gateway, Front { listen, backlog, serve: Box::new(serve) }))
}
