//! Clients that never read, in a busy room: closed as slow, at a bounded cost,
//! while nobody else notices; and nothing is lost to them.

use std::io::ErrorKind;

use futures::{
    StreamExt as _,
    future::{join, join_all},
};
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
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error as WsError, Message, client::IntoClientRequest as _, error::ProtocolError,
        http::header::SEC_WEBSOCKET_PROTOCOL,
    },
};

use crate::{
    http,
    ledger::Ledger,
    world::{SOON, World, greet, logged, next_event, token},
};

const WRITERS: usize = 4;
const BODY: usize = 8 * 1024;
const OUTBOUND: usize = 512 * 1024;
/// What one writer says in one round of everybody reading: all of them less than
/// the bound, so that nobody who reads is slow.
const ROUND: usize = 12;
/// Rounds at most until each slow one is found out: the kernel's buffers must
/// be full first.
const ROUNDS: usize = 20;
/// Rounds before anybody is slow.
const WARM: usize = 4;
/// Beside the queues: pages of the database, the allocator.
const SLACK_KIB: u64 = 16 * 1024;
/// A socket's own, beside its queue.
const SOCKET_KIB: u64 = 32;

pub(crate) type Slow = WebSocketStream<TcpStream>;

/// How many there are.
#[derive(Clone, Copy)]
struct Shape {
    rooms: usize,
    /// In each room.
    readers: usize,
    /// In each room.
    slow: usize,
    /// Of the slow ones, those that come back.
    resumed: usize,
}

impl Shape {
    /// A few, or 500 stalled of 3,000 readers.
    fn chosen() -> Self {
        if std::env::var_os("MINGLE_SOAK").is_some() {
            // A room is made with a hundred members at most.
            return Self { rooms: 32, readers: 79, slow: 16, resumed: usize::MAX };
        }
        Self { rooms: 1, readers: 3, slow: 48, resumed: 2 }
    }

    fn all_slow(self) -> usize {
        self.rooms * self.slow
    }
}

/// A busy room: who writes and who reads.
struct Room {
    id: String,
    writers: Vec<Client>,
    /// Each with the last seq it saw.
    readers: Vec<(Client, u64)>,
}

/// All of them, and how often everybody has said something.
struct Crowd {
    world: World,
    shape: Shape,
    rooms: Vec<Room>,
    rounds: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_is_closed_and_resumes_whole() {
    let shape = Shape::chosen();
    let mut crowd = Crowd::gather(shape).await;
    // The process at work, before anybody is slow.
    for _ in 0..WARM {
        crowd.round().await;
    }
    let before = crowd.world.mingle().rss_kib();
    let mut dozing = Vec::new();
    for number in 0..shape.all_slow() {
        let room = number % shape.rooms;
        let user = format!("slow-{room}-{}", number / shape.rooms);
        dozing.push((Stalled::at(&crowd.world, &user, &crowd.rooms[room].id).await, user, room));
    }
    let (mut most, mut found) = (before, 0);
    while found < shape.all_slow() {
        assert!(crowd.rounds < ROUNDS, "{found} of {} were found slow", shape.all_slow());
        crowd.round().await;
        most = most.max(crowd.world.mingle().rss_kib());
        found = metric(&crowd.world, "mingle_gateway_slow_sockets_total").await;
    }
    eprintln!(
        "{found} slow of {}; {} rounds; resident {before} KiB, then at most {most} KiB",
        shape.rooms * (shape.readers + shape.slow),
        crowd.rounds
    );
    let each = OUTBOUND as u64 / 1024 + SOCKET_KIB;
    let bound = shape.all_slow() as u64 * each + SLACK_KIB;
    assert!(most - before < bound, "{before} KiB grew to {most} KiB, by more than {bound} KiB");

    // One of them does not even read why.
    let asleep = dozing.pop().unwrap();
    let logs = crowd.logs().await;
    let (mut told, all) = (0, dozing.len());
    for (number, (stalled, user, room)) in dozing.into_iter().enumerate() {
        let (id, log) = (&crowd.rooms[room].id, &logs[room]);
        let missed = &log[stalled.joined.seq as usize..];
        let Stalled { resume_token, joined, .. } = &stalled;
        let (resume_token, joined) = (resume_token.clone(), joined.clone());
        let (is_told, mut seen) = stalled.wake().await;
        told += usize::from(is_told);
        assert!(seen.len() < missed.len(), "{user} read everything");
        if number < shape.resumed {
            let after = Some(seen.last().cloned().unwrap_or(joined));
            let rooms = vec![RoomPosition { room_id: id.clone(), after }];
            let resume = Resume { token: resume_token, rooms };
            let more = (missed.len() - seen.len()) as u64;
            seen.extend(catch_up(&crowd.world, &user, resume, more).await);
            assert_eq!(seen.len(), missed.len());
        }
        assert_eq!(seen, missed[..seen.len()], "{user} saw another log");
    }
    eprintln!("{told} of {all} read why they were closed");
    // Of hundreds, those found first sleep for longer than they are waited for.
    assert!(told == all || shape.resumed == usize::MAX, "{told} of {all}");
    let others = shape.rooms * (shape.readers + WRITERS);
    let gone = async || metric(&crowd.world, "mingle_gateway_sockets").await <= others;
    eventually(SOON, "the slow sockets are gone", gone).await;
    drop(asleep);
}

impl Crowd {
    async fn gather(shape: Shape) -> Self {
        let bound = ("MINGLE_GATEWAY__LIMITS__OUTBOUND_BYTES", OUTBOUND.to_string());
        let world = World::from(World::builder().env(bound.0, bound.1)).await;
        let mut rooms = Vec::new();
        for number in 0..shape.rooms {
            rooms.push(Room::fill(&world, number, shape).await);
        }
        Self { world, shape, rooms, rounds: 0 }
    }

    /// Each writer says a round's worth; each reader then has seen it all, each
    /// event once and in order.
    async fn round(&mut self) {
        let round = self.rounds;
        self.rounds += 1;
        // The members' joining came first.
        let members = self.shape.slow + self.shape.readers + WRITERS;
        let events = (members + self.rounds * ROUND * WRITERS) as u64;
        join_all(self.rooms.iter_mut().map(|room| room.talk(round, events))).await;
    }

    /// The rooms' logs, from the database.
    async fn logs(&self) -> Vec<Vec<Position>> {
        let ledger = Ledger::open(self.world.mingle().data_dir()).await;
        let mut rooms = ledger.rooms().await;
        ledger.close().await;
        let of_room = |room: &Room| rooms.remove(&room.id).unwrap();
        let logs = self.rooms.iter().map(of_room);
        logs.map(|rows| rows.into_iter().map(|row| row.position).collect()).collect()
    }
}

impl Room {
    async fn fill(world: &World, room: usize, shape: Shape) -> Self {
        let names = |kind: &str, amount| -> Vec<String> {
            (0..amount).map(|number| format!("{kind}-{room}-{number}")).collect()
        };
        let of_writers = names("writer", WRITERS);
        let of_readers = names("reader", shape.readers);
        let slow = names("slow", shape.slow);
        let members = [&of_writers[..], &of_readers, &slow].concat();
        let body = json!({"kind": "CHANNEL", "name": "busy", "memberIds": members});
        let made = http::post(world.http(), "/api/rooms", &token(&members[0]), &body).await.ok();
        let id = made["roomId"].as_str().unwrap().to_owned();
        let (mut writers, mut readers) = (Vec::new(), Vec::new());
        for user in &of_writers {
            writers.push(world.client(user, Encoding::Proto).await);
        }
        for user in &of_readers {
            let mut client = world.client(user, Encoding::Json).await;
            client.room_join(&id, Some(Position::default())).await.unwrap();
            readers.push((client, 0));
        }
        Self { id, writers, readers }
    }

    /// The readers read while the writers speak: the kernel would not keep it for
    /// thousands.
    async fn talk(&mut self, round: usize, events: u64) {
        join(speak(&mut self.writers, &self.id, round), hear(&mut self.readers, events)).await;
    }
}

async fn speak(writers: &mut [Client], room: &str, round: usize) {
    let body = &"x".repeat(BODY);
    join_all(writers.iter_mut().map(|client| async move {
        for number in 0..ROUND {
            client.send(room, &format!("{round}-{number}"), body).await.unwrap();
        }
    }))
    .await;
}

async fn hear(readers: &mut [(Client, u64)], events: u64) {
    join_all(readers.iter_mut().map(|(client, at)| async move {
        while *at < events {
            let event = next_event(client).await.unwrap();
            let Some((_, position)) = logged(&event) else { continue };
            assert_eq!(position.seq, *at + 1);
            *at = position.seq;
        }
    }))
    .await;
}

/// A socket that joins the room with little room for what comes, and then
/// reads nothing.
pub(crate) async fn doze(world: &World, user: &str, room: &str) -> Slow {
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
        let frame = ClientFrame { id, kind: Some(kind), ..ClientFrame::default() };
        let message = Message::binary(frame.encode_to_vec());
        futures::SinkExt::send(&mut socket, message).await.unwrap();
    }
    socket
}

/// A socket that is in its room and reads nothing more.
struct Stalled {
    socket: Slow,
    resume_token: String,
    joined: Position,
}

impl Stalled {
    async fn at(world: &World, user: &str, room: &str) -> Self {
        let mut socket = doze(world, user, room).await;
        let mut resume_token = String::new();
        loop {
            let Some(Ok(Message::Binary(bytes))) = socket.next().await else { continue };
            match ServerFrame::decode(bytes).unwrap().kind.unwrap() {
                Kind::Welcome(welcome) => resume_token = welcome.resume_token,
                Kind::Room(room) => {
                    let joined = Position { seq: room.head_seq, id: room.head_id };
                    return Self { socket, resume_token, joined };
                }
                other => panic!("{user}: {other:?}"),
            }
        }
    }

    /// Reads what is left. Answers what was seen of the log, and whether the
    /// close came that says why: the gateway does not wait for ever for it to be
    /// read.
    async fn wake(mut self) -> (bool, Vec<Position>) {
        let mut seen = Vec::new();
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Binary(bytes))) => {
                    let event = ServerFrame::decode(bytes).unwrap().kind.unwrap();
                    seen.extend(logged(&event).map(|(_, position)| position));
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    assert_eq!(u16::from(frame.code), Close::Slow.code(), "{frame}");
                    return (true, seen);
                }
                Some(Err(WsError::Io(error))) if error.kind() == ErrorKind::ConnectionReset => {
                    return (false, seen);
                }
                Some(Err(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                    return (false, seen);
                }
                Some(Ok(_)) => {}
                end => panic!("no close: {end:?}"),
            }
        }
    }
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
