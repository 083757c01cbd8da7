//! PostgreSQL frozen, killed, cut off and out of reach: what cannot be kept is
//! refused by type, with when to try again, and the same once more succeeds once.

use std::time::Duration;

use ::http::Method;
use mingle_client::ws::{
    Client, Encoding, Error,
    proto::{Ticket, TicketState, server_frame::Kind},
};
use mingle_testkit::{Deployment, Fault, Proxy, eventually};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    pairs::{Load, Talk, refusals},
    plan, urls,
};
use crate::{
    http::{self, Answer},
    ledger::Ledger,
    world::{SOON, greet, next_event, token},
};

/// A call's own deadline of 10 s, and what a busy machine adds.
const ANSWER: Duration = Duration::from_secs(15);
/// Refusals of each kind that are waited for while it is away.
const TRIES: usize = 2;
/// Those whose requests are on their way when it goes.
const LOAD: Load = (10, Duration::from_millis(200));
/// Messages of theirs that are acknowledged before it goes, and after.
const SOME: usize = 40;

const AWAY: [&str; 4] = ["frozen", "killed", "cut", "silent"];

/// Makes PostgreSQL away, and ends that.
struct Database<'a> {
    deployment: &'a Deployment,
    way: &'a Proxy,
}

impl Database<'_> {
    fn leave(&self, how: &str) {
        match how {
            "frozen" => self.deployment.postgres().unwrap().freeze(),
            "killed" => self.deployment.postgres().unwrap().kill(),
            "cut" => self.way.set(Fault::Cut),
            _ => self.way.set(Fault::Silent),
        }
    }

    async fn come_back(&self, how: &str) {
        match how {
            "frozen" => self.deployment.postgres().unwrap().thaw(),
            "killed" => self.deployment.postgres().unwrap().restart().await,
            _ => self.way.set(Fault::None),
        }
    }
}

/// Who talks and searches, and what the outages did to them.
struct People {
    ann: Client,
    bob: Client,
    /// Searches by socket while it is away.
    eve: Client,
    /// Searched before, and cancels by socket while it is away.
    fred: Client,
    room: String,
    gateway: std::net::SocketAddr,
    refused: usize,
    marked: usize,
}

impl People {
    async fn come(deployment: &Deployment) -> Self {
        let gateway = deployment.gateways()[1];
        let body = json!({"kind": "DIRECT", "memberIds": ["ann", "bob"]});
        let made = http::post(gateway, "/api/rooms", &token("ann"), &body).await.ok();
        let room = made["roomId"].as_str().unwrap().to_owned();
        let urls = urls(deployment);
        let mut ann = greet(&urls[0], "ann", Encoding::Json, None).await.unwrap();
        let mut bob = greet(&urls[1], "bob", Encoding::Proto, None).await.unwrap();
        for client in [&mut ann, &mut bob] {
            client.room_join(&room, None).await.unwrap();
        }
        let eve = greet(&urls[0], "eve", Encoding::Proto, None).await.unwrap();
        let fred = greet(&urls[1], "fred", Encoding::Json, None).await.unwrap();
        Self { ann, bob, eve, fred, room, gateway, refused: 0, marked: 0 }
    }

    async fn http(&self, method: Method, path: &str, user: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let token = token(user);
        let call = http::call(self.gateway, method, path, &token, body);
        timeout(ANSWER, call).await.expect("an answer")
    }

    async fn says_by_http(&self, key: &str) -> Answer {
        let path = format!("/api/rooms/{}/messages", self.room);
        let body = json!({"clientMsgId": key, "body": key});
        self.http(Method::POST, &path, "bob", &body).await
    }

    async fn searches(&self, user: &str) -> Answer {
        let body = json!({"pool": "random-chat", "attributes": {"gender": "female"},
            "wants": {"gender": ["other"]}});
        self.http(Method::POST, "/api/match/tickets", user, &body).await
    }

    async fn cancels(&self, user: &str, ticket_id: &str) -> Answer {
        let path = format!("/api/match/tickets/{ticket_id}");
        self.http(Method::DELETE, &path, user, &Value::Null).await
    }

    fn is_refused(&mut self, answer: &Answer) {
        let (status, code, ..) = answer.problem();
        let typed = [(503, "UNAVAILABLE"), (504, "DEADLINE_EXCEEDED")];
        assert!(typed.contains(&(status, code)), "{answer:?}");
        assert!(answer.body["retryAfterMs"].as_u64().unwrap() > 0, "{answer:?}");
        self.refused += 1;
        self.marked += usize::from(!answer.header("mingle-degraded").is_empty());
    }

    /// Everything that must be kept is refused.
    async fn are_refused(&mut self, how: &str, tickets: &Tickets) {
        for _ in 0..TRIES {
            let key = format!("{how}-socket");
            is_refused(self.ann.send(&self.room, &key, &key)).await;
            is_refused(seek(&mut self.eve)).await;
            is_refused(self.fred.match_leave(&tickets.fred)).await;
            let said = self.says_by_http(&format!("{how}-http")).await;
            self.is_refused(&said);
            let searched = self.searches(&format!("carl-{how}")).await;
            self.is_refused(&searched);
            let cancelled = self.cancels(&format!("dan-{how}"), &tickets.dan).await;
            self.is_refused(&cancelled);
        }
    }

    /// The same once more, until it is done.
    async fn succeed(&mut self, how: &str, tickets: &Tickets) {
        let key = format!("{how}-socket");
        eventually(SOON, "what was refused to be acknowledged", async || {
            self.ann.send(&self.room, &key, &key).await.ok()
        })
        .await;
        let sought = eventually(SOON, "a ticket", async || seek(&mut self.eve).await.ok()).await;
        for (client, id) in [(&mut self.eve, &sought.ticket_id), (&mut self.fred, &tickets.fred)] {
            let left =
                eventually(SOON, "a cancel", async || client.match_leave(id).await.ok()).await;
            assert_eq!(left.state(), TicketState::Cancelled, "{how}: {left:?}");
        }
        for done in ["message", "ticket", "cancel"] {
            let answer = eventually(SOON, done, async || {
                let answer = match done {
                    "message" => self.says_by_http(&format!("{how}-http")).await,
                    "ticket" => self.searches(&format!("carl-{how}")).await,
                    _ => self.cancels(&format!("dan-{how}"), &tickets.dan).await,
                };
                answer.status.is_success().then_some(answer)
            })
            .await;
            if done == "cancel" {
                assert_eq!(answer.ok()["state"], "CANCELLED", "{how}");
            }
        }
        for client in [&mut self.ann, &mut self.bob] {
            let mut missing = vec![format!("{how}-socket"), format!("{how}-http")];
            while !missing.is_empty() {
                // An error would be a socket that was closed.
                if let Kind::Message(message) = next_event(client).await.unwrap() {
                    missing.retain(|key| *key != message.client_msg_id);
                }
            }
        }
    }
}

/// Those that wait when it goes.
struct Tickets {
    dan: String,
    fred: String,
}

/// Looks for somebody who never comes.
async fn seek(client: &mut Client) -> Result<Ticket, Error> {
    let (of, wants) = ([("gender", "female")], [("gender", &["other"][..])]);
    client.match_join("random-chat", &of, &wants).await
}

/// A socket is refused in time, by type.
async fn is_refused<T: std::fmt::Debug>(answer: impl Future<Output = Result<T, Error>>) {
    match timeout(ANSWER, answer).await.expect("an answer") {
        Err(Error::Refused(error)) => {
            let codes = ["UNAVAILABLE", "DEADLINE_EXCEEDED"];
            assert!(codes.contains(&error.code.as_str()), "{error:?}");
            assert!(error.retry_after_ms > 0, "{error:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_kept_is_refused_and_succeeds_once_afterwards() {
    let mut deployment = plan().own_postgres().start().await;
    let port = deployment.postgres().unwrap().port();
    let way = Proxy::to(([127, 0, 0, 1], port).into()).await;
    let url = deployment.database().url.clone();
    let through = url.replace(&format!(":{port}/"), &format!(":{}/", way.address().port()));
    for role in ["presence", "chat", "matchmaking"] {
        for nth in 0..deployment.grpc(role).len() {
            deployment.set_env(role, nth, "DATABASE_URL", &through);
            deployment.kill_and_restart(role, nth).await;
        }
    }
    let database = Database { deployment: &deployment, way: &way };
    let mut people = People::come(&deployment).await;
    let ledger = Ledger::postgres(&url).await;
    let talk = Talk::around(deployment.gateways(), LOAD).await;
    for how in AWAY {
        let waiting = people.searches(&format!("dan-{how}")).await.ok();
        let dan = waiting["ticketId"].as_str().unwrap().to_owned();
        let fred = seek(&mut people.fred).await.unwrap().ticket_id;
        let tickets = Tickets { dan, fred };
        talk.goes_on(SOME).await;
        database.leave(how);
        people.are_refused(how, &tickets).await;
        talk.is_refused(1, || ()).await;
        database.come_back(how).await;
        people.succeed(how, &tickets).await;
    }
    talk.goes_on(SOME).await;
    refusals(&talk.end_among_others(&ledger).await);
    ledger.assert_gapless().await;
    let said = "select client_msg_id from chat_log where kind = 1 and actor in ('ann', 'bob')";
    let mut keys: Vec<String> = ledger.texts(said).await;
    keys.sort();
    let mut said: Vec<String> =
        AWAY.iter().flat_map(|how| [format!("{how}-socket"), format!("{how}-http")]).collect();
    said.sort();
    assert_eq!(keys, said, "each once");
    let tickets = "select user_id || ' ' || state from mm_tickets order by user_id";
    let mut expected: Vec<String> = AWAY
        .iter()
        .flat_map(|how| {
            let by_http = [format!("carl-{how} waiting"), format!("dan-{how} cancelled")];
            by_http.into_iter().chain(["eve", "fred"].map(|user| format!("{user} cancelled")))
        })
        .collect();
    expected.sort();
    assert_eq!(ledger.texts(tickets).await, expected);
    eprintln!("{} calls over HTTP refused, {} of them marked", people.refused, people.marked);
    assert!(people.marked > 0);
}
