//! What was counted, as Redis itself logs it: each charge is written once, with the
//! time by which it was judged, and deleted when it is given back.

use std::collections::HashMap;

use super::kinds::Kind;
use crate::processes::monitor::Executed;

/// What a server did, in its order.
#[derive(Debug)]
pub(super) enum Event {
    Charged(Charge),
    /// The charge of this key.
    GivenBack(String),
}

#[derive(Clone, Debug)]
pub(super) struct Charge {
    pub(super) key: String,
    pub(super) limits: Vec<&'static Kind>,
    pub(super) cost: u64,
    pub(super) at_us: u64,
}

impl Charge {
    /// Who is charged, as keys tell.
    fn subject(&self) -> &str {
        self.key.split(":1:c:").next().unwrap_or_default()
    }

    pub(super) fn is_lease(&self) -> bool {
        self.limits.iter().all(|kind| kind.is_held())
    }

    /// `cost limit limit…|until in us|marks`, which lives so many ms.
    fn parse(key: &str, record: &str, lives_ms: &str) -> Option<Self> {
        let mut parts = record.split('|');
        let (content, until) = (parts.next()?, parts.next()?);
        let (cost, limits) = content.split_once(' ')?;
        // The heartbeat of an instance is a charge, too.
        let limits = (limits != "proof").then(|| limits.split(' ').map(Kind::of).collect())?;
        let at_us = until.parse::<u64>().ok()? - lives_ms.parse::<u64>().ok()? * 1_000;
        Some(Self { key: key.to_owned(), limits, cost: cost.parse().ok()?, at_us })
    }
}

pub(super) fn read(executed: &[Executed]) -> Vec<Event> {
    let event = |it: &Executed| {
        let words: Vec<_> = it.text.split('"').skip(1).step_by(2).collect();
        match words[..] {
            ["SET", key, record, "PX", lives_ms] if it.is_nested && key.contains(":1:c:") => {
                Charge::parse(key, record, lives_ms).map(Event::Charged)
            }
            ["DEL", key] if it.is_nested && key.contains(":1:c:") => {
                Some(Event::GivenBack(key.to_owned()))
            }
            _ => None,
        }
    };
    executed.iter().filter_map(event).collect()
}

/// By subject and limit, when what stands was charged, and the cost.
type Standing = HashMap<(String, &'static str), Vec<(u64, u64)>>;

/// Charges that were made and not given back, and how many were made.
pub(super) fn standing(events: &[Event]) -> (Standing, usize) {
    let mut given_back: HashMap<&str, usize> = HashMap::new();
    for event in events {
        if let Event::GivenBack(key) = event {
            *given_back.entry(key).or_default() += 1;
        }
    }
    let (mut all, mut made) = (Standing::new(), 0);
    for event in events {
        let Event::Charged(charge) = event else { continue };
        if charge.is_lease() {
            continue;
        }
        made += 1;
        if given_back.contains_key(&*charge.key) {
            continue;
        }
        for kind in &charge.limits {
            let of = (charge.subject().to_owned(), kind.name);
            all.entry(of).or_default().push((charge.at_us, charge.cost));
        }
    }
    (all, made)
}

/// The most that one true window holds.
pub(super) fn most_within(charges: &[(u64, u64)], window_us: u64) -> u64 {
    let within = |(at, (from_us, _)): (usize, &(u64, u64))| {
        let inside = charges[at..].iter().take_while(|(at_us, _)| at_us - from_us < window_us);
        inside.map(|(_, cost)| cost).sum()
    };
    charges.iter().enumerate().map(within).max().unwrap_or(0)
}

/// The most that lies between two multiples of the window.
pub(super) fn most_between_edges(charges: &[(u64, u64)], window_us: u64) -> u64 {
    let mut by_edge: HashMap<u64, u64> = HashMap::new();
    for (at_us, cost) in charges {
        *by_edge.entry(at_us / window_us).or_default() += cost;
    }
    by_edge.into_values().max().unwrap_or(0)
}

/// The most of each limit that was held at once by one subject.
pub(super) fn most_held(events: &[Event]) -> HashMap<&'static str, u64> {
    let mut held: HashMap<&str, &Charge> = HashMap::new();
    let mut most: HashMap<&'static str, u64> = HashMap::new();
    for event in events {
        let charge = match event {
            Event::GivenBack(key) => {
                held.remove(&**key);
                continue;
            }
            Event::Charged(charge) if charge.is_lease() => charge,
            Event::Charged(_) => continue,
        };
        held.insert(&charge.key, charge);
        for kind in &charge.limits {
            let window_us = kind.window.as_micros() as u64;
            let lives = |other: &&&Charge| {
                other.subject() == charge.subject()
                    && other.limits.iter().any(|of| of.name == kind.name)
                    && other.at_us + window_us > charge.at_us
            };
            let now: u64 = held.values().filter(lives).map(|other| other.cost).sum();
            let most = most.entry(kind.name).or_default();
            *most = now.max(*most);
        }
    }
    most
}
