//! What presence is told by a gateway that it cannot always answer.

use std::{future::pending, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Request, Uri},
    response::{IntoResponse, Response},
};
use mingle_proto::presence::v1::{
    self as pr, presence_service_client::PresenceServiceClient,
    presence_service_server::SERVICE_NAME,
};
use mingle_runtime::{
    Context,
    grpc::{Routes, Transport},
};
use parking_lot::Mutex;
use prost::Message;
use tokio::time::{Instant, timeout};
use tonic::body::Body;
use tower::ServiceExt as _;

use super::{
    CHUNK, RENEW, Sessions,
    ends::{End, LATE},
};

/// Ends that wait for a presence that answers none of them: many times what is
/// told at once.
const ENDED: u32 = 2_000;
const LOOK: Duration = Duration::from_secs(10);
/// How long a slow presence takes for one chunk.
const SLOW: Duration = Duration::from_millis(1_500);

/// What presence was told.
#[derive(Debug)]
enum Told {
    Node(u64),
    Renewal(u64),
    Sessions(usize),
    Connect,
    /// Of a session, by a connection.
    End(String, String),
}

/// A presence that hears all and answers as it is set.
#[derive(Default)]
struct Fake {
    told: Mutex<Vec<Told>>,
    /// Calls that are UNAVAILABLE, however much of them is done.
    fails: Mutex<Vec<&'static str>>,
    /// How long it takes for sessions to be registered.
    takes: Duration,
    /// It never answers an end.
    is_deaf: bool,
}

impl Fake {
    fn count(&self, is_it: impl Fn(&Told) -> bool) -> usize {
        self.told.lock().iter().filter(|told| is_it(told)).count()
    }

    fn ends(&self, session: &str) -> usize {
        self.count(|told| matches!(told, Told::End(id, _) if id == session))
    }

    fn renewals(&self) -> usize {
        self.count(|told| matches!(told, Told::Renewal(_)))
    }
}

fn read<M: Message + Default>(body: &Bytes) -> M {
    M::decode(body.slice(5..)).unwrap()
}

fn framed(message: &impl Message) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    message.encode(&mut frame).unwrap();
    frame
}

async fn answer(State(fake): State<Arc<Fake>>, uri: Uri, body: Bytes) -> Response {
    let method = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    let (told, frame) = match method.as_str() {
        "RegisterNode" => {
            let node = read::<pr::RegisterNodeRequest>(&body).node.unwrap();
            let answer = pr::RegisterNodeResponse { lease_ms: 3_000, renew_ms: 1_000 };
            (Told::Node(node.generation), framed(&answer))
        }
        "RenewNode" => {
            let generation = read::<pr::RenewNodeRequest>(&body).generation;
            (Told::Renewal(generation), framed(&pr::RenewNodeResponse {}))
        }
        "RegisterSessions" => {
            let sessions = read::<pr::RegisterSessionsRequest>(&body).sessions;
            let answer = pr::RegisterSessionsResponse::default();
            (Told::Sessions(sessions.len()), framed(&answer))
        }
        "Connect" => {
            let generation = read::<pr::ConnectRequest>(&body).generation;
            (Told::Connect, framed(&pr::ConnectResponse { accepted: true, generation }))
        }
        "Disconnect" => {
            let ended = read::<pr::DisconnectRequest>(&body);
            (Told::End(ended.session_id, ended.connection_id), framed(&pr::DisconnectResponse {}))
        }
        other => panic!("{other}"),
    };
    fake.told.lock().push(told);
    if method == "RegisterSessions" {
        let _ = timeout(fake.takes, pending::<()>()).await;
    }
    if method == "Disconnect" && fake.is_deaf {
        pending::<()>().await;
    }
    let fails = fake.fails.lock().iter().any(|name| *name == method);
    let (status, frame) = if fails { ("14", Vec::new()) } else { ("0", frame) };
    ([("content-type", "application/grpc"), ("grpc-status", status)], frame).into_response()
}

/// The sessions of a gateway over `fake`, which knows the node.
fn over(fake: &Arc<Fake>) -> (Context, Arc<Sessions>) {
    let ctx = Context::for_test(&[], "");
    let router = Router::new().fallback(answer).with_state(fake.clone());
    let serve = move |request: Request<Body>| -> mingle_runtime::grpc::Call {
        let router = router.clone();
        Box::pin(async move { Ok(router.oneshot(request).await?.map(Body::new)) })
    };
    let transport = Transport::local(Routes::default().add(SERVICE_NAME, serve));
    let sessions = Sessions {
        client: PresenceServiceClient::new(transport),
        unregistered: false.into(),
        ..Sessions::new(&ctx, 1, Arc::default())
    };
    (ctx, Arc::new(sessions))
}

fn session(id: &str) -> pr::Session {
    let (session_id, connection_id) = (id.to_owned(), format!("connection-{id}"));
    let user_id = "ann".to_owned();
    pr::Session { session_id, user_id, generation: 1, connection_id, ..Default::default() }
}

fn ended(number: u32) -> End {
    End::new(&session(&format!("session-{number}")), Instant::now())
}

/// Time goes by.
async fn pass(time: Duration) {
    assert!(timeout(time, pending::<()>()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_while_thousands_of_ends_wait() {
    let fake = Arc::new(Fake { is_deaf: true, ..Fake::default() });
    let (ctx, sessions) = over(&fake);
    let end = |number| {
        let sessions = sessions.clone();
        tokio::spawn(async move { sessions.end(ended(number)).await })
    };
    let mut ends: Vec<_> = (0..ENDED).map(end).collect();
    assert!(!ends.remove(0).await.unwrap(), "given up: there is something to tell again");
    tokio::spawn(sessions.clone().keep_alive(ctx.clone()));
    pass(LOOK).await;
    assert!(!ends.pop().unwrap().is_finished(), "the last one waits still");
    let (renewals, due) = (fake.renewals(), LOOK.as_secs() / RENEW.as_secs());
    assert!(renewals as u64 >= due, "renewed {renewals} times in {LOOK:?}");
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_while_thousands_of_sessions_are_registered() {
    const CHUNKS: u32 = 10;
    let fake = Arc::new(Fake { takes: SLOW, ..Fake::default() });
    let (_ctx, sessions) = over(&fake);
    for number in 0..u64::from(CHUNKS) * CHUNK as u64 {
        sessions.connect(number, session(&number.to_string())).await.unwrap();
    }
    sessions.register().await.unwrap();
    let chunks = fake.count(|told| matches!(told, Told::Sessions(CHUNK)));
    assert_eq!(chunks, CHUNKS as usize);
    let (renewals, due) = (fake.renewals(), (SLOW * CHUNKS).as_secs() - 1);
    assert!(renewals as u64 >= due, "renewed {renewals} times, due {due}");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_during_a_registration_that_fails_is_told_of_once_it_is_settled() {
    let fails = Mutex::new(vec!["RegisterSessions"]);
    let fake = Arc::new(Fake { takes: SLOW, fails, ..Fake::default() });
    let (ctx, sessions) = over(&fake);
    for (socket, id) in [(1, "left"), (2, "leaves"), (3, "stays")] {
        sessions.connect(socket, session(id)).await.unwrap();
    }
    let (registers, leaver) = (sessions.clone(), sessions.clone());
    let registration = tokio::spawn(async move { registers.register().await.is_err() });
    pass(SLOW / 2).await;
    leaver.disconnect(1, "left").await;
    assert!(registration.await.unwrap(), "the registration fails");
    leaver.disconnect(2, "leaves").await;
    assert_eq!((fake.ends("left"), fake.ends("leaves")), (1, 1), "heard at once");
    fake.fails.lock().clear();
    tokio::spawn(sessions.clone().keep_alive(ctx.clone()));
    pass(LATE / 2).await;
    assert_eq!((fake.ends("left"), fake.ends("leaves")), (1, 1), "may be undone still");
    pass(LATE).await;
    assert_eq!((fake.ends("left"), fake.ends("leaves")), (2, 2), "told again");
    pass(LATE).await;
    assert_eq!((fake.ends("left"), fake.ends("leaves")), (2, 2), "and no more");
    assert_eq!(fake.ends("stays"), 0);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_after_a_connect_without_an_answer_is_told_of_once_it_is_settled() {
    let fake = Arc::new(Fake { fails: Mutex::new(vec!["Connect"]), ..Fake::default() });
    let (ctx, sessions) = over(&fake);
    sessions.connect(1, session("left")).await.unwrap();
    sessions.disconnect(1, "left").await;
    assert_eq!(fake.ends("left"), 1, "heard at once");
    tokio::spawn(sessions.clone().keep_alive(ctx.clone()));
    pass(2 * LATE).await;
    assert_eq!(fake.ends("left"), 2, "and again when nothing can undo it");
}

#[tokio::test(start_paused = true)]
async fn of_two_sockets_at_one_generation_the_later_hello_stays() {
    for fails in [["Connect", ""], ["", "Connect"]] {
        let fake = Arc::<Fake>::default();
        let (_ctx, sessions) = over(&fake);
        for (socket, connection, fails) in [(7, "a", fails[0]), (5, "b", fails[1])] {
            *fake.fails.lock() = vec![fails];
            let claim = pr::Session { connection_id: connection.to_owned(), ..session("taken-up") };
            assert_eq!(sessions.connect(socket, claim).await.unwrap(), 1);
        }
        let held: Vec<_> = sessions.granted().into_iter().map(|it| it.connection_id).collect();
        assert_eq!(held, ["b"], "{fails:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_replaced_without_presence_is_told_of() {
    let fake = Arc::<Fake>::default();
    let (ctx, sessions) = over(&fake);
    sessions.connect(1, session("taken-up")).await.unwrap();
    fake.fails.lock().push("Connect");
    let again = pr::Session { generation: 2, connection_id: "2".to_owned(), ..session("taken-up") };
    sessions.connect(2, again.clone()).await.unwrap();
    tokio::spawn(sessions.clone().keep_alive(ctx.clone()));
    pass(RENEW * 3).await;
    assert_eq!(fake.ends("taken-up"), 1, "the first generation");
    // Another in the same generation: each end names its socket, and whichever
    // presence took is not ended by the other's.
    let third = pr::Session { connection_id: "3".to_owned(), ..again };
    sessions.connect(3, third).await.unwrap();
    pass(2 * LATE).await;
    let told = fake.told.lock();
    let sockets = told.iter().filter_map(|told| match told {
        Told::End(_, connection) => Some(connection.as_str()),
        _ => None,
    });
    assert_eq!(sockets.collect::<Vec<_>>(), ["connection-taken-up", "2"]);
}

#[tokio::test(start_paused = true)]
async fn more_ends_than_are_kept_are_a_new_start_of_the_node() {
    let fake = Arc::<Fake>::default();
    let (ctx, sessions) = over(&fake);
    sessions.connect(1, session("stays")).await.unwrap();
    tokio::spawn(sessions.clone().keep_alive(ctx.clone()));
    sessions.unheard.keep((0..12_000).map(ended));
    pass(RENEW * 3).await;
    let starts = fake.count(|told| matches!(told, Told::Node(2)));
    assert_eq!(starts, 1, "{:?}", fake.told.lock());
    assert_eq!(fake.count(|told| matches!(told, Told::Sessions(1))), 1, "who stays is registered");
    assert_eq!(fake.count(|told| matches!(told, Told::End(..))), 2_000, "the rest is told");
    assert_eq!(fake.count(|told| matches!(told, Told::Renewal(1))), 0, "the old start is over");
    assert!(fake.renewals() > 0);
}
