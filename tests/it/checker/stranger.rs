//! Somebody who looks for strangers, talks to them and goes on to the next, and
//! whose connection is not the best.

use std::{
    collections::{BTreeSet, HashMap},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use mingle_client::ws::proto::{
    MatchJoin, MatchLeave, Ticket, TicketState, client_frame::Kind as Ask,
};
use rand::{Rng as _, seq::IndexedRandom as _};
use tokio::{sync::watch, time::Instant};

use super::{
    journal::{Journal, Wait, What},
    person::Person,
    phase::Phase,
};

const GENDERS: [&str; 3] = ["female", "male", "other"];
/// Longer than presence waits for a return.
const ABSENCE: Duration = Duration::from_secs(14);

struct Stranger {
    person: Person,
    gender: &'static str,
    /// The ticket that waits, and the connection that was told so.
    ticket: Option<(String, u32)>,
    /// When the ticket was given.
    since: Instant,
    /// Matches that were gone to.
    met: BTreeSet<String>,
    manner: Manner,
}

/// How somebody lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Between two things, on average.
    pub(crate) pace: Duration,
    /// The connection breaks now and then by itself.
    pub(crate) mishaps: bool,
}

/// Lives until the run is done.
pub(crate) async fn live(
    mut person: Person,
    manner: Manner,
    mut phase: watch::Receiver<Phase>,
) -> Journal {
    let gender = GENDERS.choose(&mut person.dice).unwrap();
    let (ticket, since, met) = (None, Instant::now(), BTreeSet::new());
    let mut stranger = Stranger { person, gender, ticket, since, met, manner };
    while matches!(*phase.borrow_and_update(), Phase::Run) {
        stranger.turn().await;
    }
    while matches!(*phase.borrow_and_update(), Phase::Settle) {
        stranger.settle().await;
    }
    stranger.end(phase).await
}

impl Stranger {
    async fn turn(&mut self) {
        let rest = self.manner.pace.mul_f64(self.person.dice.random_range(0.5..1.5));
        self.person.rest(rest).await;
        self.mishap().await;
        self.meet().await;
        if self.person.room.is_some() {
            self.converse().await;
        } else {
            self.seek().await;
        }
    }

    /// The connection breaks now and then, seldom for long.
    async fn mishap(&mut self) {
        let dice = self.person.dice.random_range(0..1000);
        if !self.manner.mishaps || dice >= 45 || !self.person.is_connected() {
            return;
        }
        self.person.drop_socket().await;
        match dice {
            0..5 => self.person.rest(ABSENCE).await,
            5..15 => self.person.forget_session(),
            _ => {}
        }
    }

    /// Goes to the room of a match that is new.
    async fn meet(&mut self) {
        while self.person.room.is_none()
            && let Some((found, at)) = self.person.found.pop_front()
        {
            if self.ticket.as_ref().is_some_and(|(id, _)| *id == found.ticket_id) {
                self.ticket = None;
            }
            if self.met.insert(found.match_id) {
                let (what, begun) = (What::Match, self.since);
                self.person.journal.waits.push(Wait { what, begun, ended: at });
                self.person.tally.matched.fetch_add(1, Relaxed);
                self.person.enter(&found.room_id).await;
            }
        }
    }

    async fn converse(&mut self) {
        match self.person.dice.random_range(0..100) {
            0..70 => self.person.say(0.15, 0.05).await,
            70..78 => self.person.read_history().await,
            78..90 => {
                if let Some(partner) = self.partner() {
                    self.person.watch(&partner).await;
                }
            }
            _ => self.person.leave().await,
        }
    }

    /// Somebody else whom one heard in this room.
    fn partner(&self) -> Option<String> {
        let stay = self.person.journal.stays.last()?;
        let own = &self.person.journal.user;
        let other = stay.heard.iter().find(|row| row.is_message && row.actor != *own)?;
        Some(other.actor.clone())
    }

    async fn seek(&mut self) {
        match &self.ticket {
            Some((id, told_on))
                if *told_on == self.person.connections && self.person.is_connected() =>
            {
                let id = id.clone();
                if self.person.dice.random_bool(0.05) {
                    self.cancel(&id).await;
                }
            }
            // Also after a reconnect: the new socket stands for the ticket.
            _ => self.join().await,
        }
    }

    async fn join(&mut self) {
        let join = Ask::MatchJoin(MatchJoin {
            pool: "random-chat".to_owned(),
            attributes: [("gender".to_owned(), self.gender.to_owned())].into(),
            wants: HashMap::new(),
        });
        let begin = Instant::now();
        if let Ok(ticket) = self.person.ask::<Ticket>(join).await {
            self.person.journal.waited(What::Join, begin);
            if self.ticket.is_none() {
                self.since = Instant::now();
            }
            let waits = ticket.room_id.is_empty();
            self.ticket = waits.then(|| (ticket.ticket_id.clone(), self.person.connections));
            self.person.told(ticket);
        }
    }

    /// True when it came too late.
    async fn cancel(&mut self, id: &str) -> bool {
        let leave = Ask::MatchLeave(MatchLeave { ticket_id: id.to_owned() });
        let Ok(ticket) = self.person.ask::<Ticket>(leave).await else { return false };
        self.person.journal.told(&ticket);
        // Who is matched already is told so beside, or when they search again: this
        // answer must not stand for that.
        let is_late = ticket.state() == TicketState::Matched;
        if !is_late {
            self.ticket = None;
        }
        is_late
    }

    /// Waits on, and goes where it is called.
    async fn settle(&mut self) {
        self.person.listen().await;
        self.meet().await;
        if self.ticket.as_ref().is_some_and(|(_, told_on)| *told_on != self.person.connections) {
            self.join().await;
        }
    }

    async fn end(mut self, phase: watch::Receiver<Phase>) -> Journal {
        if let Some((id, _)) = self.ticket.clone()
            && self.cancel(&id).await
        {
            // Whoever goes for good has heard where to.
            while !self.person.journal.called.contains(&id) {
                self.settle().await;
            }
        }
        if self.person.dice.random_bool(0.3) {
            self.person.drop_socket().await;
            self.person.journal.gone();
            self.person.tally.gone.lock().unwrap().push(self.person.journal.user.clone());
        }
        self.person.hear_out(phase).await
    }
}
