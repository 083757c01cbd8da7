//! A running `mingle` and its users: tokens, sockets, rooms.

use std::{net::SocketAddr, time::Duration};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use mingle_client::ws::{
    Client, Encoding, Error, Limits, Socket,
    proto::{Position, Resume, server_frame::Kind},
};
use mingle_testkit::{Builder, Mingle};
use serde_json::{Value, json};

use crate::http;

/// The secret of the users' tokens, so that tests can mint any token.
pub(crate) const SECRET: &str = "a secret of the whole-system tests, 0123456789";
/// Far enough away to never come.
pub(crate) const FUTURE: i64 = 4_000_000_000;
/// The deadline of what happens soon, on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A process under test.
pub(crate) struct World {
    pub(crate) mingle: Mingle,
}

impl World {
    /// How to start one whose tokens [`token`] mints.
    pub(crate) fn builder() -> Builder {
        Mingle::builder().env("MINGLE_JWT_SECRET", SECRET).env("MINGLE_PROCESS__LOG", "warn")
    }

    /// Starts one.
    pub(crate) async fn start() -> Self {
        Self::from(Self::builder()).await
    }

    /// Starts what `builder` says.
    pub(crate) async fn from(builder: Builder) -> Self {
        Self { mingle: builder.start().await }
    }

    /// Where HTTP is.
    pub(crate) fn http(&self) -> SocketAddr {
        self.mingle.http_addr()
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
        let (mut messages, mut before) = (Vec::new(), 0);
        loop {
            let path = format!("/api/rooms/{room}/messages?before={before}&limit=50");
            let page = http::get(self.http(), &path, &token(user)).await.ok();
            let found = page["messages"].as_array().unwrap();
            messages.splice(0..0, found.iter().cloned());
            if page["hasMore"] == json!(false) {
                return messages;
            }
            before = number(&found[0]["seq"]);
        }
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
