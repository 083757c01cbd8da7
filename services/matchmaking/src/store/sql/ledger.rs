//! The tickets that a batch holds, and what its wishes make of them: no I/O.
//! Wishes apply in their order, each to what those before it left; rooms are noted
//! and old rows forgotten after all of them.

use std::collections::{BTreeSet, HashMap};

use crate::{
    domain::{Liveness, Match, State, Ticket},
    store::{Created, Differs, End, Ended, Paired, Pairing},
};

/// Tickets as they are held, then as they are to be.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    tickets: HashMap<String, Ticket>,
    /// The active ticket of a pool and user.
    active: HashMap<(String, String), String>,
    made: BTreeSet<String>,
    changed: BTreeSet<String>,
    matches: Vec<Match>,
}

impl Ledger {
    /// Of the tickets that are held: those that are named, and the active ones
    /// of every user who may get one.
    pub(super) fn new(held: Vec<Ticket>) -> Self {
        let active = held.iter().filter(|it| it.is_active());
        Self {
            active: active.map(|it| (seat(it), it.ticket_id.clone())).collect(),
            tickets: held.into_iter().map(|it| (it.ticket_id.clone(), it)).collect(),
            ..Self::default()
        }
    }

    /// The tickets that are new.
    pub(super) fn made(&self) -> impl Iterator<Item = &Ticket> {
        self.made.iter().filter_map(|id| self.tickets.get(id))
    }

    /// The tickets that were there and are other than before.
    pub(super) fn changed(&self) -> impl Iterator<Item = &Ticket> {
        self.changed.iter().filter_map(|id| self.tickets.get(id))
    }

    /// The matches that are new.
    pub(super) fn matches(&self) -> &[Match] {
        &self.matches
    }

    pub(super) fn create(&mut self, ticket: &Ticket, now: i64) -> Created {
        let Some(active) = self.active.get(&seat(ticket)).and_then(|id| self.tickets.get(id))
        else {
            self.make(ticket.clone());
            return Created::New { overdue: None };
        };
        let active = active.clone();
        if active.state == State::Matched {
            return Created::Existing(Box::new(active));
        }
        if active.is_overdue(now) {
            let overdue = Ticket { state: State::Expired, ended_at: Some(now), ..active };
            self.change(overdue.clone());
            self.make(ticket.clone());
            return Created::New { overdue: Some(Box::new(overdue)) };
        }
        if active.content.attributes != ticket.content.attributes {
            return Created::Other { differs: Differs::Attributes };
        }
        if active.content.wants != ticket.content.wants {
            return Created::Other { differs: Differs::Wants };
        }
        let lease_until = match ticket.liveness {
            Liveness::Presence => None,
            Liveness::Lease => active.lease_until.max(ticket.lease_until),
        };
        let adopted = Ticket { liveness: ticket.liveness, lease_until, ..active };
        self.change(adopted.clone());
        Created::Existing(Box::new(adopted))
    }

    pub(super) fn end(
        &mut self,
        ticket_id: &str,
        owner: Option<&str>,
        end: End,
        now: i64,
    ) -> Option<Ended> {
        let ticket = self.tickets.get(ticket_id)?.clone();
        if owner.is_some_and(|owner| owner != ticket.user_id) {
            return None;
        }
        let state = match end {
            End::Cancelled => State::Cancelled,
            End::Unfit => State::Expired,
            End::Gone if ticket.liveness == Liveness::Presence => State::Expired,
            End::Overdue if ticket.is_overdue(now) => State::Expired,
            End::Gone | End::Overdue => return Some(Ended { ticket, changed: false }),
        };
        if ticket.state != State::Waiting {
            return Some(Ended { ticket, changed: false });
        }
        let ticket = Ticket { state, ended_at: Some(now), ..ticket };
        self.change(ticket.clone());
        Some(Ended { ticket, changed: true })
    }

    pub(super) fn pair(&mut self, pairing: &Pairing, now: i64) -> Paired {
        let Pairing { match_id, pool, ticket_ids } = pairing;
        let waits = |it: &&Ticket| it.state == State::Waiting && !it.is_overdue(now);
        let waiting = |id: &String| self.tickets.get(id).filter(waits);
        let members: BTreeSet<&String> =
            ticket_ids.iter().filter(|id| waiting(id).is_some()).collect();
        if members.len() < ticket_ids.len() {
            let gone = ticket_ids.iter().filter(|id| !members.contains(id));
            return Paired::Refused(gone.cloned().collect());
        }
        let tickets: Vec<Ticket> = ticket_ids.iter().filter_map(waiting).cloned().collect();
        let mut user_ids: Vec<String> = tickets.iter().map(|it| it.user_id.clone()).collect();
        user_ids.sort();
        let of = Match {
            match_id: match_id.clone(),
            pool: pool.clone(),
            ticket_ids: ticket_ids.clone(),
            user_ids,
            created_at: now,
            room_id: None,
        };
        let waits = tickets.iter().map(|it| now.saturating_sub(it.created_at)).collect();
        for ticket in tickets {
            let (state, of) = (State::Matched, Some(of.clone()));
            self.change(Ticket { state, ended_at: Some(now), of, ..ticket });
        }
        self.matches.push(of.clone());
        Paired::Matched(of, waits)
    }

    pub(super) fn renew(&mut self, ticket_id: &str, lease_until: i64) {
        let moves = |it: &&Ticket| {
            it.state == State::Waiting && it.lease_until.is_some_and(|until| until < lease_until)
        };
        if let Some(ticket) = self.tickets.get(ticket_id).filter(moves).cloned() {
            self.change(Ticket { lease_until: Some(lease_until), ..ticket });
        }
    }

    pub(super) fn told(&mut self, ticket_ids: &[String]) {
        let news = |it: &&Ticket| it.state == State::Matched && !it.told;
        for id in ticket_ids {
            if let Some(ticket) = self.tickets.get(id).filter(news).cloned() {
                self.change(Ticket { told: true, ..ticket });
            }
        }
    }

    fn make(&mut self, ticket: Ticket) {
        self.made.insert(ticket.ticket_id.clone());
        self.put(ticket);
    }

    fn change(&mut self, ticket: Ticket) {
        if !self.made.contains(&ticket.ticket_id) {
            self.changed.insert(ticket.ticket_id.clone());
        }
        self.put(ticket);
    }

    fn put(&mut self, ticket: Ticket) {
        let seat = seat(&ticket);
        if ticket.is_active() {
            self.active.insert(seat, ticket.ticket_id.clone());
        } else if self.active.get(&seat) == Some(&ticket.ticket_id) {
            self.active.remove(&seat);
        }
        self.tickets.insert(ticket.ticket_id.clone(), ticket);
    }
}

fn seat(ticket: &Ticket) -> (String, String) {
    (ticket.pool.clone(), ticket.user_id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Content;

    fn ticket(id: &str) -> Ticket {
        Ticket {
            ticket_id: id.into(),
            user_id: "ann".into(),
            pool: "pool".into(),
            content: Content::default(),
            state: State::Waiting,
            liveness: Liveness::Presence,
            lease_until: None,
            created_at: 0,
            expires_at: 10,
            ended_at: None,
            of: None,
            told: false,
        }
    }

    #[test]
    fn a_ticket_made_in_a_batch_is_written_once_as_it_ended_up() {
        let mut ledger = Ledger::new(vec![]);
        ledger.create(&ticket("1"), 0);
        let leased = Ticket { liveness: Liveness::Lease, lease_until: Some(5), ..ticket("2") };
        let adopted = Ticket { ticket_id: "1".into(), ..leased.clone() };
        assert_eq!(ledger.create(&leased, 0), Created::Existing(Box::new(adopted.clone())));
        assert_eq!(ledger.made().collect::<Vec<_>>(), [&adopted]);
        assert_eq!(ledger.changed().count(), 0);
    }

    #[test]
    fn what_ends_in_a_batch_makes_way_in_it() {
        let mut ledger = Ledger::new(vec![ticket("1")]);
        assert!(ledger.end("1", Some("ann"), End::Cancelled, 1).is_some_and(|it| it.changed));
        assert_eq!(ledger.create(&ticket("2"), 1), Created::New { overdue: None });
        let pairing =
            Pairing { match_id: "m".into(), pool: "pool".into(), ticket_ids: vec!["1".into()] };
        assert_eq!(ledger.pair(&pairing, 1), Paired::Refused(vec!["1".into()]));
        let ids = |it: Vec<&Ticket>| it.iter().map(|it| it.ticket_id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(ledger.changed().collect()), ["1"]);
        assert_eq!(ids(ledger.made().collect()), ["2"]);
    }
}
