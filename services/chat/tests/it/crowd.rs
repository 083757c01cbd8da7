//! Many senders, some of them wrong, and the file that tells what happened.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use mingle_proto::chat::v1::{CloseRoomRequest, CreateRoomRequest, RoomKind, SendRequest};
use mingle_runtime::status::{Described, Kind};
use mingle_store::{bus::Memory, clock::Clock, sqlite::FILE};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sqlx::{ConnectOptions as _, Row as _, sqlite::SqliteConnectOptions};
use tokio::task::JoinSet;

use crate::stage::{Client, NEW_YEAR, Stage};

const TASKS: usize = 200;
const ROOMS: usize = 50;
const SENDS: usize = 20;
/// Rooms that close while others are still sent to.
const CLOSING: usize = 12;
/// What the database itself refuses, though everything before it would not.
const POISON: &str = "poison";

/// Another millisecond at each look, so that what was committed together
/// bears the same time, and nothing else does.
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now_ms(&self) -> i64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// What one sender wanted, and what it was told.
struct Told {
    request: SendRequest,
    member: bool,
    retried: bool,
    answer: Result<(String, u64), (Kind, String, String)>,
}

async fn rooms(client: &mut Client) -> Vec<String> {
    let mut rooms = Vec::new();
    for n in 0..ROOMS {
        let request = CreateRoomRequest {
            actor: format!("owner-{n}"),
            kind: RoomKind::Channel.into(),
            member_ids: (n % 2..TASKS).step_by(2).map(|task| format!("user-{task}")).collect(),
            ..Default::default()
        };
        let made = client.create_room(request).await.unwrap().into_inner();
        rooms.push(made.room.unwrap().room_id);
    }
    rooms
}

async fn tell(
    client: &mut Client,
    request: SendRequest,
) -> Result<(String, u64), (Kind, String, String)> {
    match client.send(request).await {
        Ok(sent) => {
            let sent = sent.into_inner();
            Ok((sent.message_id, sent.seq))
        }
        Err(status) => {
            let told = Described::from(&status);
            Err((told.kind, told.reason, told.field))
        }
    }
}

/// One sender: most of what it says is right.
async fn talk(mut client: Client, rooms: Arc<[String]>, task: usize) -> Vec<Told> {
    let mut rng = StdRng::seed_from_u64(task as u64);
    let mut told = Vec::new();
    for n in 0..SENDS {
        let member = !rng.random_bool(0.05);
        let room = 2 * rng.random_range(0..ROOMS / 2) + usize::from(member == (task % 2 == 1));
        let body = match rng.random_range(0..100) {
            0 => "nul \0".to_owned(),
            1 => POISON.to_owned(),
            _ => format!("{task} says {n}"),
        };
        let request = SendRequest {
            actor: format!("user-{task}"),
            room_id: rooms[room].clone(),
            client_msg_id: format!("{task}-{n}"),
            body,
            metadata: HashMap::new(),
        };
        let retried = rng.random_bool(0.1);
        let answer = if retried && rng.random_bool(0.5) {
            // At once, as if by two sockets: often the same batch.
            let mut other = client.clone();
            let (one, two) =
                tokio::join!(tell(&mut client, request.clone()), tell(&mut other, request.clone()));
            if let (Ok(one), Ok(two)) = (&one, &two) {
                assert_eq!(one, two, "one key, one message");
            }
            one.or(two)
        } else {
            let first = tell(&mut client, request.clone()).await;
            if retried {
                let again = tell(&mut client, request.clone()).await;
                assert!(first.is_err() || again == first, "{first:?} then {again:?}");
            }
            first
        };
        told.push(Told { request, member, retried, answer });
    }
    told
}

/// Closes its rooms, one whenever so much more was said.
async fn close(mut client: Client, rooms: &[String], stage: &Stage) {
    for (n, room_id) in rooms.iter().enumerate().take(CLOSING) {
        let enough = (n as i64 + 1) * (TASKS * SENDS / 2 / CLOSING) as i64;
        let said = "select count(*) from chat_log where kind = 1";
        let patience = std::time::Duration::from_secs(60);
        mingle_testkit::eventually(patience, "enough is said", async || {
            stage.count(said).await >= enough
        })
        .await;
        let request = CloseRoomRequest { actor: format!("owner-{n}"), room_id: room_id.clone() };
        client.close_room(request).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_message_is_once_or_refused_and_no_seq_is_missing() {
    let stage = Stage::new().await;
    let clock = Arc::new(Ticking(AtomicI64::new(NEW_YEAR)));
    let mut client = stage.serve_on(Arc::new(Memory::new()), clock, "").await.client;
    let rooms: Arc<[String]> = rooms(&mut client).await.into();
    poison(&stage).await;
    let mut senders = JoinSet::new();
    for task in 0..TASKS {
        senders.spawn(talk(client.clone(), rooms.clone(), task));
    }
    let ((), told) = tokio::join!(close(client, &rooms, &stage), senders.join_all());
    let told: Vec<Told> = told.into_iter().flatten().collect();

    assert_traffic(&told);
    assert_logs_are_whole(&stage).await;
    let acknowledged: BTreeMap<_, _> = told
        .iter()
        .filter_map(|told| {
            let (id, seq) = told.answer.as_ref().ok()?;
            let said = &told.request;
            Some((
                (said.room_id.clone(), *seq),
                (id.clone(), said.actor.clone(), said.body.clone()),
            ))
        })
        .collect();
    assert_eq!(stored(&stage).await, acknowledged, "once each, and nothing else");
    assert!(stage.count(TOGETHER).await > 0, "batches of several senders");
}

/// Commits that hold what several said.
const TOGETHER: &str = "select count(*) from (select 1 from chat_log where kind = 1
    group by sent_at having count(*) > 1 and count(distinct actor) > 1)";

#[tokio::test]
async fn a_batch_of_one_shares_nothing() {
    for (overrides, grouped) in [("[chat]\nappend_batch = 1", false), ("", true)] {
        let stage = Stage::new().await;
        let clock = Arc::new(Ticking(AtomicI64::new(NEW_YEAR)));
        let client = stage.serve_on(Arc::new(Memory::new()), clock, overrides).await.client;
        let rooms: Arc<[String]> = rooms(&mut client.clone()).await.into();
        let mut senders = JoinSet::new();
        for task in 0..20 {
            senders.spawn(talk(client.clone(), rooms.clone(), task));
        }
        let told = senders.join_all().await.into_iter().flatten();
        let said = told.filter(|told| told.answer.is_ok()).count() as i64;
        assert_eq!(stage.count("select count(*) from chat_log where kind = 1").await, said);
        assert_eq!(stage.count(TOGETHER).await > 0, grouped);
    }
}

/// The database refuses one body, whoever says it.
async fn poison(stage: &Stage) {
    let mut tx = stage.database.begin().await.unwrap();
    let trigger = "create trigger poison before insert on chat_log when new.body = 'poison'
        begin select raise(abort, 'poisoned'); end";
    sqlx::query(trigger).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

/// Each refusal is of the one kind that its request deserves, and each kind
/// of traffic was there.
fn assert_traffic(told: &[Told]) {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for Told { request, member, retried, answer } in told {
        *count.entry("retries").or_default() += usize::from(*retried);
        let case = match answer {
            Ok(_) => {
                assert!(*member && request.body != POISON && !request.body.contains('\0'));
                "acknowledged"
            }
            Err((Kind::Invalid, reason, field)) => {
                assert!(request.body.contains('\0') && reason == "MALFORMED" && field == "body");
                "nul"
            }
            Err((Kind::NotFound, reason, _)) => {
                assert!(!member && reason == "ROOM_NOT_FOUND");
                "strangers"
            }
            Err((Kind::Precondition, reason, _)) => {
                assert!(*member && reason == "ROOM_CLOSED");
                "late"
            }
            Err((Kind::Internal, _, _)) => {
                assert!(request.body == POISON, "a neighbour was harmed: {request:?}");
                "poison"
            }
            Err(other) => panic!("{other:?} for {request:?}"),
        };
        *count.entry(case).or_default() += 1;
    }
    let cases = ["acknowledged", "retries", "nul", "strangers", "late", "poison"];
    for case in cases {
        assert!(count.get(case).is_some_and(|count| *count > 5), "{case}: {count:?}");
    }
}

async fn assert_logs_are_whole(stage: &Stage) {
    let holes = "select count(*) from (select 1 from chat_log group by room_id
        having min(seq) <> 1 or max(seq) <> count(*) or count(distinct id) <> count(*))";
    assert_eq!(stage.count(holes).await, 0);
    let heads = "select count(*) from chat_rooms r where (head_seq, head_id) is not
        (select seq, id from chat_log l where l.room_id = r.room_id order by seq desc limit 1)
        or message_no <> (select count(*) from chat_log l where l.room_id = r.room_id and kind = 1)";
    assert_eq!(stage.count(heads).await, 0);
    let after_close = "select count(*) from chat_log l join chat_log c
        on c.room_id = l.room_id and c.kind = 6 and l.seq > c.seq";
    assert_eq!(stage.count(after_close).await, 0);
    assert_eq!(stage.count("select count(*) from chat_rooms where closed").await, CLOSING as i64);
}

type Place = (String, u64);
type Said = (String, String, String);

/// Every message that the file holds.
async fn stored(stage: &Stage) -> BTreeMap<Place, Said> {
    let options = SqliteConnectOptions::new().filename(stage.folder.path().join(FILE));
    let mut connection = options.read_only(true).connect().await.unwrap();
    let sql = "select room_id, seq, id, actor, body from chat_log where kind = 1";
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
    rows.iter()
        .map(|row| {
            let place = (row.get("room_id"), row.get::<i64, _>("seq") as u64);
            (place, (row.get("id"), row.get("actor"), row.get("body")))
        })
        .collect()
}
