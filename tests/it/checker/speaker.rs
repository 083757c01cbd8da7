//! Somebody who stays in one room and says one thing after the other, whatever
//! happens.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{journal::Journal, pace::Pace, person::Person, phase::Phase};
use crate::world::SOON;

/// While nothing is to be done but to hear.
const LISTEN: Duration = Duration::from_millis(250);

/// Speaks in `room` every `pace` until the run settles, then hears all of it.
pub(crate) async fn speak(
    mut person: Person,
    room: String,
    pace: Duration,
    mut phase: watch::Receiver<Phase>,
) -> Journal {
    person.enter(&room).await;
    let mut pace = Pace::new(pace, &mut person);
    while matches!(*phase.borrow_and_update(), Phase::Run) {
        person.rest(pace.left()).await;
        person.say(0.0, 0.0).await;
        pace.done();
    }
    person.hear_out(phase).await
}

impl Person {
    /// Asks for nothing more; hears up to the heads that are told.
    pub(super) async fn hear_out(mut self, mut phase: watch::Receiver<Phase>) -> Journal {
        self.tally.quiet.fetch_add(1, Relaxed);
        let heads = loop {
            if let Phase::Done(heads) = &*phase.borrow_and_update() {
                break heads.clone();
            }
            self.listen().await;
        };
        let begin = Instant::now();
        while self.is_behind(&heads) && begin.elapsed() < SOON {
            self.listen().await;
        }
        self.journal.see_presence(false);
        self.journal
    }

    /// Keeps the connection, unless it was closed for good.
    pub(super) async fn listen(&mut self) {
        if !self.journal.is_gone && !self.is_connected() {
            let _ = self.connect().await;
        }
        self.rest(LISTEN).await;
    }

    /// Something of the room is yet to be heard.
    fn is_behind(&self, heads: &BTreeMap<String, u64>) -> bool {
        let stay = self.journal.stays.last().filter(|stay| !stay.left);
        stay.is_some_and(|stay| heads.get(&stay.room).is_some_and(|it| stay.at().seq < *it))
    }
}
