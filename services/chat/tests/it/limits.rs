//! What senders are charged, at a ratelimit that is there and at one that is
//! not.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use mingle_chat::Config;
use mingle_proto::chat::v1::{
    CloseRoomRequest, CreateRoomRequest, DeleteRequest, EditRequest, HistoryRequest, RoomKind,
    SendRequest,
};
use mingle_runtime::{
    Context, Role,
    config::Section as _,
    grpc::{Routes, Transport},
    status::Described,
};
use mingle_store::postgres;
use mingle_testkit::{Postgres, Ratelimit, eventually};
use tonic::Status;

use crate::{
    between::{self, UNAIDED},
    stage::{Client, Stage, failure},
};

const LIMIT: &str = "chat_message";
const QUOTA: usize = 30;
const PATIENCE: Duration = Duration::from_secs(60);

fn limited(ratelimit: &Ratelimit) -> Context {
    let ctx = Context::for_test(&[Config::DEFAULTS], "");
    ctx.peers.set(Role::Ratelimit, Transport::local(Routes::new(ratelimit.service())));
    ctx
}

async fn serve(stage: &Stage, ratelimit: &Ratelimit) -> Client {
    stage.serve_in(limited(ratelimit), stage.bus.clone(), stage.clock.clone()).await.client
}

async fn without(stage: &Stage, terms: &str) -> Client {
    let ctx = Context::for_test(&[Config::DEFAULTS], &format!("[chat.limit]\n{terms}"));
    stage.serve_in(ctx, stage.bus.clone(), stage.clock.clone()).await.client
}

async fn pair(client: &mut Client) -> String {
    let request = CreateRoomRequest {
        kind: RoomKind::Pair.into(),
        member_ids: vec!["ann".to_owned(), "bob".to_owned()],
        ..Default::default()
    };
    client.create_room(request).await.unwrap().into_inner().room.unwrap().room_id
}

fn message(actor: &str, room_id: &str, key: &str) -> SendRequest {
    SendRequest {
        actor: actor.to_owned(),
        room_id: room_id.to_owned(),
        client_msg_id: key.to_owned(),
        body: "hello".to_owned(),
        ..Default::default()
    }
}

#[track_caller]
fn denied<T: std::fmt::Debug>(result: Result<T, Status>) -> Duration {
    let told = Described::from(&result.unwrap_err());
    assert_eq!((told.kind.name(), told.reason.as_str()), ("RESOURCE_EXHAUSTED", "RATE_LIMITED"));
    told.retry_after.unwrap()
}

#[tokio::test]
async fn the_thirty_first_message_of_a_minute_is_refused_and_nothing_else() {
    let (stage, ratelimit) = (Stage::new().await, Ratelimit::of(LIMIT, QUOTA));
    let mut client = serve(&stage, &ratelimit).await;
    let room = pair(&mut client).await;
    let mut ids = Vec::new();
    for n in 0..QUOTA {
        let sent = client.send(message("ann", &room, &n.to_string())).await.unwrap();
        ids.push(sent.into_inner().message_id);
    }
    let late = || message("ann", &room, "late");
    assert_eq!(denied(client.send(late()).await), Duration::from_millis(Ratelimit::RETRY_MS));
    client.send(message("bob", &room, "0")).await.unwrap();
    let again = client.send(message("ann", &room, "7")).await.unwrap().into_inner();
    assert_eq!(again.message_id, ids[7], "a retry is answered");
    let other = SendRequest { body: "other".to_owned(), ..message("ann", &room, "7") };
    assert_eq!(failure(client.send(other).await).1, "KEY_REUSED");
    let (actor, room_id) = ("ann".to_owned(), room.clone());
    let edit = EditRequest {
        message_id: ids[0].clone(),
        body: "anew".to_owned(),
        ..EditRequest { actor: actor.clone(), room_id: room_id.clone(), ..Default::default() }
    };
    client.edit(edit).await.unwrap();
    let delete =
        DeleteRequest { actor: actor.clone(), room_id: room.clone(), message_id: ids[1].clone() };
    client.delete(delete).await.unwrap();
    let history = HistoryRequest { actor, room_id, limit: 1, ..Default::default() };
    client.history(history).await.unwrap();
    assert_eq!((ratelimit.charges("ann"), ratelimit.charges("bob")), (QUOTA, 1));
    ratelimit.forget();
    let sent = client.send(late()).await.unwrap().into_inner();
    assert_eq!(sent.seq, 36, "what was denied was not said");
}

#[tokio::test]
async fn only_what_is_said_is_charged_and_once() {
    let (stage, ratelimit) = (Stage::new().await, Ratelimit::of(LIMIT, QUOTA));
    let mut client = serve(&stage, &ratelimit).await;
    let (room, closed) = (pair(&mut client).await, pair(&mut client).await);
    let said = || message("ann", &room, "k");
    let close = CloseRoomRequest { actor: "ann".to_owned(), room_id: closed.clone() };
    client.close_room(close).await.unwrap();
    for _ in 0..3 {
        client.send(said()).await.unwrap();
        assert_eq!(ratelimit.charges("ann"), 1);
    }
    let other = SendRequest { body: "other".to_owned(), ..said() };
    assert_eq!(failure(client.send(other).await).1, "KEY_REUSED");
    assert_eq!(failure(client.send(message("ann", &closed, "k")).await).1, "ROOM_CLOSED");
    assert_eq!(failure(client.send(message("ann", "none", "k")).await).1, "ROOM_NOT_FOUND");
    assert_eq!(failure(client.send(message("ann", &room, "")).await).1, "REQUIRED");
    assert_eq!(ratelimit.charges("ann"), 1);
    // How long ago it was, by whatever clock, is not asked.
    stage.clock.advance(60_000);
    client.send(said()).await.unwrap();
    assert_eq!(ratelimit.charges("ann"), 1);
    // The window has passed, and the charge with it.
    ratelimit.forget();
    client.send(said()).await.unwrap();
    assert_eq!(ratelimit.charges("ann"), 0, "an old message is not paid twice");
}

#[tokio::test]
async fn what_may_have_been_said_is_one_charge_and_what_was_not_begun_is_none() {
    let (stage, ratelimit) = (Stage::new().await, Ratelimit::of(LIMIT, QUOTA));
    let ctx = limited(&ratelimit);
    let (between, mut client) = between::serve(&stage, &ctx, UNAIDED).await;
    let room = pair(&mut client).await;
    between.forgetful.store(true, SeqCst);
    let told = failure(client.send(message("ann", &room, "k")).await);
    assert_eq!((told.0.as_str(), ratelimit.charges("ann")), ("DEADLINE_EXCEEDED", 1));
    // Nothing is begun in a database that is closed.
    stage.database.close().await;
    between.forgetful.store(false, SeqCst);
    for n in 0..2 * QUOTA {
        let away = failure(client.send(message("ann", &room, &n.to_string())).await);
        assert_eq!((away.0.as_str(), ratelimit.charges("ann")), ("UNAVAILABLE", 1));
        let again = failure(client.send(message("ann", &room, "k")).await);
        assert_eq!((again.0.as_str(), ratelimit.charges("ann")), ("UNAVAILABLE", 1), "it stands");
    }
}

/// Who keeps trying through an outage has their quota after it.
#[tokio::test]
async fn while_postgres_is_away_nothing_is_charged() {
    let (server, ratelimit) = (Postgres::start().await, Ratelimit::of(LIMIT, QUOTA));
    let stage = Stage::new().await;
    let fresh = server.database().await;
    let database = postgres::Postgres::connect(postgres::Options::new(&fresh.url)).await.unwrap();
    let ctx = limited(&ratelimit);
    let mut client = stage.serve_from(database.clone().into(), ctx).await.client;
    let room = pair(&mut client).await;
    server.kill();
    eventually(PATIENCE, "it counts as away", async || {
        client.send(message("ann", &room, "early")).await.unwrap_err();
        database.gate().is_away()
    })
    .await;
    let unknown = ratelimit.charges("ann");
    assert!(unknown <= 1, "of one message");
    for n in 0..2 * QUOTA {
        let away = failure(client.send(message("ann", &room, &n.to_string())).await);
        assert_eq!((away.0.as_str(), ratelimit.charges("ann")), ("UNAVAILABLE", unknown));
    }
    server.restart().await;
    eventually(PATIENCE, "it is back", async || {
        client.send(message("ann", &room, "early")).await.is_ok()
    })
    .await;
    assert_eq!(ratelimit.charges("ann"), 1);
}

#[tokio::test]
async fn without_ratelimit_only_what_is_said_is_counted_here_too() {
    let stage = Stage::new().await;
    let mut client = without(&stage, "quota = 4").await;
    let room = pair(&mut client).await;
    for key in ["1", "2", "2", "1", "1", "3"] {
        client.send(message("ann", &room, key)).await.unwrap();
        assert_eq!(failure(client.send(message("ann", "none", key)).await).1, "ROOM_NOT_FOUND");
    }
    client.send(message("ann", &room, "4")).await.unwrap();
    denied(client.send(message("ann", &room, "5")).await);
}

#[tokio::test]
async fn without_ratelimit_as_much_may_be_said_as_the_terms_admit() {
    let stage = Stage::new().await;
    let mut client = without(&stage, "quota = 3").await;
    let room = pair(&mut client).await;
    for key in ["1", "2", "3"] {
        client.send(message("ann", &room, key)).await.unwrap();
    }
    let retry = denied(client.send(message("ann", &room, "4")).await);
    assert!(retry > Duration::ZERO && retry <= Duration::from_secs(60), "{retry:?}");
    client.send(message("ann", &room, "3")).await.unwrap();
    client.send(message("bob", &room, "1")).await.unwrap();
    let mut closed = without(&stage, "outage = 'closed'").await;
    let told = failure(closed.send(message("bob", &room, "2")).await);
    assert_eq!((&*told.0, &*told.1), ("UNAVAILABLE", "UNAVAILABLE"), "not too many");
    closed.send(message("bob", &room, "1")).await.expect("it was said before");
    let mut open = without(&stage, "quota = 1\noutage = 'open'").await;
    for key in ["5", "6", "7"] {
        open.send(message("ann", &room, key)).await.unwrap();
    }
}
