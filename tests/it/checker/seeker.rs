//! Somebody who looks for one stranger after the other, and talks to none.

use std::{collections::HashMap, sync::atomic::Ordering::Relaxed, time::Duration};

use mingle_client::ws::proto::{MatchJoin, Ticket, client_frame::Kind as Ask};
use tokio::{sync::watch, time::Instant};

use super::{
    journal::{Journal, What},
    pace::Pace,
    person::Person,
    phase::Phase,
};

/// Others look for nobody of these: they meet among themselves.
const GENDER: &str = "other";

struct Seeker {
    person: Person,
    /// The ticket that was given last, and the connection that was told so.
    ticket: Option<(String, u32)>,
}

/// While they wait still.
const MEANWHILE: Duration = Duration::from_millis(50);

/// Looks for somebody every `pace`, or as soon as they do not wait any more, until the
/// run settles; then waits for whom they are matched with.
pub(crate) async fn seek(
    mut person: Person,
    pace: Duration,
    mut phase: watch::Receiver<Phase>,
) -> Journal {
    let mut pace = Pace::new(pace, &mut person);
    let mut seeker = Seeker { person, ticket: None };
    while matches!(*phase.borrow_and_update(), Phase::Run) {
        seeker.person.rest(pace.left()).await;
        if !seeker.waits() {
            seeker.join().await;
            pace.done();
        } else if seeker.is_elsewhere() {
            seeker.join().await;
        } else {
            seeker.person.rest(MEANWHILE).await;
        }
    }
    seeker.person.tally.settled.fetch_add(1, Relaxed);
    while matches!(*phase.borrow_and_update(), Phase::Settle) {
        seeker.person.listen().await;
        if seeker.waits() && seeker.is_elsewhere() {
            seeker.join().await;
        }
    }
    seeker.person.hear_out(phase).await
}

impl Seeker {
    /// Nobody was told to them yet.
    fn waits(&self) -> bool {
        self.ticket.as_ref().is_some_and(|(id, _)| !self.person.journal.called.contains(id))
    }

    /// The socket that stood for the ticket is gone.
    fn is_elsewhere(&self) -> bool {
        let told_on = self.ticket.as_ref().map(|(_, connection)| *connection);
        !self.person.is_connected() || told_on != Some(self.person.connections)
    }

    async fn join(&mut self) {
        let join = Ask::MatchJoin(MatchJoin {
            pool: "random-chat".to_owned(),
            attributes: [("gender".to_owned(), GENDER.to_owned())].into(),
            wants: HashMap::new(),
        });
        let begin = Instant::now();
        if let Ok(ticket) = self.person.ask::<Ticket>(join).await {
            self.person.journal.waited(What::Join, begin);
            self.ticket = Some((ticket.ticket_id.clone(), self.person.connections));
            self.person.told(ticket);
        }
        self.person.found.clear();
    }
}
