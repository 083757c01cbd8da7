//! Clients that never read, in a busy room: closed as slow, at a bounded cost,
//! while nobody else notices; and nothing is lost to them.

use futures::{StreamExt as _, future::join_all};
use mingle_client::ws::{
    Client, Encoding,
    close::Close,
    proto::{
        ClientFrame, Hello, Position, Resume, RoomJoin, RoomPosition, ServerFrame, client_frame,
        server_frame::Kind,
    },
};
use mingle_testkit::eventually;
use prost::Message as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _, http::header::SEC_WEBSOCKET_PROTOCOL},
};

use crate::{
    http,
    ledger::Ledger,
    world::{SOON, World, greet, logged, next_event, token},
};

const SLOW: usize = 8;
const READERS: usize = 3;
const WRITERS: usize = 4;
/// Of the slow ones, those that come back.
const RESUMED: usize = 2;
const BODY: usize = 8 * 1024;
const OUTBOUND: usize = 128 * 1024;
/// What one writer says in one round of everybody reading.
const ROUND: usize = 25;
/// Rounds at most until each slow one is found out: the kernel's buffers must
/// be full first.
const ROUNDS: usize = 200;
/// Rounds before anybody is slow.
const WARM: usize = 8;
/// Beside the queues: pages of the database, buffers of sockets, the allocator.
const SLACK_KIB: u64 = 16 * 1024;

type Slow = WebSocketStream<TcpStream>;

/// A busy room: who writes, who reads, and who is to be slow.
struct Crowd {
    world: World,
    room: String,
    writers: Vec<Client>,
    /// Each with the last seq it saw.
    readers: Vec<(Client, u64)>,
    rounds: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_is_closed_and_resumes_whole() {
    let mut crowd = Crowd::gather().await;
    // The process at work, before anybody is slow.
    for _ in 0..WARM {
        crowd.round().await;
    }
    let before = crowd.world.mingle().rss_kib();
    let mut dozing = Vec::new();
    for number in 0..SLOW {
        dozing.push(doze(&crowd.world, &format!("slow-{number}"), &crowd.room).await);
    }
    let (mut most, mut found) = (before, 0);
    while found < SLOW {
        assert!(crowd.rounds < ROUNDS, "{found} of {SLOW} were found slow");
        crowd.round().await;
        most = most.max(crowd.world.mingle().rss_kib());
        found = metric(&crowd.world, "mingle_gateway_slow_sockets_total").await;
    }
    eprintln!("{} rounds; resident {before} KiB, then at most {most} KiB", crowd.rounds);
    let bound = (SLOW * OUTBOUND) as u64 / 1024 + SLACK_KIB;
    assert!(most - before < bound, "{before} KiB grew to {most} KiB, by more than {bound} KiB");

    // One of them does not even read why.
    let asleep = dozing.pop().unwrap();
    let log = crowd.log().await;
    for (number, socket) in dozing.into_iter().enumerate() {
        let (resume_token, mut seen) = wake(socket).await;
        let missed = log.len() as u64 - seen[seen.len() - 1].seq;
        assert!(missed > 0, "slow-{number} read everything");
        if number < RESUMED {
            let resume = Resume { token: resume_token, rooms: after(&crowd.room, &seen) };
            let user = format!("slow-{number}");
            seen.extend(catch_up(&crowd.world, &user, resume, missed).await);
        }
        let joined = seen[0].seq as usize - 1;
        assert_eq!(seen, log[joined..joined + seen.len()], "slow-{number} saw another log");
        assert!(number >= RESUMED || joined + seen.len() == log.len());
    }
    let gone = async || metric(&crowd.world, "mingle_gateway_sockets").await <= READERS + WRITERS;
    eventually(SOON, "the slow sockets are gone", gone).await;
    drop(asleep);
}

impl Crowd {
    async fn gather() -> Self {
        let bound = ("MINGLE_GATEWAY__LIMITS__OUTBOUND_BYTES", OUTBOUND.to_string());
        let world = World::from(World::builder().env(bound.0, bound.1)).await;
        let names = |kind: &str, amount| (0..amount).map(|n| format!("{kind}-{n}")).collect();
        let names: [Vec<String>; 3] =
            [names("writer", WRITERS), names("reader", READERS), names("slow", SLOW)];
        let members: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
        let room = world.room(&members).await;
        let (mut writers, mut readers) = (Vec::new(), Vec::new());
        for user in &names[0] {
            writers.push(world.client(user, Encoding::Proto).await);
        }
        for user in &names[1] {
            let mut client = world.client(user, Encoding::Json).await;
            client.room_join(&room, Some(Position::default())).await.unwrap();
            readers.push((client, 0));
        }
        Self { world, room, writers, readers, rounds: 0 }
    }

    /// Each writer says a round's worth; each reader then has seen it all, each
    /// event once and in order.
    async fn round(&mut self) {
        let (room, round, body) = (&self.room, self.rounds, &"x".repeat(BODY));
        join_all(self.writers.iter_mut().map(|client| async move {
            for number in 0..ROUND {
                client.send(room, &format!("{round}-{number}"), body).await.unwrap();
            }
        }))
        .await;
        self.rounds += 1;
        // The members' joining came first.
        let events = SLOW + READERS + WRITERS + self.rounds * ROUND * WRITERS;
        join_all(self.readers.iter_mut().map(|(client, at)| async move {
            while *at < events as u64 {
                let event = next_event(client).await.unwrap();
                let Some((_, position)) = logged(&event) else { continue };
                assert_eq!(position.seq, *at + 1);
                *at = position.seq;
            }
        }))
        .await;
    }

    /// The room's log, from the database.
    async fn log(&self) -> Vec<Position> {
        let ledger = Ledger::open(self.world.mingle().data_dir()).await;
        let rows = ledger.room(&self.room).await;
        ledger.close().await;
        rows.into_iter().map(|row| row.position).collect()
    }
}

/// A socket that joins the room with little room for what comes, and then
/// reads nothing.
async fn doze(world: &World, user: &str, room: &str) -> Slow {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(world.http()).await.unwrap();
    let mut request = world.url().into_client_request().unwrap();
    let proto = Encoding::Proto.subprotocol().parse().unwrap();
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, proto);
    let (mut socket, _) = client_async(request, stream).await.unwrap();
    let hello = Hello { token: token(user), resume: None };
    let join = RoomJoin { room_id: room.to_owned(), after: None };
    let requests = [client_frame::Kind::Hello(hello), client_frame::Kind::RoomJoin(join)];
    for (id, kind) in (1..).zip(requests) {
        let frame = ClientFrame { id, kind: Some(kind) };
        let message = Message::binary(frame.encode_to_vec());
        futures::SinkExt::send(&mut socket, message).await.unwrap();
    }
    socket
}

/// Reads what is left, to the close, which says why. Answers the token to
/// resume with, and what was seen of the log.
async fn wake(mut socket: Slow) -> (String, Vec<Position>) {
    let (mut resume_token, mut seen) = (String::new(), Vec::new());
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => {
                let frame = ServerFrame::decode(bytes).unwrap();
                match frame.kind.unwrap() {
                    Kind::Welcome(welcome) => resume_token = welcome.resume_token,
                    event => seen.extend(logged(&event).map(|(_, position)| position)),
                }
            }
            Some(Ok(Message::Close(Some(frame)))) => {
                assert_eq!(u16::from(frame.code), Close::Slow.code(), "{frame}");
                return (resume_token, seen);
            }
            Some(Ok(_)) => {}
            end => panic!("no close: {end:?}"),
        }
    }
}

fn after(room: &str, seen: &[Position]) -> Vec<RoomPosition> {
    vec![RoomPosition { room_id: room.to_owned(), after: seen.last().cloned() }]
}

/// Resumes and reads what was missed.
async fn catch_up(world: &World, user: &str, resume: Resume, missed: u64) -> Vec<Position> {
    let resumed = greet(&world.url(), user, Encoding::Json, Some(resume)).await;
    let mut client = resumed.unwrap();
    let room = &client.welcome().unwrap().rooms[0];
    assert!(room.recovered, "{room:?}");
    let mut seen = Vec::new();
    while (seen.len() as u64) < missed {
        let event = next_event(&mut client).await.unwrap();
        seen.extend(logged(&event).map(|(_, position)| position));
    }
    client.close().await.unwrap();
    seen
}

/// The value of a metric of the process; 0 before it is first counted.
async fn metric(world: &World, name: &str) -> usize {
    let text = http::get(world.mingle().probes_addr(), "/metrics", "").await.text;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    value.unwrap_or_default() as usize
}
