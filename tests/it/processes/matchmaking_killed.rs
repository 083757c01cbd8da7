//! `kill -9` of matchmaking while strangers join and leave through both
//! processes. What came of it is read by SQL.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::future::join_all;
use mingle_proto::matchmaking::v1::{
    CancelTicketRequest, CreateTicketRequest, GetTicketRequest, Liveness, Ticket, TicketState,
    Wanted, matchmaking_service_client::MatchmakingServiceClient,
};
use mingle_testkit::eventually;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::{Semaphore, watch},
    time::interval,
};
use tonic::{Code, Request, Status, transport::Channel};

use super::plan;
use crate::{
    ledger::Ledger,
    nemesis,
    seekers::{self, Seeker},
    world::SOON,
};

type Client = MatchmakingServiceClient<Channel>;

const KILLS: usize = 5;
/// Users who are on their way at the same time.
const AT_ONCE: usize = 60;
/// Between two tries of one call.
const PAUSE: Duration = Duration::from_millis(100);
/// More of one kind than the others look for: some wait in vain.
const MANY_MALE: [&str; 5] = ["male", "male", "male", "female", "other"];

fn users() -> usize {
    if std::env::var_os("MINGLE_SOAK").is_some() { 10_000 } else { 2_000 }
}

fn request(seeker: &Seeker) -> CreateTicketRequest {
    let values = seeker.wants.iter().map(|it| (*it).to_owned()).collect();
    CreateTicketRequest {
        actor: seeker.name.clone(),
        pool: "random-chat".to_owned(),
        attributes: [("gender".to_owned(), seeker.gender.to_owned())].into(),
        wants: [("gender".to_owned(), Wanted { values })].into(),
        liveness: Liveness::Lease.into(),
        ..Default::default()
    }
}

/// What a test counts while it runs.
#[derive(Default)]
struct Tally {
    joined: AtomicUsize,
    retried: AtomicUsize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_matchmaking_matches_nobody_twice_and_forgets_nobody() {
    let seed = nemesis::seed();
    eprintln!("MINGLE_TEST_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut people: Vec<_> =
        (0..users()).map(|number| Seeker::random(number, &MANY_MALE, &mut dice)).collect();
    for male in people.iter_mut().filter(|it| it.gender == "male") {
        male.wants = vec!["female"];
    }
    // A long lease: these users wait without a word.
    let mut deployment =
        plan().env("MINGLE_MATCHMAKING__POOLS__RANDOM-CHAT__LEASE_MS", "600000").start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let clients: Vec<Client> = deployment
        .grpc("matchmaking")
        .iter()
        .map(|at| {
            let endpoint = Channel::from_shared(format!("http://{at}")).unwrap();
            Client::new(endpoint.connect_timeout(Duration::from_secs(2)).connect_lazy())
        })
        .collect();
    let tally = Arc::new(Tally::default());
    let turn = Arc::new(Semaphore::new(AT_ONCE));
    let (end, over) = watch::channel(false);
    let lives: Vec<_> = people
        .iter()
        .cloned()
        .enumerate()
        .map(|(at, person)| {
            let mut clients = clients.clone();
            clients.rotate_left(at % 2);
            let (tally, turn, over) = (tally.clone(), turn.clone(), over.clone());
            tokio::spawn(live(person, clients, tally, turn, over))
        })
        .collect();
    for kill in 0..KILLS {
        let enough = people.len() * (kill + 1) / (KILLS + 1);
        eventually(SOON * 3, "many joined", async || tally.joined.load(Relaxed) >= enough).await;
        let victim = dice.random_range(0..2);
        eprintln!("kill {kill}: matchmaking {victim}");
        deployment.kill_and_restart("matchmaking", victim).await;
    }
    seekers::until_alone(&ledger, &people).await;
    end.send_replace(true);
    let ends: Vec<Ticket> = join_all(lives).await.into_iter().map(Result::unwrap).collect();

    let retried = tally.retried.load(Relaxed);
    eprintln!("{retried} calls were made again");
    assert!(retried > 0, "no call met a killed process");
    let matched = seekers::assert_tickets(&ledger, people.len()).await;
    let told = ends.iter().filter(|end| end.state() == TicketState::Matched).count();
    assert_eq!(told as i64, matched, "an answer said matched and the rows do not");
    for (pair, room) in seekers::assert_fitting(&ledger, &people).await {
        for end in pair.map(|who| &ends[who]) {
            assert_eq!((end.state(), &end.room_id), (TicketState::Matched, &room), "{end:?}");
        }
    }
}

/// One user: joins, leaves or waits, and knows in the end how it ended.
async fn live(
    person: Seeker,
    mut clients: Vec<Client>,
    tally: Arc<Tally>,
    turn: Arc<Semaphore>,
    mut over: watch::Receiver<bool>,
) -> Ticket {
    let permit = turn.acquire().await.unwrap();
    let ticket = again(&mut clients, &tally, |mut client| {
        let request = within(request(&person));
        async move { Ok(client.create_ticket(request).await?.into_inner().ticket.unwrap()) }
    })
    .await;
    tally.joined.fetch_add(1, Relaxed);
    drop(permit);
    if !person.fickle {
        over.wait_for(|over| *over).await.unwrap();
    }
    let _permit = turn.acquire().await.unwrap();
    let ids = (person.name.clone(), ticket.ticket_id.clone());
    let cancelled = again(&mut clients, &tally, |mut client| {
        let request = CancelTicketRequest { actor: ids.0.clone(), ticket_id: ids.1.clone() };
        let request = within(request);
        async move { Ok(client.cancel_ticket(request).await?.into_inner().ticket.unwrap()) }
    })
    .await;
    if cancelled.state() != TicketState::Matched {
        return cancelled;
    }
    // The room of a match follows, by whichever process.
    let mut pace = interval(PAUSE);
    loop {
        pace.tick().await;
        let ticket = again(&mut clients, &tally, |mut client| {
            let (actor, ticket_id) = ids.clone();
            let request = within(GetTicketRequest { actor, ticket_id, wait_ms: 0 });
            async move { Ok(client.get_ticket(request).await?.into_inner().ticket.unwrap()) }
        })
        .await;
        if !ticket.room_id.is_empty() {
            return ticket;
        }
    }
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(5));
    request
}

/// Calls until there is an answer, at one process and then at the other.
async fn again<T, F>(clients: &mut [Client], tally: &Tally, call: impl Fn(Client) -> F) -> T
where
    F: Future<Output = Result<T, Status>>,
{
    let mut pace = interval(PAUSE);
    loop {
        pace.tick().await;
        let status = match call(clients[0].clone()).await {
            Ok(answer) => return answer,
            Err(status) => status,
        };
        let codes = [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled, Code::Unknown];
        assert!(codes.contains(&status.code()), "{status:?}");
        tally.retried.fetch_add(1, Relaxed);
        clients.rotate_left(1);
    }
}
