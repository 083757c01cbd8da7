//! The index that is the rows: what it proposes, and to whom it listens.

use std::{any::Any, sync::Arc, time::Duration};

use mingle_matchmaking::{
    domain::{Content, Entry, Liveness, Pool, Position, State, Ticket},
    store::{
        Index, Lead, Pairing, Tickets,
        sql::{SqlIndex, SqlTickets},
    },
};
use mingle_store::{
    Database,
    clock::{Clock as _, ManualClock},
};

use crate::queue::{content, pool};

const POOL: &str = "test";
/// When everything begins.
const NOW: i64 = 1_000_000;

struct Rows {
    index: SqlIndex,
    tickets: SqlTickets,
    clock: Arc<ManualClock>,
    pool: Arc<Pool>,
    _dir: Box<dyn Any>,
}

macro_rules! suite {
    ($backend:ident, $open:expr) => {
        suite!($backend, $open;
            the_oldest_who_fits_is_proposed_however_many_do_not,
            who_met_a_short_while_ago_is_passed_over_until_both_waited,
            the_silent_are_passed_over_until_they_are_noted,
            leftovers_are_paired_page_by_page,
            one_leads_until_its_time_is_over,
        );
    };
    ($backend:ident, $open:expr; $($body:ident,)*) => {
        mod $backend {
            use super::*;
            $(#[tokio::test]
            async fn $body() {
                let (database, dir) = $open.await;
                super::$body(open(database, dir).await).await;
            })*
        }
    };
}

suite!(sqlite, open_sqlite());
suite!(postgres, open_postgres());

async fn open_sqlite() -> (Database, Box<dyn Any>) {
    let dir = tempfile::tempdir().unwrap();
    (crate::world::database(dir.path()).await.into(), Box::new(dir))
}

async fn open_postgres() -> (Database, Box<dyn Any>) {
    (crate::world::postgres().await, Box::new(()))
}

async fn open(database: Database, dir: Box<dyn Any>) -> Rows {
    let (pool, clock) = (pool(true), Arc::new(ManualClock::at(NOW)));
    let tickets = SqlTickets::open(database.clone()).await.unwrap();
    let pools = [(POOL.to_owned(), pool.clone())].into();
    let index = SqlIndex::new(database, pools, clock.clone());
    Rows { index, tickets, clock, pool, _dir: dir }
}

impl Rows {
    /// A user who waits, with a ticket of the same name.
    async fn waits(&self, user: &str, content: &Content, created_at: i64) -> Entry {
        self.joins(user, user, content, created_at).await
    }

    async fn joins(&self, id: &str, user: &str, content: &Content, created_at: i64) -> Entry {
        let ticket = Ticket {
            ticket_id: id.to_owned(),
            user_id: user.to_owned(),
            pool: POOL.to_owned(),
            content: content.clone(),
            state: State::Waiting,
            liveness: Liveness::Presence,
            lease_until: None,
            created_at,
            expires_at: i64::MAX,
            ended_at: None,
            of: None,
            told: false,
        };
        self.tickets.create(ticket, created_at).await.unwrap();
        Entry {
            position: Position { created_at, ticket_id: id.into() },
            user_id: user.into(),
            bucket: self.pool.bucket(content).unwrap(),
            recent: Arc::new([]),
            alive_at: Some(created_at),
            spared_until: 0,
        }
    }

    async fn proposed(&self, entry: &Entry) -> Option<Vec<String>> {
        let now = self.clock.now_ms();
        let proposal = self.index.enqueue(POOL, entry.clone(), now).await.unwrap()?;
        Some(proposal.entries.iter().map(|it| it.position.ticket_id.to_string()).collect())
    }

    async fn pair(&self, one: &str, other: &str) {
        let ticket_ids = vec![one.to_owned(), other.to_owned()];
        let pairing = Pairing { match_id: format!("{one}-{other}"), pool: POOL.into(), ticket_ids };
        self.tickets.pair(pairing, self.clock.now_ms()).await.unwrap();
        self.tickets.complete(&format!("{one}-{other}"), "room", NOW).await.unwrap();
        self.tickets.told(vec![one.to_owned(), other.to_owned()]).await.unwrap();
    }
}

async fn the_oldest_who_fits_is_proposed_however_many_do_not(rows: Rows) {
    for n in 0..100 {
        rows.waits(&format!("other{n}"), &content("m", &["o"]), NOW - 5_000).await;
    }
    let bob = rows.waits("bob", &content("m", &["f"]), NOW - 20).await;
    rows.waits("carl", &content("m", &[]), NOW - 10).await;
    let ann = rows.waits("ann", &content("f", &["m"]), NOW).await;
    assert_eq!(rows.proposed(&ann).await.unwrap(), ["bob", "ann"]);
    assert_eq!(rows.proposed(&bob).await.unwrap(), ["bob", "ann"], "nothing has left");
    rows.pair("bob", "ann").await;
    let eve = rows.waits("eve", &content("f", &["m"]), NOW).await;
    assert_eq!(rows.proposed(&eve).await.unwrap(), ["carl", "eve"]);
    assert_eq!(rows.index.len(POOL).await.unwrap(), 102);
    assert_eq!(rows.index.enqueue("nowhere", eve, NOW).await.unwrap(), None);
}

async fn who_met_a_short_while_ago_is_passed_over_until_both_waited(rows: Rows) {
    let any = content("f", &[]);
    for user in ["ann", "bob"] {
        rows.waits(user, &any, NOW).await;
    }
    rows.pair("ann", "bob").await;
    let again = NOW + 1_000;
    rows.clock.advance(again - NOW);
    for user in ["ann", "bob"] {
        rows.joins(&format!("{user}2"), user, &any, again).await;
    }
    let leftovers = async |now| rows.index.leftovers(POOL, now, 10).await.unwrap();
    assert_eq!(leftovers(again).await, []);
    let relaxed = again + rows.pool.rules().recent_partner_relax_ms;
    assert_eq!(leftovers(relaxed - 1).await, []);
    assert_eq!(leftovers(relaxed).await.len(), 1);
}

async fn the_silent_are_passed_over_until_they_are_noted(rows: Rows) {
    let alive_ms = rows.pool.rules().alive_ms;
    rows.waits("bob", &content("m", &[]), NOW - alive_ms).await;
    let ann = rows.waits("ann", &content("f", &[]), NOW).await;
    assert_eq!(rows.proposed(&ann).await, None);
    assert_eq!(rows.tickets.proved(0, 10).await.unwrap(), [""; 0]);
    rows.index.alive(&["bob".into(), "unknown".into()], NOW).await.unwrap();
    assert_eq!(rows.proposed(&ann).await.unwrap(), ["bob", "ann"]);
    assert_eq!(rows.tickets.proved(NOW - 1, 10).await.unwrap(), ["bob"]);
    assert_eq!(rows.tickets.proved(NOW, 10).await.unwrap(), [""; 0]);
    rows.clock.advance(alive_ms);
    assert_eq!(rows.proposed(&ann).await, None, "and nobody is there for ever");
}

async fn leftovers_are_paired_page_by_page(rows: Rows) {
    for n in 0..5 {
        rows.waits(&format!("w{n}"), &content("f", &["f"]), NOW + n).await;
    }
    let mut found = Vec::new();
    for _ in 0..3 {
        for proposal in rows.index.leftovers(POOL, NOW + 10, 2).await.unwrap() {
            let ids = proposal.entries.iter().map(|it| it.position.ticket_id.to_string());
            found.push(ids.collect::<Vec<_>>());
        }
    }
    assert_eq!(found, [["w0", "w1"], ["w2", "w3"]], "the fifth waits");
    let again = rows.index.leftovers(POOL, NOW + 10, 2).await.unwrap();
    assert_eq!(&*again[0].entries[0].user_id, "w0", "from the beginning");
}

async fn one_leads_until_its_time_is_over(rows: Rows) {
    let second = Duration::from_secs(1);
    let lead = async |holder| rows.index.lead(holder, second).await.unwrap();
    assert_eq!(lead("one").await, Lead::Held);
    rows.clock.advance(999);
    assert_eq!(lead("other").await, Lead::Another);
    assert_eq!(lead("one").await, Lead::Held);
    rows.clock.advance(1_000);
    assert_eq!(lead("other").await, Lead::Held);
    assert_eq!(lead("one").await, Lead::Another);
    rows.clock.advance(-3_600_000);
    assert_eq!(lead("one").await, Lead::Held, "the clock was set back");
    assert_eq!(lead("other").await, Lead::Another);
}

#[test]
fn every_bucket_has_one_content() {
    let pool = pool(true);
    for place in 0..pool.buckets() {
        let bucket = pool.bucket_at(place).unwrap();
        assert_eq!(pool.bucket(&pool.content(bucket).unwrap()), Some(bucket));
    }
}
