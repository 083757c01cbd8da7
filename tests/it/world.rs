//! A running `mingle` and its users: tokens, sockets, rooms.
//!
//! `MINGLE_TEST_DEPLOYMENT=processes` makes it many processes over one Redis
//! and one PostgreSQL, with two gateways that users come to in turn; `=envoy`
//! the same with an Envoy between callers and called. Otherwise it is one
//! process on embedded backends.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use mingle_client::ws::{
    Client, Encoding, Error, Limits, Socket,
    proto::{Position, Resume, server_frame::Kind},
};
use mingle_testkit::{Builder, Deployment, Mingle, Plan};
use serde_json::{Value, json};

use crate::{http, ledger::Ledger};

/// The secret of the users' tokens, so that tests can mint any token.
pub(crate) const SECRET: &str = "a secret of the whole-system tests, 0123456789";
/// Far enough away to never come.
pub(crate) const FUTURE: i64 = 4_000_000_000;
/// The deadline of what happens soon, on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// One process under test, or many.
pub(crate) struct World {
    system: System,
    turn: AtomicUsize,
}

enum System {
    One(Box<Mingle>),
    Many(Box<Deployment>),
}

/// How a run over many processes starts them; `None` in a run over one.
fn plan() -> Option<Plan> {
    let named = std::env::var_os("MINGLE_TEST_DEPLOYMENT")?;
    match named.to_str() {
        Some("processes") => Some(Deployment::plan()),
        Some("envoy") => Some(Deployment::plan().envoy()),
        Some("sentinels") => Some(Deployment::plan().sentinels()),
        Some("cluster") => Some(Deployment::plan().cluster()),
        Some("tls") => Some(Deployment::plan().tls()),
        Some("tls-sentinels") => Some(Deployment::plan().tls().sentinels()),
        Some("tls-cluster") => Some(Deployment::plan().tls().cluster()),
        _ => panic!(
            "MINGLE_TEST_DEPLOYMENT={named:?}: processes, envoy, or [tls-]sentinels, \
             [tls-]cluster, tls"
        ),
    }
}

impl World {
    /// How to start one whose tokens [`token`] mints.
    pub(crate) fn builder() -> Builder {
        Mingle::builder().env("MINGLE_JWT_SECRET", SECRET).env("MINGLE_PROCESS__LOG", "warn")
    }

    /// Starts one, or many.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same with these settings.
    pub(crate) async fn with(env: &[(&str, &str)]) -> Self {
        let Some(plan) = plan() else {
            let set = |builder: Builder, (key, value): &(&str, &str)| builder.env(key, value);
            return Self::from(env.iter().fold(Self::builder(), set)).await;
        };
        let plan = plan
            .env("MINGLE_JWT_SECRET", SECRET)
            .env("MINGLE_SESSION_SECRET", SECRET)
            .env("MINGLE_PROCESS__LOG", "warn");
        let plan = env.iter().fold(plan, |plan, (key, value)| plan.env(key, *value));
        Self { system: System::Many(Box::new(plan.start().await)), turn: AtomicUsize::new(0) }
    }

    /// Starts one process, as `builder` says.
    pub(crate) async fn from(builder: Builder) -> Self {
        let system = System::One(Box::new(builder.start().await));
        Self { system, turn: AtomicUsize::new(0) }
    }

    /// The one process.
    pub(crate) fn mingle(&self) -> &Mingle {
        match &self.system {
            System::One(mingle) => mingle,
            System::Many(_) => panic!("this test is of one process"),
        }
    }

    /// The same, to end it.
    pub(crate) fn mingle_mut(&mut self) -> &mut Mingle {
        match &mut self.system {
            System::One(mingle) => mingle,
            System::Many(_) => panic!("this test is of one process"),
        }
    }

    /// What the database says.
    pub(crate) async fn ledger(&self) -> Ledger {
        match &self.system {
            System::One(mingle) => Ledger::open(mingle.data_dir()).await,
            System::Many(deployment) => Ledger::postgres(&deployment.database().url).await,
        }
    }

    /// Where an Envoy stands between: it has passed requests to every instance
    /// of these services.
    pub(crate) fn assert_meshed(&self, services: &[&str]) {
        let System::Many(deployment) = &self.system else { return };
        let Some(envoy) = deployment.envoy() else { return };
        for service in services {
            let passed = envoy.requests(service);
            eprintln!("envoy passed {passed:?} to {service}");
            assert!(passed.len() == 2 && !passed.contains(&0), "{service}: {passed:?}");
        }
    }

    /// Where HTTP is: at the next of the gateways.
    pub(crate) fn http(&self) -> SocketAddr {
        match &self.system {
            System::One(mingle) => mingle.http_addr(),
            System::Many(deployment) => {
                let gateways = deployment.gateways();
                gateways[self.turn.fetch_add(1, Ordering::Relaxed) % gateways.len()]
            }
        }
    }

    /// Where the WebSocket is.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.http())
    }

    /// A socket that has not said hello.
    pub(crate) async fn socket(&self, encoding: Encoding) -> Socket {
        Socket::connect(&self.url(), encoding).await.unwrap()
    }

    /// A greeted socket of `user`.
    pub(crate) async fn client(&self, user: &str, encoding: Encoding) -> Client {
        greet(&self.url(), user, encoding, None).await.unwrap()
    }

    /// A room of a fixed set of users, made by the first of them.
    pub(crate) async fn room(&self, users: &[&str]) -> String {
        let body = json!({"kind": "DIRECT", "memberIds": users});
        self.make_room(users[0], &body).await
    }

    /// A room that anyone may join.
    pub(crate) async fn channel(&self, user: &str) -> String {
        self.make_room(user, &json!({"kind": "CHANNEL", "name": "all"})).await
    }

    async fn make_room(&self, user: &str, body: &Value) -> String {
        let made = http::post(self.http(), "/api/rooms", &token(user), body).await.ok();
        made["roomId"].as_str().unwrap().to_owned()
    }

    /// Every message of a room, oldest first, by pages of the HTTP API.
    pub(crate) async fn history(&self, user: &str, room: &str) -> Vec<Value> {
        history(|| self.http(), user, room).await
    }
}

/// Every message of a room, oldest first, each page from where `at` says.
pub(crate) async fn history(at: impl Fn() -> SocketAddr, user: &str, room: &str) -> Vec<Value> {
    let (mut messages, mut before) = (Vec::new(), 0);
    loop {
        let path = format!("/api/rooms/{room}/messages?before={before}&limit=50");
        let page = http::get(at(), &path, &token(user)).await.ok();
        let found = page["messages"].as_array().unwrap();
        messages.splice(0..0, found.iter().cloned());
        if page["hasMore"] == json!(false) {
            return messages;
        }
        before = number(&found[0]["seq"]);
    }
}

/// A token of `claims`, as a service that shares the secret signs it.
pub(crate) fn mint(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

/// A good token of `user`.
pub(crate) fn token(user: &str) -> String {
    mint(&json!({"sub": user, "exp": FUTURE, "aud": "mingle"}))
}

/// Connects and says hello; waits for replies as long as a busy machine needs.
pub(crate) async fn greet(
    url: &str,
    user: &str,
    encoding: Encoding,
    resume: Option<Resume>,
) -> Result<Client, Error> {
    let limits = Limits { reply: SOON, events: 1 << 20 };
    let mut client = Client::over(Socket::connect(url, encoding).await?, limits);
    client.hello(&token(user), resume).await?;
    Ok(client)
}

/// The next event of a client to whom something is to come.
pub(crate) async fn next_event(client: &mut Client) -> Result<Kind, Error> {
    let caller = client.welcome().unwrap().user_id.clone();
    match tokio::time::timeout(SOON, client.event()).await {
        Ok(event) => event,
        Err(_) => panic!("nothing came to {caller} within {SOON:?}"),
    }
}

/// The first event for which `pick` answers, within [`SOON`]; the others stay.
pub(crate) async fn event_where<T>(client: &mut Client, pick: impl Fn(&Kind) -> Option<T>) -> T {
    let caller = client.welcome().unwrap().user_id.clone();
    match tokio::time::timeout(SOON, client.event_where(pick)).await {
        Ok(event) => event.unwrap(),
        Err(_) => panic!("it never came to {caller} within {SOON:?}"),
    }
}

/// Room and position of an event of a room's log.
pub(crate) fn logged(event: &Kind) -> Option<(&str, Position)> {
    let (room, seq, id) = match event {
        Kind::Message(event) => (&event.room_id, event.seq, &event.message_id),
        Kind::Edited(event) => (&event.room_id, event.seq, &event.id),
        Kind::Deleted(event) => (&event.room_id, event.seq, &event.id),
        Kind::Member(event) => (&event.room_id, event.seq, &event.id),
        Kind::RoomClosed(event) => (&event.room_id, event.seq, &event.id),
        _ => return None,
    };
    Some((room, Position { seq, id: id.clone() }))
}

/// A 64-bit number of the protocol's JSON.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}
