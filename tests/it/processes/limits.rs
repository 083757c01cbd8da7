//! One limit over three chat processes, on the log of Redis itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use mingle_proto::chat::v1::{
    CreateRoomRequest, RoomKind, SendRequest, SendResponse, chat_service_client::ChatServiceClient,
};
use mingle_testkit::{Deployment, Plan, eventually};
use tokio::{
    task::JoinSet,
    time::{Instant, interval},
};
use tonic::{Code, Response, Status, transport::Channel};

use super::{
    monitor::{Executed, Monitor},
    plan,
};
use crate::world::SOON;

pub(super) type Client = ChatServiceClient<Channel>;

pub(super) const QUOTA: usize = 30;
pub(super) const WINDOW: Duration = Duration::from_secs(6);
/// The log tells when a charge was written, in seconds: by so much later than
/// the time that it is counted at, on a machine that is busy.
const WRITTEN_LATE: f64 = 0.1;
/// More than two windows.
const TALK: Duration = Duration::from_secs(15);

/// What came of sends.
#[derive(Debug, Default)]
pub(super) struct Tally {
    sent: AtomicUsize,
    repeated: AtomicUsize,
    denied: AtomicUsize,
}

impl Tally {
    /// What was said was charged once, whatever else was tried.
    pub(super) fn assert_charged(&self, charges: &[f64]) {
        eprintln!("{self:?}; {} charges by Redis", charges.len());
        let [sent, repeated, denied] =
            [&self.sent, &self.repeated, &self.denied].map(|count| count.load(Relaxed));
        assert!(repeated > 0 && denied > QUOTA, "too little happened");
        // The last of each talker may have been charged and answered late.
        assert!((sent..=sent + 3).contains(&charges.len()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_limit_holds_over_three_chat_processes() {
    let plan = limited().env("MINGLE_RATELIMIT__LIMITS__CHAT_MESSAGE__WINDOW", "6s");
    let deployment = plan.start().await;
    let clients = clients(&deployment);
    let room = room(&mut clients[0].clone()).await;
    assert_failures_are_free(&clients, &room).await;

    let log = Monitor::start(deployment.redis()).await;
    let tally = talk(&clients, &room, TALK).await;
    let charges = charges(log, &deployment).await;
    tally.assert_charged(&charges);
    assert!(charges.len() > QUOTA, "one window only");
    for (first, beyond) in charges.iter().zip(&charges[QUOTA..]) {
        let apart = beyond - first;
        assert!(
            apart >= WINDOW.as_secs_f64() - WRITTEN_LATE,
            "{} charges within {apart} s",
            QUOTA + 1
        );
    }
}

/// Three chat processes, which admit nothing that Redis did not count, however
/// busy the machine is: who is answered late is denied.
pub(super) fn limited() -> Plan {
    plan()
        .count("chat", 3)
        .env("MINGLE_RATELIMIT__LIMITS__CHAT_MESSAGE__QUOTA", QUOTA.to_string())
        .env("MINGLE_CHAT__LIMIT__OUTAGE", "closed")
}

/// One for each chat process.
pub(super) fn clients(deployment: &Deployment) -> Vec<Client> {
    let client =
        |at| Client::new(Channel::from_shared(format!("http://{at}")).unwrap().connect_lazy());
    deployment.grpc("chat").iter().map(client).collect()
}

/// A room of ann and bob.
pub(super) async fn room(client: &mut Client) -> String {
    let request = CreateRoomRequest {
        actor: "ann".to_owned(),
        kind: RoomKind::Direct.into(),
        member_ids: vec!["ann".to_owned(), "bob".to_owned()],
        ..Default::default()
    };
    let answer =
        eventually(SOON, "a room", async || client.clone().create_room(request.clone()).await.ok());
    answer.await.into_inner().room.unwrap().room_id
}

pub(super) fn message(user: &str, room: &str, key: &str) -> SendRequest {
    SendRequest {
        actor: user.to_owned(),
        room_id: room.to_owned(),
        client_msg_id: key.to_owned(),
        body: format!("{key}!"),
        ..Default::default()
    }
}

/// Beyond the quota, or not counted in time.
pub(super) fn is_denied(status: &Status) -> bool {
    matches!(status.code(), Code::ResourceExhausted | Code::Unavailable)
}

/// More refused sends than the quota, then as many good ones as it admits.
async fn assert_failures_are_free(clients: &[Client], room: &str) {
    let nowhere = "0190b0c1-8a2e-7000-8000-000000000000";
    let lost = (0..2 * QUOTA).map(|n| (message("bob", nowhere, &format!("lost-{n}")), false));
    let good = (0..QUOTA).map(|n| (message("bob", room, &format!("bob-{n}")), true));
    let mut denied = 0;
    for (n, (request, is_good)) in lost.chain(good).enumerate() {
        let mut client = clients[n % clients.len()].clone();
        let answer = eventually(SOON, "an answer in time", async || {
            let answer = client.send(request.clone()).await.map(drop);
            let late = answer.as_ref().is_err_and(is_denied);
            denied += usize::from(late);
            (!late).then_some(answer)
        });
        match answer.await {
            Ok(()) => assert!(is_good),
            Err(status) => assert!(!is_good && status.code() == Code::NotFound, "{status:?}"),
        }
    }
    // Beyond a quota everybody is denied for most of a window.
    assert!(denied < QUOTA, "{denied} denied");
}

/// Ann sends by all processes at once, for so long.
pub(super) async fn talk(clients: &[Client], room: &str, time: Duration) -> Tally {
    let tally = Arc::new(Tally::default());
    let end = Instant::now() + time;
    let mut talking = JoinSet::new();
    for at in 0..clients.len() {
        let mut clients = clients.to_vec();
        clients.rotate_left(at);
        talking.spawn(talk_by(clients, room.to_owned(), at, (end, tally.clone())));
    }
    talking.join_all().await;
    Arc::into_inner(tally).unwrap()
}

/// Sends by the first process and repeats some of it by the second.
async fn talk_by(
    mut clients: Vec<Client>,
    room: String,
    who: usize,
    (end, tally): (Instant, Arc<Tally>),
) {
    let mut pace = interval(Duration::from_millis(25));
    let mut number = 0;
    while Instant::now() < end {
        pace.tick().await;
        let request = message("ann", &room, &format!("{who}-{number}"));
        let sent = if number % 4 == 2 {
            send_to_two(&clients, &request).await
        } else {
            clients[0].send(request.clone()).await
        };
        match sent {
            Ok(first) => {
                tally.sent.fetch_add(1, Relaxed);
                if number % 4 == 0 {
                    let again = clients[1].send(request).await.unwrap();
                    assert_eq!(again.into_inner().seq, first.into_inner().seq);
                    tally.repeated.fetch_add(1, Relaxed);
                }
                number += 1;
            }
            Err(status) => {
                assert!(is_denied(&status), "{status:?}");
                tally.denied.fetch_add(1, Relaxed);
            }
        }
    }
}

/// The same at once: who pays and who writes are not always the same one.
async fn send_to_two(
    clients: &[Client],
    request: &SendRequest,
) -> Result<Response<SendResponse>, Status> {
    let [mut one, mut other] = [clients[0].clone(), clients[1].clone()];
    match tokio::join!(one.send(request.clone()), other.send(request.clone())) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first.get_ref().seq, second.get_ref().seq);
            Ok(first)
        }
        (Ok(sent), Err(status)) | (Err(status), Ok(sent)) => {
            assert!(is_denied(&status), "{status:?}");
            Ok(sent)
        }
        (Err(status), Err(_)) => Err(status),
    }
}

/// When each charge was made, in seconds of Redis's clock.
pub(super) async fn charges(log: Monitor, deployment: &Deployment) -> Vec<f64> {
    let executed = log.end(deployment.redis()).await;
    // A charge that is made is written once, by the script.
    let is_charge = |it: &&Executed| {
        it.is_nested && it.name() == "SET" && it.text.contains("\"1 chat_message|")
    };
    executed.iter().filter(is_charge).map(|it| it.at).collect()
}
