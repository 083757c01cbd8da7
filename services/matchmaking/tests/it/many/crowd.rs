//! Five hundred users join and cancel through two processes, one of which dies
//! on the way; what happened is counted by SQL.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{FutureExt as _, future::BoxFuture};
use mingle_proto::matchmaking::v1::{CancelTicketRequest, Ticket, TicketState};
use mingle_testkit::eventually;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::{task::JoinSet, time::timeout};
use tonic::{Response, Status};

use super::Site;
use crate::world::{Client, PATIENCE, request};

const USERS: u64 = 500;
const GENDERS: [&str; 3] = ["female", "male", "other"];
const IMPATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// What one user asked for and was answered.
#[derive(Default)]
struct Diary {
    asked: BTreeMap<String, (&'static str, Vec<&'static str>)>,
    cancelled: BTreeMap<String, TicketState>,
}

/// The ways to the processes, and how often the first was of no use.
struct Ways {
    clients: Vec<Client>,
    retried: AtomicUsize,
    joined: AtomicUsize,
}

impl Ways {
    /// Asks one, then the other, as a caller's balancer does.
    async fn ask<T>(
        &self,
        rng: &mut StdRng,
        call: impl Fn(Client) -> BoxFuture<'static, Result<Response<T>, Status>>,
    ) -> T {
        let mut at = rng.random_range(0..self.clients.len());
        loop {
            match timeout(IMPATIENCE, call(self.clients[at].clone())).await {
                Ok(Ok(reply)) => return reply.into_inner(),
                Ok(Err(status)) if status.code() != tonic::Code::Unavailable => panic!("{status}"),
                _ => {
                    self.retried.fetch_add(1, Ordering::Relaxed);
                }
            }
            at = (at + 1) % self.clients.len();
        }
    }

    async fn join(&self, rng: &mut StdRng, user: &str, wish: (&str, &[&str])) -> Ticket {
        let request = request(user, wish.0, wish.1);
        let ask = |mut client: Client| {
            let request = request.clone();
            async move { client.create_ticket(request).await }.boxed()
        };
        let ticket = self.ask(rng, ask).await.ticket.unwrap();
        self.joined.fetch_add(1, Ordering::Relaxed);
        ticket
    }

    async fn cancel(&self, rng: &mut StdRng, ticket: &Ticket) -> TicketState {
        let (actor, ticket_id) = (ticket.user_id.clone(), ticket.ticket_id.clone());
        let request = CancelTicketRequest { actor, ticket_id };
        let ask = |mut client: Client| {
            let request = request.clone();
            async move { client.cancel_ticket(request).await }.boxed()
        };
        self.ask(rng, ask).await.ticket.unwrap().state()
    }
}

/// Joins, mostly changes their mind, and joins again, until matched or tired.
async fn stranger(ways: Arc<Ways>, user: u64) -> Diary {
    let mut rng = StdRng::seed_from_u64(user);
    let mut diary = Diary::default();
    let name = format!("user-{user:04}");
    for _ in 0..4 {
        let gender = *GENDERS.choose(&mut rng).unwrap();
        let mut wants: Vec<&str> = GENDERS.into_iter().filter(|_| rng.random_bool(0.5)).collect();
        wants.sort_unstable();
        let ticket = ways.join(&mut rng, &name, (gender, &wants)).await;
        diary.asked.insert(ticket.ticket_id.clone(), (gender, wants));
        if rng.random_bool(0.4) {
            return diary;
        }
        let ended = ways.cancel(&mut rng, &ticket).await;
        diary.cancelled.insert(ticket.ticket_id, ended);
        if ended == TicketState::Matched {
            return diary;
        }
    }
    diary
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_joins_through_two_processes_and_one_dies() {
    let site = Site::new().await;
    let (dies, lives) = (site.instance().await, site.instance().await);
    let clients = vec![dies.client.clone(), lives.client.clone()];
    let ways = Arc::new(Ways { clients, retried: 0.into(), joined: 0.into() });
    let mut tasks = JoinSet::new();
    for user in 0..USERS {
        tasks.spawn(stranger(ways.clone(), user));
    }
    let diaries = tokio::spawn(tasks.join_all());
    eventually(PATIENCE, "half of the crowd", async || {
        ways.joined.load(Ordering::Relaxed) as u64 > USERS / 2
    })
    .await;
    dies.kill();
    // And replies of the index are lost.
    while !diaries.is_finished() {
        let killed = site.redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        assert!(killed.parse::<u32>().is_ok(), "{killed}");
        tokio::task::yield_now().await;
    }
    let diaries = diaries.await.unwrap();
    assert!(ways.retried.load(Ordering::Relaxed) > 0, "nobody noticed the death");
    eventually(PATIENCE, "every match to have its room", async || {
        site.count("select count(*) from mm_matches where room_id is null").await == 0
    })
    .await;
    everybody_who_can_be_matched_is(&site).await;
    let matches = matches(&site).await;
    assert!(matches.len() > 60, "{} matches", matches.len());
    each_ticket_ended_as_its_owner_was_told(&site, &diaries).await;
    nobody_is_in_two_matches(&site, matches.len()).await;
    let asked: HashMap<_, _> = diaries.iter().flat_map(|diary| &diary.asked).collect();
    for tickets in matches.values() {
        let (one, other) = (asked[&tickets[0]], asked[&tickets[1]]);
        for (who, whom) in [(one, other), (other, one)] {
            assert!(who.1.is_empty() || who.1.contains(&whom.0), "{one:?} and {other:?}");
        }
    }
}

/// Who waits in the end, waits because nobody who waits is of use to them:
/// nobody was forgotten with the process, its proposals or its replies.
async fn everybody_who_can_be_matched_is(site: &Site) {
    let accepts = |who: &str, whom: &str| {
        format!(
            "({who}.wants::jsonb -> 'gender' is null or {who}.wants::jsonb -> 'gender' ? \
             ({whom}.attributes::jsonb ->> 'gender'))"
        )
    };
    let could = format!(
        "select count(*) from mm_tickets a join mm_tickets b on a.ticket_id < b.ticket_id
         where a.state = 'waiting' and b.state = 'waiting' and a.user_id <> b.user_id
           and {} and {}",
        accepts("a", "b"),
        accepts("b", "a"),
    );
    eventually(PATIENCE, "everybody who can be matched to be", async || {
        site.count(&could).await == 0
    })
    .await;
    let roomless = "select count(*) from mm_matches where room_id is null";
    eventually(PATIENCE, "the last rooms", async || site.count(roomless).await == 0).await;
    let rooms: BTreeSet<String> = site.chat.rooms().into_keys().collect();
    assert_eq!(rooms, matches(site).await.into_keys().collect(), "one room per match");
}

async fn matches(site: &Site) -> BTreeMap<String, Vec<String>> {
    let rows = site.sql("select match_id, ticket_ids from mm_matches").await;
    let row = |line: &str| {
        let (id, tickets) = line.split_once('|').unwrap();
        (id.to_owned(), serde_json::from_str(tickets).unwrap())
    };
    rows.lines().map(row).collect()
}

async fn each_ticket_ended_as_its_owner_was_told(site: &Site, diaries: &[Diary]) {
    let rows = site.sql("select ticket_id, state from mm_tickets").await;
    let states: HashMap<&str, &str> =
        rows.lines().map(|line| line.split_once('|').unwrap()).collect();
    let (mut won, mut lost) = (0, 0);
    for (ticket_id, told) in diaries.iter().flat_map(|diary| &diary.cancelled) {
        let state = states[ticket_id.as_str()];
        match told {
            TicketState::Cancelled => assert_eq!((state, won += 1).0, "cancelled"),
            TicketState::Matched => assert_eq!((state, lost += 1).0, "matched"),
            other => panic!("a cancel was answered {other:?}"),
        }
    }
    assert!(won > 0 && lost > 0, "cancels that won: {won}, that lost: {lost}");
    for ticket_id in diaries.iter().flat_map(|diary| diary.asked.keys()) {
        assert!(states.contains_key(ticket_id.as_str()), "an acknowledged ticket is a row");
    }
}

async fn nobody_is_in_two_matches(site: &Site, matches: usize) {
    for column in ["ticket_ids", "user_ids"] {
        let distinct = format!(
            "select count(distinct it) from mm_matches, json_array_elements_text({column}::json) it"
        );
        assert_eq!(site.count(&distinct).await, 2 * matches, "{column}");
    }
    let agree = "select count(*) from mm_tickets t join mm_matches m using (match_id)
                 where t.state = 'matched' and m.ticket_ids::jsonb ? t.ticket_id
                   and m.user_ids::jsonb ? t.user_id";
    assert_eq!(site.count(agree).await, 2 * matches, "rows and matches agree");
    let matched = "select count(*) from mm_tickets where state = 'matched'";
    assert_eq!(site.count(matched).await, 2 * matches);
}
