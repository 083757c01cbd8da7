//! People beside those who talk: one who watches everybody, and strangers who
//! meet.

use std::time::Duration;

use mingle_client::ws::{
    Client, Encoding, Limits, Socket,
    proto::{PresenceStatus, server_frame::Kind},
};
use mingle_testkit::{Deployment, eventually};
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};

use super::urls;
use crate::{
    again::again,
    world::{FUTURE, SOON, greet, mint, next_event},
};

/// What somebody sees who may watch everybody.
pub(super) struct Watcher {
    seen: watch::Receiver<Seen>,
    live: JoinHandle<()>,
}

#[derive(Default)]
pub(super) struct Seen {
    offline: Vec<String>,
    /// The last that was told.
    degraded: Vec<String>,
}

impl Watcher {
    pub(super) async fn start(url: &str, users: &[String]) -> Self {
        let limits = Limits { reply: SOON, events: 1 << 20 };
        let socket = Socket::connect(url, Encoding::Json).await.unwrap();
        let mut client = Client::over(socket, limits);
        let presence = json!({"visibility": "any"});
        let claims =
            json!({"sub": "watcher", "exp": FUTURE, "aud": "mingle", "presence": presence});
        client.hello(&mint(&claims), None).await.unwrap();
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        eventually(SOON, "everybody is online", async || {
            let presences = client.presence_watch(&users).await.unwrap().presences;
            presences.iter().all(|it| it.status() == PresenceStatus::Online)
        })
        .await;
        let (told, seen) = watch::channel(Seen::default());
        let live = tokio::spawn(async move {
            loop {
                // The end of the socket is seen by who joins this task.
                let Ok(event) = client.event().await else { return };
                told.send_modify(|seen| match event {
                    Kind::Presence(it) if it.status() == PresenceStatus::Offline => {
                        seen.offline.push(it.user_id);
                    }
                    Kind::Degraded(degraded) => seen.degraded = degraded.states,
                    _ => {}
                });
            }
        });
        Self { seen, live }
    }

    /// Waits until the last that is told is that this is degraded, or nothing.
    pub(super) async fn is_told(&mut self, role: Option<&str>) {
        let is_so = |seen: &Seen| match role {
            Some(role) => seen.degraded.iter().any(|it| it == role),
            None => seen.degraded.is_empty(),
        };
        tokio::time::timeout(SOON, self.seen.wait_for(is_so)).await.expect("an event").unwrap();
    }

    /// Waits until all of these are offline.
    pub(super) async fn hears_gone(&mut self, users: &[String], within: Duration) {
        let all = |seen: &Seen| users.iter().all(|user| seen.offline.contains(user));
        let heard = tokio::time::timeout(within, self.seen.wait_for(all)).await.is_ok();
        assert!(heard, "within {within:?} only {:?} are offline", self.seen.borrow().offline);
    }

    /// It is there still, and nobody was offline to it.
    pub(super) fn assert_saw_nobody_leave(&self) {
        self.assert_saw_only(&[]);
    }

    /// It is there still, and these were offline to it, each once, and nobody
    /// else.
    pub(super) fn assert_saw_only(&self, users: &[String]) {
        assert!(!self.live.is_finished(), "the watcher's socket stays");
        let mut seen = self.seen.borrow().offline.clone();
        seen.sort();
        assert_eq!(seen, users);
    }
}

/// So many pairs of new people come, each of two to another gateway, and meet:
/// at once, or when each service has noticed that what was broken is well.
pub(super) async fn meet(deployment: &Deployment, pairs: usize, when: &str) {
    let mut clients = Vec::new();
    for n in 0..pairs {
        for (gender, url) in ["female", "male"].iter().zip(urls(deployment)) {
            let user = format!("{gender}-{n}-{when}");
            let mut client = greet(&url, &user, Encoding::Json, None).await.unwrap();
            let other = if *gender == "male" { "female" } else { "male" };
            let wants = [("gender", &[other][..])];
            again!(client.match_join("random-chat", &[("gender", gender)], &wants));
            clients.push(client);
        }
    }
    for mut client in clients {
        while !matches!(next_event(&mut client).await.unwrap(), Kind::Matched(_)) {}
    }
}
