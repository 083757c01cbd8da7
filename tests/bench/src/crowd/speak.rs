//! Who says what when: at a rate, or as it is acknowledged.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout_at},
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Load, Site,
    member::Shared,
    tongue::{Key, Tongue},
};
use crate::{
    pace::{Rate, Schedule},
    report::Report,
};

/// Between two lines of progress.
const TELL: Duration = Duration::from_secs(5);
/// After a speaker that is not there any more.
const PAUSE: Duration = Duration::from_millis(50);

/// Where the words of a room's speakers go.
pub(super) type Speakers = Vec<mpsc::Sender<(Key, Message)>>;

/// Says everything, in all rooms.
pub(super) async fn all<T: Tongue>(
    report: &mut Report,
    site: &Site<T>,
    load: &Load,
    (shared, speakers): (&Arc<Shared>, Vec<Speakers>),
) -> anyhow::Result<()> {
    let telling = tokio::spawn(tell(shared.clone()));
    let body: Arc<str> = "x".repeat(load.bytes as usize).into();
    match load.rate {
        Some(rate) => {
            let count = u64::from(rate) * u64::from(load.seconds);
            let schedule = Schedule::new(Rate { rate, count });
            let (tongue, names) = (site.tongue.clone(), site.rooms.clone());
            let start = shared.start;
            let late = schedule.run(move |index| {
                let (room, n) = ((index % names.len() as u64) as usize, index / names.len() as u64);
                let due = schedule.due(index).saturating_duration_since(start);
                let key = key(index, due);
                let said = (key, tongue.say(&names[room], key, &body));
                let speakers = &speakers[room];
                // A socket that ended is told at the end.
                let _ = speakers[(n % speakers.len() as u64) as usize].blocking_send(said);
            });
            late.await?.report(report, site.side, "generator late by");
        }
        None => {
            let mut rooms = JoinSet::new();
            let until = Duration::from_secs(load.seconds.into());
            for (room, speakers) in (0..).zip(speakers) {
                let said = (site.rooms[room as usize].clone(), body.clone());
                let whole = (shared.clone(), until);
                rooms.spawn(in_turn(site.tongue.clone(), room, said, (speakers, whole)));
            }
            while rooms.join_next().await.is_some() {}
        }
    }
    telling.abort();
    Ok(())
}

/// Fills the window of one room until the end.
async fn in_turn<T: Tongue>(
    tongue: T,
    room: u32,
    (name, body): (String, Arc<str>),
    (speakers, (shared, until)): (Speakers, (Arc<Shared>, Duration)),
) {
    let end = shared.start + until;
    for n in 0u64.. {
        let window = shared.windows[room as usize].acquire();
        let Ok(Ok(permit)) = timeout_at(end.into(), window).await else { return };
        permit.forget();
        let index = n * u64::from(shared.rooms) + u64::from(room);
        let key = key(index, shared.start.elapsed());
        let said = (key, tongue.say(&name, key, &body));
        // A socket that ended says nothing, and the next one speaks.
        if speakers[(n % speakers.len() as u64) as usize].send(said).await.is_err() {
            shared.windows[room as usize].add_permits(1);
            sleep(PAUSE).await;
        }
    }
}

fn key(index: u64, due: Duration) -> Key {
    // More messages than numbers would be days of them.
    Key { index: index as u32, due_us: due.as_micros() as u64 }
}

/// Tells every few seconds how far it is.
async fn tell(shared: Arc<Shared>) {
    let mut before = 0;
    loop {
        sleep(TELL).await;
        let now = shared.delivered.load(Ordering::Relaxed);
        let taken = shared.taken.load(Ordering::Relaxed);
        let rate = (now - before) / TELL.as_secs();
        eprintln!("  {taken} acknowledged, {now} delivered, {rate}/s");
        before = now;
    }
}
