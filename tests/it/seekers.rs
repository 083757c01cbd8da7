//! People who look for somebody, and what the rows must say of them in the end.

use std::collections::BTreeMap;

use mingle_testkit::eventually;
use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::{checker, ledger::Ledger, world::SOON};

pub(crate) const GENDERS: [&str; 3] = ["female", "male", "other"];

/// Who somebody is and whom they look for.
#[derive(Clone, Debug)]
pub(crate) struct Seeker {
    pub(crate) name: String,
    pub(crate) gender: &'static str,
    /// Nothing: anybody.
    pub(crate) wants: Vec<&'static str>,
    /// Leaves as soon as they have joined.
    pub(crate) fickle: bool,
}

impl Seeker {
    /// Somebody of one of these genders, who looks for any but all.
    pub(crate) fn random(number: usize, genders: &[&'static str], dice: &mut StdRng) -> Self {
        let amount = dice.random_range(0..GENDERS.len());
        Self {
            name: format!("user-{number}"),
            gender: genders.choose(dice).unwrap(),
            wants: GENDERS.choose_multiple(dice, amount).copied().collect(),
            fickle: dice.random_bool(0.1),
        }
    }

    fn accepts(&self, other: &Self) -> bool {
        self.wants.is_empty() || self.wants.contains(&other.gender)
    }

    fn fits(&self, other: &Self) -> bool {
        self.accepts(other) && other.accepts(self)
    }
}

/// All have joined, and only those wait whom nobody would meet.
pub(crate) async fn until_alone(ledger: &Ledger, seekers: &[Seeker]) {
    let by_name: BTreeMap<_, _> = seekers.iter().map(|it| (it.name.as_str(), it)).collect();
    eventually(SOON * 3, "only those are left whom nobody would meet", async || {
        let joined = ledger.count("select count(*) from mm_tickets").await;
        let waiting = ledger.texts("select user_id from mm_tickets where state = 'waiting'").await;
        let waiting: Vec<_> = waiting.iter().map(|name| by_name[name.as_str()]).collect();
        let mut later = (1..).map(|next| &waiting[next..]);
        let fits = waiting.iter().any(|one| later.next().unwrap().iter().any(|it| one.fits(it)));
        joined >= seekers.len() as i64 && !fits
    })
    .await;
}

/// Each ticket is in one final state, nobody is in two matches, and each match
/// has its room. Answers how many were matched.
pub(crate) async fn assert_tickets(ledger: &Ledger, seekers: usize) -> i64 {
    let seekers = seekers as i64;
    let matched = ledger.count("select count(*) from mm_tickets where state = 'matched'").await;
    eprintln!("{matched} of {seekers} matched");
    assert!(matched > seekers / 4 && matched < seekers, "{matched} matched");
    for (sql, expected) in [
        ("select count(*) from mm_tickets", seekers),
        ("select count(distinct user_id) from mm_tickets", seekers),
        ("select count(*) from mm_tickets where state = 'cancelled'", seekers - matched),
        ("select count(*) from mm_tickets where ended_at is null", 0),
        ("select count(*) from mm_matches", matched / 2),
        ("select count(*) from chat_rooms", matched / 2),
        ("select count(*) from chat_members", matched),
    ] {
        assert_eq!(ledger.count(sql).await, expected, "{sql}");
    }
    let wrong = checker::check_matches(&ledger.rows().await);
    assert!(wrong.is_empty(), "{wrong:#?}");
    matched
}

/// Each pair fits. Answers who is with whom in which room, by their numbers.
pub(crate) async fn assert_fitting(
    ledger: &Ledger,
    seekers: &[Seeker],
) -> Vec<([usize; 2], String)> {
    let by_name: BTreeMap<_, _> = seekers.iter().map(|it| it.name.as_str()).zip(0..).collect();
    let sql = "select json_object('users', json(user_ids), 'room', room_id) from mm_matches";
    let mut pairs = Vec::new();
    for found in ledger.texts(sql).await {
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        let pair = [0, 1].map(|at| by_name[found["users"][at].as_str().unwrap()]);
        let [one, other] = pair.map(|who: usize| &seekers[who]);
        assert!(one.fits(other), "{one:?} and {other:?}");
        pairs.push((pair, found["room"].as_str().unwrap().to_owned()));
    }
    pairs
}
