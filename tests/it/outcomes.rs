//! The outcome of a search is told until it has arrived: what was written to a
//! socket that broke is told to the next one, and no partner sits alone.

use futures::SinkExt as _;
use mingle_client::ws::{
    Client, Encoding,
    proto::{TicketState, server_frame::Kind},
};
use mingle_testkit::eventually;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::world::{SOON, World, next_event, token};

const POOL: &str = "random-chat";
/// No ping by the clock proves anything within a test.
const NEVER_MS: &str = "600000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_is_told_again_until_a_ping_behind_it_is_answered() {
    let builder = World::builder()
        .env("MINGLE_GATEWAY__LIMITS__PING_INTERVAL_MS", NEVER_MS)
        .env("MINGLE_GATEWAY__LIMITS__DEAD_AFTER_MS", NEVER_MS);
    let world = World::from(builder).await;
    // She is matched, and reads nothing of it.
    let mut deaf = world.client("ann", Encoding::Json).await;
    let wait = search(&mut deaf, "female", "male").await;
    assert_eq!(wait.1, TicketState::Waiting);
    let mut bob = world.client("bob", Encoding::Proto).await;
    search(&mut bob, "male", "female").await;
    while !matches!(next_event(&mut bob).await.unwrap(), Kind::Matched(_)) {}
    drop(deaf);

    // The reply tells it, and is not read either, but for its bytes; a pong that
    // answers no ping proves nothing.
    let mut blind = Blind::greet(&world, "ann").await;
    let ann =
        json!({"pool": POOL, "attributes": {"gender": "female"}, "wants": {"gender": ["male"]}});
    blind.say(&json!({"id": 2, "matchJoin": ann})).await;
    blind.sees("\"MATCHED\"").await;
    blind.socket.send(Message::Pong(Vec::new().into())).await.unwrap();
    blind.say(&json!({"id": 3, "ping": {}})).await;
    blind.sees("\"pong\"").await;
    // Whatever was said of her before is written before this.
    for (user, gender, wanted) in [("carl", "male", "other"), ("dana", "other", "male")] {
        let mut client = world.client(user, Encoding::Json).await;
        search(&mut client, gender, wanted).await;
        tokio::spawn(async move { while client.event().await.is_ok() {} });
    }
    until_told(&world, "dana").await;
    until_told(&world, "carl").await;
    assert!(!is_told(&world, "ann").await, "she was told, as far as the database knows");
    drop(blind);

    let mut reads = world.client("ann", Encoding::Json).await;
    let again = search(&mut reads, "female", "male").await;
    assert_eq!(again, (wait.0, TicketState::Matched), "another search has begun");
    tokio::spawn(async move { while reads.event().await.is_ok() {} });
    until_told(&world, "ann").await;
}

async fn search(client: &mut Client, gender: &str, wanted: &str) -> (String, TicketState) {
    let wants = [("gender", &[wanted][..])];
    let ticket = client.match_join(POOL, &[("gender", gender)], &wants).await.unwrap();
    (ticket.ticket_id.clone(), ticket.state())
}

async fn until_told(world: &World, user: &str) {
    eventually(SOON, "the outcome is known to be told", async || is_told(world, user).await).await;
}

async fn is_told(world: &World, user: &str) -> bool {
    let ledger = world.ledger().await;
    let told = ledger.texts("select user_id from mm_tickets where told = 1").await;
    ledger.close().await;
    told.iter().any(|other| other == user)
}

/// A socket of which the bytes are seen and no frame is read: it answers no
/// ping.
struct Blind {
    socket: WebSocketStream<TcpStream>,
    seen: Vec<u8>,
}

impl Blind {
    async fn greet(world: &World, user: &str) -> Self {
        let stream = TcpStream::connect(world.http()).await.unwrap();
        let (socket, _) = client_async(world.url(), stream).await.unwrap();
        let mut blind = Self { socket, seen: Vec::new() };
        blind.say(&json!({"id": 1, "hello": {"token": token(user)}})).await;
        blind.sees("\"welcome\"").await;
        blind
    }

    async fn say(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn sees(&mut self, text: &str) {
        while !self.seen.windows(text.len()).any(|seen| seen == text.as_bytes()) {
            let read = self.socket.get_mut().read_buf(&mut self.seen);
            let read = timeout(SOON, read).await.unwrap_or_else(|_| panic!("no {text}"));
            assert_ne!(read.unwrap(), 0, "closed before {text}");
        }
    }
}
