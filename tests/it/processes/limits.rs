//! One limit over three chat processes, on the log of Redis itself.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use mingle_proto::chat::v1::{
    CreateRoomRequest, RoomKind, SendRequest, chat_service_client::ChatServiceClient,
};
use mingle_testkit::{Deployment, eventually};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    task::{JoinHandle, JoinSet},
    time::{Instant, interval},
};
use tonic::{Code, transport::Channel};

use super::plan;
use crate::world::SOON;

type Client = ChatServiceClient<Channel>;

const QUOTA: usize = 30;
const WINDOW: Duration = Duration::from_secs(6);
/// More than two windows.
const TALK: Duration = Duration::from_secs(15);

#[derive(Default)]
struct Tally {
    sent: AtomicUsize,
    repeated: AtomicUsize,
    denied: AtomicUsize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_limit_holds_over_three_chat_processes() {
    let deployment = plan()
        .count("chat", 3)
        .env("MINGLE_RATELIMIT__LIMITS__CHAT_MESSAGE__QUOTA", QUOTA.to_string())
        .env("MINGLE_RATELIMIT__LIMITS__CHAT_MESSAGE__WINDOW", "6s")
        .env("MINGLE_CHAT__LIMIT__QUOTA", QUOTA.to_string())
        .env("MINGLE_CHAT__LIMIT__WINDOW_MS", WINDOW.as_millis().to_string())
        .start()
        .await;
    let clients: Vec<Client> = deployment
        .grpc("chat")
        .iter()
        .map(|at| Client::new(Channel::from_shared(format!("http://{at}")).unwrap().connect_lazy()))
        .collect();
    let room = room(&mut clients[0].clone()).await;
    assert_failures_are_free(&clients, &room).await;

    let log = Log::start(&deployment).await;
    let tally = Arc::new(Tally::default());
    let mut talking = JoinSet::new();
    for at in 0..clients.len() {
        let mut clients = clients.clone();
        clients.rotate_left(at);
        talking.spawn(talk(clients, room.clone(), at, tally.clone()));
    }
    while let Some(talked) = talking.join_next().await {
        talked.unwrap();
    }
    let charges = log.end(&deployment).await;
    let (sent, repeated) = (tally.sent.load(Relaxed), tally.repeated.load(Relaxed));
    eprintln!(
        "{sent} sent, {repeated} repeated, {} denied; {} charges by Redis",
        tally.denied.load(Relaxed),
        charges.len()
    );
    assert!(
        charges.len() > QUOTA
            && charges.len() <= sent
            && repeated > 0
            && tally.denied.load(Relaxed) > 0
    );
    for (first, beyond) in charges.iter().zip(&charges[QUOTA..]) {
        let apart = beyond - first;
        assert!(apart >= WINDOW.as_secs_f64(), "{} charges within {apart} s", QUOTA + 1);
    }
}

async fn room(client: &mut Client) -> String {
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

fn message(user: &str, room: &str, key: &str) -> SendRequest {
    SendRequest {
        actor: user.to_owned(),
        room_id: room.to_owned(),
        client_msg_id: key.to_owned(),
        body: format!("{key}!"),
        ..Default::default()
    }
}

/// More refused sends than the quota, then as many good ones as it admits.
async fn assert_failures_are_free(clients: &[Client], room: &str) {
    let nowhere = "0190b0c1-8a2e-7000-8000-000000000000";
    for n in 0..2 * QUOTA {
        let mut client = clients[n % clients.len()].clone();
        let refused = client.send(message("bob", nowhere, &format!("lost-{n}"))).await;
        assert_eq!(refused.unwrap_err().code(), Code::NotFound);
    }
    for n in 0..QUOTA {
        let mut client = clients[n % clients.len()].clone();
        client.send(message("bob", room, &format!("bob-{n}"))).await.unwrap();
    }
}

/// Sends by one process and repeats some of it by another.
async fn talk(mut clients: Vec<Client>, room: String, who: usize, tally: Arc<Tally>) {
    let begin = Instant::now();
    let mut pace = interval(Duration::from_millis(25));
    let mut number = 0;
    while begin.elapsed() < TALK {
        pace.tick().await;
        let request = message("ann", &room, &format!("{who}-{number}"));
        match clients[0].send(request.clone()).await {
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
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                tally.denied.fetch_add(1, Relaxed);
            }
        }
    }
}

/// What Redis says that it executed, with its own times.
struct Log {
    monitor: Child,
    reading: JoinHandle<Vec<f64>>,
}

impl Log {
    async fn start(deployment: &Deployment) -> Self {
        let mut command = Command::new("redis-cli");
        command.args(["-u", &deployment.redis().url(), "MONITOR"]);
        let mut monitor = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(monitor.stdout.take().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("OK"));
        let reading = tokio::spawn(async move {
            let mut charges = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("END OF THE LOG") {
                    break;
                }
                // A charge that is made is written once, by the script.
                if line.contains(" lua] \"SET\"") && line.contains("\"1 chat_message|") {
                    charges.push(line.split(' ').next().unwrap().parse().unwrap());
                }
            }
            charges
        });
        Self { monitor, reading }
    }

    async fn end(mut self, deployment: &Deployment) -> Vec<f64> {
        assert_eq!(deployment.redis().cli(&["ECHO", "END OF THE LOG"]), "END OF THE LOG");
        let charges = self.reading.await.unwrap();
        self.monitor.kill().await.unwrap();
        charges
    }
}
