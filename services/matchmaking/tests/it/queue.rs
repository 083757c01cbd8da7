//! The queue against a model that looks at everybody.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mingle_matchmaking::domain::{
    Attribute, Bucket, Content, Entry, Pool, Position, Proposal, Queue, Rules, queue::DEPTH,
};
use proptest::prelude::*;

const ALIVE_MS: i64 = 10_000;
const RELAX_MS: i64 = 5_000;

pub(crate) fn pool(mutual: bool) -> Arc<Pool> {
    let values = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
    let attributes = vec![
        Attribute { name: "gender".into(), values: values(&["f", "m", "o"]), required: true },
        Attribute { name: "topic".into(), values: values(&["a"]), required: false },
    ];
    let rules = Rules {
        mutual,
        ticket_ttl_ms: 600_000,
        recent_partner_memory_ms: 300_000,
        recent_partner_relax_ms: RELAX_MS,
        lease_ms: 30_000,
        alive_ms: ALIVE_MS,
        outcome_ms: 120_000,
    };
    Arc::new(Pool::new("test", attributes, rules).unwrap())
}

pub(crate) fn content(gender: &str, wants: &[&str]) -> Content {
    let wanted: BTreeSet<String> = wants.iter().map(|&value| value.to_owned()).collect();
    let any = wanted.is_empty() || wanted.len() == 3;
    Content {
        attributes: [("gender".to_owned(), gender.to_owned())].into(),
        wants: if any { BTreeMap::new() } else { [("gender".to_owned(), wanted)].into() },
    }
}

pub(crate) fn entry(id: &str, user: &str, bucket: Bucket, created_at: i64) -> Entry {
    Entry {
        position: Position { created_at, ticket_id: id.into() },
        user_id: user.into(),
        bucket,
        recent: Vec::new().into(),
        alive_at: Some(created_at),
        spared_until: 0,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Join { user: u8, gender: usize, wants: u8, topic: bool, met: Vec<u8>, lease: bool },
    Leave(usize),
    Alive(usize),
    Pass(u16),
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let join = (
        0..12u8,
        0..3usize,
        0..8u8,
        any::<bool>(),
        prop::collection::vec(0..12u8, 0..3),
        any::<bool>(),
    )
        .prop_map(|(user, gender, wants, topic, met, lease)| Step::Join {
            user,
            gender,
            wants,
            topic,
            met,
            lease,
        });
    let step = prop_oneof![
        6 => join,
        1 => (0..50usize).prop_map(Step::Leave),
        2 => (0..50usize).prop_map(Step::Alive),
        2 => (0..6_000u16).prop_map(Step::Pass),
        2 => Just(Step::Sweep),
    ];
    prop::collection::vec(step, 1..120)
}

/// A queue, and what a patient observer knows of it.
struct Observed {
    pool: Arc<Pool>,
    queue: Queue,
    now: i64,
    next: u32,
    waiting: BTreeMap<Position, (Entry, Content)>,
    proposed: BTreeSet<Position>,
}

impl Observed {
    fn new(mutual: bool) -> Self {
        let pool = pool(mutual);
        let queue = Queue::new(pool.clone());
        let (waiting, proposed) = Default::default();
        Self { pool, queue, now: 1, next: 0, waiting, proposed }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Pass(ms) => self.now += i64::from(ms),
            Step::Leave(nth) => {
                if let Some(position) = self.waiting.keys().nth(nth).cloned() {
                    self.waiting.remove(&position);
                    assert!(self.queue.take(&position.ticket_id).is_some());
                    assert!(self.queue.take(&position.ticket_id).is_none());
                }
            }
            Step::Alive(nth) => {
                let now = self.now;
                if let Some((position, (entry, _))) = self.waiting.iter_mut().nth(nth) {
                    entry.alive_at = entry.alive_at.map(|_| now);
                    self.queue.alive(&position.ticket_id, now);
                }
            }
            Step::Sweep => {
                for proposal in self.queue.leftovers(self.now, usize::MAX) {
                    self.check(&proposal);
                }
                // After a sweep nobody is left who could be matched, unless
                // more than the depth must be passed over.
                if self.waiting.len() <= DEPTH {
                    for (entry, _) in self.waiting.values() {
                        assert_eq!(self.oldest_for(entry), None, "left over");
                    }
                }
            }
            Step::Join { .. } => self.join(step),
        }
        assert_eq!(self.queue.len(), self.waiting.len());
    }

    fn join(&mut self, step: Step) {
        let Step::Join { user, gender, wants, topic, met, lease } = step else { return };
        let values = ["f", "m", "o"];
        let wanted: Vec<&str> =
            (0..3).filter(|bit| wants & (1 << bit) != 0).map(|bit| values[bit]).collect();
        let mut content = content(values[gender], &wanted);
        if topic {
            content.attributes.insert("topic".into(), "a".into());
        }
        if lease {
            content.wants.insert("topic".into(), ["a".to_owned()].into());
        }
        self.next += 1;
        let bucket = self.pool.bucket(&content).unwrap();
        let mut entry = entry(&format!("{:05}", self.next), &format!("u{user}"), bucket, self.now);
        entry.recent = met.iter().map(|user| format!("u{user}")).collect();
        entry.alive_at = (!lease).then_some(self.now);
        let expected = self.oldest_for(&entry);
        self.waiting.insert(entry.position.clone(), (entry.clone(), content));
        let proposal = self.queue.enqueue(entry.clone(), self.now);
        if self.waiting.len() <= DEPTH {
            let partner = proposal.as_ref().map(|it| &it.entries[0].position);
            assert_eq!(partner, expected.as_ref(), "oldest compatible first");
        }
        if let Some(proposal) = proposal {
            assert!(proposal.entries.contains(&entry));
            self.check(&proposal);
        }
    }

    /// The partner that an observer of everybody would choose.
    fn oldest_for(&self, entry: &Entry) -> Option<Position> {
        let silent = |it: &Entry| it.alive_at.is_some_and(|at| self.now - at >= ALIVE_MS);
        let others = self.waiting.values().map(|(other, _)| other);
        let meets = |other: &&Entry| {
            let met = entry.recent.iter().any(|it| **it == *other.user_id)
                || other.recent.iter().any(|it| **it == *entry.user_id);
            let younger = entry.position.created_at.max(other.position.created_at);
            entry.user_id != other.user_id
                && !silent(other)
                && !silent(entry)
                && self.pool.meets(entry.bucket, other.bucket)
                && (!met || self.now - younger >= RELAX_MS)
        };
        others.filter(meets).map(|other| other.position.clone()).min()
    }

    fn check(&mut self, proposal: &Proposal) {
        let [one, other] = proposal.entries.as_slice() else { panic!("{proposal:?}") };
        assert!(one.position < other.position);
        assert_ne!(one.user_id, other.user_id);
        let mut contents = Vec::new();
        for entry in [one, other] {
            assert!(self.proposed.insert(entry.position.clone()), "proposed twice");
            contents.push(self.waiting.remove(&entry.position).expect("waits").1);
        }
        let there = accepts(&contents[0], &contents[1]);
        let back = accepts(&contents[1], &contents[0]);
        let mutual = self.pool.rules().mutual;
        assert!(if mutual { there && back } else { there || back }, "{contents:?}");
    }
}

/// By the words of the tickets, not by buckets.
fn accepts(one: &Content, other: &Content) -> bool {
    let accepted = |(name, wanted): (&String, &BTreeSet<String>)| {
        other.attributes.get(name).is_some_and(|value| wanted.contains(value))
    };
    one.wants.iter().all(accepted)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn proposals_are_compatible_oldest_first_and_made_once(steps in steps(), mutual in any::<bool>()) {
        let mut observed = Observed::new(mutual);
        for step in steps {
            observed.step(step);
        }
    }

    #[test]
    fn buckets_say_what_the_words_say(
        genders in (0..3usize, 0..3usize), wants in (0..8u8, 0..8u8), mutual in any::<bool>(),
    ) {
        let pool = pool(mutual);
        let values = ["f", "m", "o"];
        let words = |gender: usize, wants: u8| {
            let wanted: Vec<&str> =
                (0..3).filter(|bit| wants & (1 << bit) != 0).map(|bit| values[bit]).collect();
            content(values[gender], &wanted)
        };
        let (one, other) = (words(genders.0, wants.0), words(genders.1, wants.1));
        let (there, back) = (accepts(&one, &other), accepts(&other, &one));
        let meets = pool.meets(pool.bucket(&one).unwrap(), pool.bucket(&other).unwrap());
        prop_assert_eq!(meets, if mutual { there && back } else { there || back });
    }
}

#[test]
fn a_search_passes_over_at_most_its_depth() {
    let pool = pool(true);
    let mut queue = Queue::new(pool.clone());
    let bucket = pool.bucket(&content("f", &[])).unwrap();
    let met: Vec<String> = (0..DEPTH).map(|n| format!("met-{n}")).collect();
    let mut ann = entry("ann", "ann", bucket, 100);
    for (n, user) in met.iter().enumerate() {
        // They met each other too, so nobody is matched on the way.
        let mut entry = entry(&format!("{n:03}"), user, bucket, 0);
        entry.recent = met.clone().into();
        assert_eq!(queue.enqueue(entry, 100), None);
    }
    ann.recent = met.clone().into();
    assert_eq!(queue.enqueue(ann, 100), None);
    // bob sees sixteen strangers first.
    let proposal = queue.enqueue(entry("bob", "bob", bucket, 100), 100).unwrap();
    assert_eq!(&*proposal.entries[0].user_id, "met-0");
    let mut eve = entry("eve", "eve", bucket, 100);
    eve.recent = met.into();
    let proposal = queue.enqueue(eve, 100).unwrap();
    assert_eq!(&*proposal.entries[0].user_id, "ann", "fifteen are passed over");
}

#[test]
fn pools_that_are_too_wide_are_refused() {
    let attribute = |name: &str, values: usize, required| Attribute {
        name: name.into(),
        values: (0..values).map(|n| n.to_string()).collect(),
        required,
    };
    let rules = *pool(true).rules();
    let buckets = |attributes| Pool::new("p", attributes, rules).map(|pool| pool.buckets()).ok();
    assert_eq!(buckets(vec![]), Some(1));
    assert_eq!(buckets(vec![attribute("a", 5, true)]), Some(155));
    assert_eq!(buckets(vec![attribute("a", 6, true)]), None);
    assert_eq!(buckets(vec![attribute("a", 2, false), attribute("b", 3, true)]), Some(252));
    assert_eq!(buckets(vec![attribute("a", 2, false), attribute("b", 3, false)]), None);
    assert_eq!(buckets((0..9).map(|n| attribute(&n.to_string(), 1, true)).collect()), None);
}
