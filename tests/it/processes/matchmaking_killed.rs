//! `kill -9` of matchmaking while strangers join and leave through both
//! processes. What came of it is read by SQL.

use std::{
    collections::BTreeMap,
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
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::{
    sync::{Semaphore, watch},
    time::interval,
};
use tonic::{Code, Request, Status, transport::Channel};

use super::plan;
use crate::{checker, ledger::Ledger, world::SOON};

type Client = MatchmakingServiceClient<Channel>;

const KILLS: usize = 5;
/// Users who are on their way at the same time.
const AT_ONCE: usize = 60;
/// Between two tries of one call.
const PAUSE: Duration = Duration::from_millis(100);
const GENDERS: [&str; 3] = ["female", "male", "other"];

fn users() -> usize {
    if std::env::var_os("MINGLE_SOAK").is_some() { 10_000 } else { 2_000 }
}

#[derive(Clone, Debug)]
struct Person {
    name: String,
    gender: &'static str,
    wants: Vec<String>,
    fickle: bool,
}

impl Person {
    fn random(number: usize, dice: &mut StdRng) -> Self {
        // More of one kind than the others look for: some wait in vain.
        let gender = ["male", "male", "male", "female", "other"].choose(dice).unwrap();
        let amount = dice.random_range(0..GENDERS.len());
        let wants: Vec<&str> = match *gender {
            "male" => vec!["female"],
            _ => GENDERS.choose_multiple(dice, amount).copied().collect(),
        };
        Self {
            name: format!("user-{number}"),
            gender,
            wants: wants.into_iter().map(str::to_owned).collect(),
            fickle: dice.random_bool(0.15),
        }
    }

    fn accepts(&self, other: &Self) -> bool {
        self.wants.is_empty() || self.wants.iter().any(|it| it == other.gender)
    }

    fn request(&self) -> CreateTicketRequest {
        CreateTicketRequest {
            actor: self.name.clone(),
            pool: "random-chat".to_owned(),
            attributes: [("gender".to_owned(), self.gender.to_owned())].into(),
            wants: [("gender".to_owned(), Wanted { values: self.wants.clone() })].into(),
            liveness: Liveness::Lease.into(),
            ..Default::default()
        }
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
    let seed = rand::random();
    eprintln!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let people: Vec<_> = (0..users()).map(|number| Person::random(number, &mut dice)).collect();
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
    eventually(SOON * 3, "only those are left whom nobody would meet", async || {
        let joined = ledger.count("select count(*) from mm_tickets").await;
        let waiting = ledger.texts("select user_id from mm_tickets where state = 'waiting'").await;
        joined >= people.len() as i64 && !anybody_matches(&people, &waiting)
    })
    .await;
    end.send_replace(true);
    let ends: Vec<Ticket> = join_all(lives).await.into_iter().map(Result::unwrap).collect();

    let retried = tally.retried.load(Relaxed);
    eprintln!("{retried} calls were made again");
    assert!(retried > 0, "no call met a killed process");
    assert_rows(&ledger, people.len() as i64).await;
    assert_ends(&ledger, &people, &ends).await;
}

/// One user: joins, leaves or waits, and knows in the end how it ended.
async fn live(
    person: Person,
    mut clients: Vec<Client>,
    tally: Arc<Tally>,
    turn: Arc<Semaphore>,
    mut over: watch::Receiver<bool>,
) -> Ticket {
    let permit = turn.acquire().await.unwrap();
    let ticket = again(&mut clients, &tally, |mut client| {
        let request = within(person.request());
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

fn anybody_matches(people: &[Person], waiting: &[String]) -> bool {
    let by_name: BTreeMap<_, _> = people.iter().map(|it| (it.name.as_str(), it)).collect();
    let waiting: Vec<_> = waiting.iter().map(|name| by_name[name.as_str()]).collect();
    waiting.iter().enumerate().any(|(at, one)| {
        waiting[at + 1..].iter().any(|other| one.accepts(other) && other.accepts(one))
    })
}

/// Each ticket in one final state, nobody in two matches, one room per match.
async fn assert_rows(ledger: &Ledger, users: i64) {
    let matched = ledger.count("select count(*) from mm_tickets where state = 'matched'").await;
    eprintln!("{matched} of {users} matched");
    assert!(matched > users / 4 && matched < users, "{matched} matched");
    for (sql, expected) in [
        ("select count(*) from mm_tickets", users),
        ("select count(distinct user_id) from mm_tickets", users),
        ("select count(*) from mm_tickets where ended_at is null", 0),
        ("select count(*) from mm_matches", matched / 2),
        ("select count(*) from chat_rooms", matched / 2),
        ("select count(*) from chat_members", matched),
    ] {
        assert_eq!(ledger.count(sql).await, expected, "{sql}");
    }
    let wrong = checker::check_matches(&ledger.rows().await);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Each pair accepts each other, and the answers are what the rows say.
async fn assert_ends(ledger: &Ledger, people: &[Person], ends: &[Ticket]) {
    let by_name: BTreeMap<_, _> = people.iter().map(|it| it.name.as_str()).zip(0..).collect();
    let sql = "select json_object('users', json(user_ids), 'room', room_id) from mm_matches";
    let mut told = 0;
    for found in ledger.texts(sql).await {
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        let who = |at: usize| by_name[found["users"][at].as_str().unwrap()];
        let (one, other) = (who(0), who(1));
        assert!(
            people[one].accepts(&people[other]) && people[other].accepts(&people[one]),
            "{:?} and {:?}",
            people[one],
            people[other]
        );
        for end in [&ends[one], &ends[other]] {
            assert_eq!(end.state(), TicketState::Matched, "{end:?}");
            assert_eq!(found["room"].as_str(), Some(end.room_id.as_str()));
            told += 1;
        }
    }
    let matched = ends.iter().filter(|end| end.state() == TicketState::Matched).count();
    assert_eq!(matched, told, "an answer said matched and the rows do not");
}
