//! The main job at size: strangers of all kinds join over real sockets, some
//! leave, and whoever is matched talks. The database is counted afterwards.

use std::sync::Arc;

use futures::future::join_all;
use mingle_client::ws::{
    Client, Encoding,
    proto::{Matched, Position, TicketState, server_frame::Kind},
};
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::json;
use tokio::{sync::watch, time::timeout};

use crate::{
    again::again,
    http,
    ledger::Ledger,
    nemesis,
    seekers::{self, GENDERS, Seeker},
    world::{SOON, World, greet, number},
};

const USERS: usize = 1000;
const SAID: u64 = 3;
/// How it ended for somebody.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Cancelled,
    Talked(String),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_strangers_meet_in_pairs_and_talk() {
    let seed = nemesis::seed();
    eprintln!("MINGLE_TEST_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let world = World::start().await;
    let people: Arc<Vec<_>> =
        Arc::new((0..USERS).map(|number| Seeker::random(number, &GENDERS, &mut dice)).collect());
    let (tell, _) = watch::channel(false);
    let lives: Vec<_> = (0..USERS)
        .map(|who| {
            let (people, url, over) = (people.clone(), world.url(), tell.subscribe());
            tokio::spawn(
                async move { live(&url, &people[who], Encoding::ALL[who % 2], over).await },
            )
        })
        .collect();

    let ledger = world.ledger().await;
    seekers::until_alone(&ledger, &people).await;
    tell.send_replace(true);
    let ends: Vec<End> = join_all(lives).await.into_iter().map(Result::unwrap).collect();

    let matched = seekers::assert_tickets(&ledger, USERS).await;
    let talked = ends.iter().filter(|end| matches!(end, End::Talked(_))).count();
    assert_eq!(talked as i64, matched);
    for (pair, room) in seekers::assert_fitting(&ledger, &people).await {
        // Both were told the same room.
        let talked = End::Talked(room);
        assert!(pair.iter().all(|who| ends[*who] == talked), "{pair:?}: {talked:?}");
    }
    assert_conversations(&ledger, &world, matched / 2).await;
    world.assert_meshed(&["ratelimit", "presence", "matchmaking", "chat"]);
    ledger.close().await;
}

/// One user: joins, leaves or waits, and talks to whoever is found.
async fn live(
    url: &str,
    person: &Seeker,
    encoding: Encoding,
    mut over: watch::Receiver<bool>,
) -> End {
    let mut client = greet(url, &person.name, encoding, None).await.unwrap();
    let wants: &[(&str, &[&str])] = &[("gender", &person.wants)];
    let attributes = [("gender", person.gender)];
    let ticket = again!(client.match_join("random-chat", &attributes, wants));
    if !ticket.room_id.is_empty() {
        // One that was refused had been done; this answer stands for the event.
        return talk(&mut client, &ticket.room_id).await;
    }
    if !person.fickle {
        let matched = tokio::select! {
            matched = matched(&mut client) => Some(matched),
            _ = over.wait_for(|over| *over) => None,
        };
        if let Some(matched) = matched {
            return talk(&mut client, &matched.room_id).await;
        }
    }
    let left = again!(client.match_leave(&ticket.ticket_id));
    match left.state() {
        TicketState::Cancelled => End::Cancelled,
        TicketState::Matched => {
            let matched = timeout(SOON, matched(&mut client)).await.expect("a match in time");
            talk(&mut client, &matched.room_id).await
        }
        state => panic!("{person:?}: a ticket that was left is {state:?}"),
    }
}

async fn matched(client: &mut Client) -> Matched {
    let pick = |event: &Kind| match event {
        Kind::Matched(matched) => Some(matched.clone()),
        _ => None,
    };
    // However long it takes: who is never matched is told to leave.
    client.event_where(pick).await.unwrap()
}

/// Says three things and hears three.
async fn talk(client: &mut Client, room: &str) -> End {
    let own = client.welcome().unwrap().user_id.clone();
    // The partner may have been faster: from the first event on.
    again!(client.room_join(room, Some(Position::default())));
    for number in 0..SAID {
        let (id, body) = (format!("m{number}"), format!("{own} says {number}"));
        again!(client.send(room, &id, &body));
    }
    let (mut said, mut heard, mut seq) = (0, 0, 0);
    while said < SAID || heard < SAID {
        let message = client.event_where(|event| match event {
            Kind::Message(message) => Some(message.clone()),
            _ => None,
        });
        let message = timeout(SOON, message).await.expect("a message in time").unwrap();
        assert!(message.seq > seq, "{} after {seq}", message.seq);
        seq = message.seq;
        let count = if message.sender_id == own { &mut said } else { &mut heard };
        assert_eq!(message.body, format!("{} says {count}", message.sender_id));
        *count += 1;
    }
    End::Talked(room.to_owned())
}

/// Each message is there once, and the logs have no hole.
async fn assert_conversations(ledger: &Ledger, world: &World, rooms: i64) {
    ledger.assert_gapless().await;
    let said = rooms * 2 * SAID as i64;
    for sql in [
        "select count(*) from chat_log where kind = 1",
        "select count(*) from (select distinct room_id, actor, client_msg_id, body from chat_log
         where kind = 1 and body = actor || ' says ' || substr(client_msg_id, 2)) said",
    ] {
        assert_eq!(ledger.count(sql).await, said, "{sql}");
    }
    let user = &ledger.texts("select actor from chat_log where kind = 1 limit 1").await[0];
    // The same, as the user reads it with a token of the process itself.
    let body = json!({"userId": user});
    let made = http::post(world.http(), "/api/dev/token", "", &body).await.ok();
    let token = made["token"].as_str().unwrap();
    let listed = http::get(world.http(), "/api/rooms", token).await.ok();
    let room = &listed["rooms"][0];
    let messages = world.history(user, room["roomId"].as_str().unwrap()).await;
    assert_eq!(messages.len() as u64, 2 * SAID);
    assert!(number(&room["headSeq"]) >= 2 * SAID, "{room}");
}
