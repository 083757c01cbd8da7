//! Random schedules: on Redis the same is proposed as in memory.

use std::sync::Arc;

use mingle_matchmaking::{
    domain::{Bucket, Entry, Pool, pool::Pools, queue::DEPTH},
    store::{Index, Span, memory::Memory},
};
use proptest::{prelude::*, test_runner::TestRunner};

use super::open_redis;
use crate::queue::{content, entry, pool};

const POOL: &str = "test";
const TICKETS: u8 = 40;
const CASES: u32 = 1_000;

#[derive(Clone, Debug)]
enum Step {
    Enqueue(Wish),
    Put(Vec<Wish>),
    Remove(u8),
    Alive(Vec<u8>),
    Pass(u16),
    Leftovers(u8),
    Silent(u8),
    Reconcile { from: Option<(u16, u8)>, to: (u16, u8), truth: Vec<(u16, u8)> },
}

#[derive(Clone, Debug)]
struct Wish {
    ticket: u8,
    user: u8,
    bucket: u8,
    back: u16,
    met: Vec<u8>,
    proof: Option<u16>,
    spare: u16,
}

fn wish() -> impl Strategy<Value = Wish> {
    let times = (0..6_000u16, prop::option::weighted(0.8, 0..12_000u16), 0..3_000u16);
    let people = (0..TICKETS, 0..12u8, any::<u8>(), prop::collection::vec(0..12u8, 0..4));
    (people, times).prop_map(|((ticket, user, bucket, met), (back, proof, spare))| Wish {
        ticket,
        user,
        bucket,
        back,
        met,
        proof,
        spare,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || (0..2_000u16, 0..TICKETS);
    let places = prop::collection::vec(place(), 0..6);
    let step = prop_oneof![
        8 => wish().prop_map(Step::Enqueue),
        3 => prop::collection::vec(wish(), 0..20).prop_map(Step::Put),
        1 => (0..TICKETS).prop_map(Step::Remove),
        2 => prop::collection::vec(0..TICKETS, 0..6).prop_map(Step::Alive),
        3 => (0..6_000u16).prop_map(Step::Pass),
        2 => (1..30u8).prop_map(Step::Leftovers),
        2 => (1..12u8).prop_map(Step::Silent),
        1 => (prop::option::of(place()), place(), places)
            .prop_map(|(from, to, truth)| Step::Reconcile { from, to, truth }),
    ];
    prop::collection::vec(step, 1..60)
}

fn id(ticket: u8) -> String {
    // Not in the order of the numbers, nor of any language.
    format!("{}-é{ticket}", ["b", "A", "a", "_"][usize::from(ticket % 4)])
}

fn make(pool: &Pool, wish: &Wish, now: i64) -> Entry {
    let bucket: Bucket = pool.bucket_at(usize::from(wish.bucket) % pool.buckets()).unwrap();
    // Many of the same millisecond.
    let created_at = (now - i64::from(wish.back)).max(0) / 500 * 500;
    let mut entry = entry(&id(wish.ticket), &format!("u\"{}", wish.user), bucket, created_at);
    entry.recent = wish.met.iter().map(|user| format!("u\"{user}")).collect();
    entry.alive_at = wish.proof.map(|ago| (now - i64::from(ago)).max(0));
    entry.spared_until = if wish.spare.is_multiple_of(2) { 0 } else { now + i64::from(wish.spare) };
    entry
}

/// What a step shows. Ids that the two disagree about are seen here.
async fn act(index: &dyn Index, pool: &Pool, step: &Step, now: i64) -> String {
    match step {
        Step::Enqueue(wish) => {
            format!("{:?}", index.enqueue(POOL, make(pool, wish, now), now).await.unwrap())
        }
        Step::Put(wishes) => {
            let entries = wishes.iter().map(|wish| make(pool, wish, now)).collect();
            format!("{:?}", index.put(POOL, entries).await.unwrap())
        }
        Step::Remove(ticket) => format!("{:?}", index.remove(POOL, &id(*ticket)).await.unwrap()),
        Step::Alive(tickets) => {
            let ids: Vec<String> = tickets.iter().map(|ticket| id(*ticket)).collect();
            format!("{:?}", index.alive(&ids, now).await.unwrap())
        }
        Step::Pass(_) => String::new(),
        Step::Leftovers(budget) => {
            format!("{:?}", index.leftovers(POOL, now, usize::from(*budget)).await.unwrap())
        }
        Step::Silent(budget) => {
            format!("{:?}", index.silent(POOL, now, usize::from(*budget)).await.unwrap())
        }
        Step::Reconcile { from, to, truth } => {
            let position = |(back, ticket): &(u16, u8)| {
                let wish = Wish { back: *back, ticket: *ticket, ..blank() };
                make(pool, &wish, now).position
            };
            let from = from.as_ref().map(position);
            let to = position(to);
            let inside = |it: &_| from.as_ref().is_none_or(|from| it > from) && *it <= to;
            let mut truth: Vec<_> = truth.iter().map(position).filter(inside).collect();
            truth.sort();
            truth.dedup();
            let span = Span { from: from.clone(), to: to.clone(), truth };
            if from.is_some_and(|from| from >= to) {
                return String::new();
            }
            format!("{:?}", index.reconcile(POOL, span).await.unwrap())
        }
    }
}

fn blank() -> Wish {
    Wish { ticket: 0, user: 0, bucket: 0, back: 0, met: Vec::new(), proof: None, spare: 0 }
}

#[derive(Default)]
struct Seen {
    proposals: usize,
    left_over: usize,
    silent: usize,
    missing: usize,
}

impl Seen {
    fn note(&mut self, step: &Step, shown: &str) {
        match step {
            Step::Enqueue(_) => self.proposals += shown.matches("Proposal ").count(),
            Step::Leftovers(_) => self.left_over += shown.matches("Proposal ").count(),
            Step::Silent(_) => self.silent += shown.matches("(\"").count(),
            Step::Reconcile { .. } => self.missing += shown.matches("Position ").count(),
            _ => {}
        }
    }
}

/// One Redis for all cases: before each, both are emptied by their own means.
fn the_same_is_proposed(mutual: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let pool = pool(mutual);
    let pools: mingle_matchmaking::domain::pool::Pools = [(POOL.to_owned(), pool.clone())].into();
    let redis: Arc<dyn Index> = runtime.block_on(open_redis(pools.clone()));
    let config =
        ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let seen = parking_lot::Mutex::new((Seen::default(), 1_000_000_i64));
    let run = TestRunner::new(config).run(&steps(), |steps| {
        let memory = Memory::new(&pools);
        let (seen, now) = &mut *seen.lock();
        runtime.block_on(async {
            for ticket in 0..TICKETS {
                redis.remove(POOL, &id(ticket)).await.unwrap();
            }
            // And to the beginning, where a new queue sweeps and asks from.
            assert_eq!(redis.leftovers(POOL, *now, 1_000).await.unwrap(), []);
            assert_eq!(redis.silent(POOL, *now, 1_000).await.unwrap(), []);
            *now += 20_000;
            for (at, step) in steps.iter().enumerate() {
                if let Step::Pass(ms) = step {
                    *now += i64::from(*ms);
                }
                let expected = act(&memory, &pool, step, *now).await;
                let shown = act(&*redis, &pool, step, *now).await;
                prop_assert_eq!(&shown, &expected, "step {} of {:?}", at, &steps);
                seen.note(step, &shown);
                let len = redis.len(POOL).await.unwrap();
                prop_assert_eq!(len, memory.len(POOL).await.unwrap(), "after step {}", at);
            }
            Ok(())
        })
    });
    if let Err(error) = run {
        panic!("{error}");
    }
    let Seen { proposals, left_over, silent, missing } = seen.into_inner().0;
    eprintln!(
        "{CASES} schedules: {proposals} pairs proposed at enqueue, {left_over} left over, {silent} named silent, {missing} missing"
    );
    let least = proposals.min(left_over).min(silent).min(missing);
    assert!(least > CASES as usize / 10, "too little happened");
}

#[test]
fn the_same_is_proposed_as_in_memory_when_both_must_accept() {
    the_same_is_proposed(true);
}

#[test]
fn the_same_is_proposed_as_in_memory_when_one_must_accept() {
    the_same_is_proposed(false);
}

#[tokio::test]
async fn a_long_sweep_goes_in_steps_and_stops_where_memory_does() {
    let pool = pool(true);
    let pools: Pools = [(POOL.to_owned(), pool.clone())].into();
    let (redis, memory) = (open_redis(pools.clone()).await, Memory::new(&pools));
    let wish = |n: u16| Wish { bucket: (n % 200) as u8, back: n, ..blank() };
    let entries: Vec<Entry> = (0..900)
        .map(|n| {
            let mut entry = make(&pool, &wish(n), 1_000);
            entry.position.ticket_id = format!("t{n}").into();
            entry.user_id = format!("u{}", n % 300).into();
            entry
        })
        .collect();
    for index in [&*redis, &memory as &dyn Index] {
        index.put(POOL, entries.clone()).await.unwrap();
    }
    let mut pairs = 0;
    for _ in 0..6 {
        let expected = memory.leftovers(POOL, 1_000, 250).await.unwrap();
        assert_eq!(redis.leftovers(POOL, 1_000, 250).await.unwrap(), expected);
        pairs += expected.len();
    }
    assert!(pairs > 100, "{pairs}");
    assert_eq!(redis.len(POOL).await.unwrap(), memory.len(POOL).await.unwrap());
}

#[tokio::test]
async fn a_search_passes_over_as_many_as_in_memory() {
    let pool = pool(true);
    let pools: Pools = [(POOL.to_owned(), pool.clone())].into();
    let redis = open_redis(pools.clone()).await;
    let bucket = pool.bucket(&content("f", &[])).unwrap();
    let mut found = Vec::new();
    for met in DEPTH - 1..=DEPTH + 1 {
        let memory = Memory::new(&pools);
        let passed = (0..met).map(|n| format!("met-{n}"));
        let mut waiting: Vec<Entry> =
            passed.clone().map(|user| entry(&user, &user, bucket, 9_000)).collect();
        // Every other one is passed over for its silence.
        waiting.iter_mut().step_by(2).for_each(|it| it.alive_at = Some(0));
        waiting.push(entry("fresh", "fresh", bucket, 9_001));
        let mut ann = entry("ann", "ann", bucket, 9_002);
        ann.recent = passed.collect();
        ann.alive_at = Some(10_500);
        let mut shown = Vec::new();
        for index in [&memory as &dyn Index, &*redis] {
            index.put(POOL, waiting.clone()).await.unwrap();
            shown.push(index.enqueue(POOL, ann.clone(), 10_500).await.unwrap());
            // Of those who are parked, and of nobody else.
            shown.push(index.enqueue(POOL, ann.clone(), 10_500).await.unwrap());
            index.remove(POOL, "ann").await.unwrap();
            for it in &waiting {
                index.remove(POOL, &it.position.ticket_id).await.unwrap();
            }
        }
        assert_eq!(shown[..2], shown[2..], "{met} met");
        found.push(shown[0].is_some());
    }
    assert_eq!(found, [true, false, false]);
}
