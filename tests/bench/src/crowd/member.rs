//! One socket of the crowd, and what it heard.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{SinkExt as _, StreamExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::tongue::{Heard, Key, Tongue};
use crate::{floor::ws::Socket, latency::Latencies};

/// Of a room, after a refusal.
const REFUSED: Duration = Duration::from_millis(200);

/// Which messages of a room: one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Answers whether it was set before.
    fn set(&mut self, at: u32) -> bool {
        let (word, bit) = (at as usize / 64, 1 << (at % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let before = self.0[word] & bit != 0;
        self.0[word] |= bit;
        before
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// How many of these are not in `other`.
    pub(super) fn beyond(&self, other: &Self) -> u64 {
        let others = other.0.iter().chain(std::iter::repeat(&0));
        self.0.iter().zip(others).map(|(own, other)| u64::from((own & !other).count_ones())).sum()
    }
}

/// What all sockets tell while the load runs.
pub(super) struct Shared {
    pub(super) start: Instant,
    pub(super) rooms: u32,
    pub(super) delivered: AtomicU64,
    pub(super) taken: AtomicU64,
    pub(super) to_member: Latencies,
    pub(super) to_ack: Latencies,
    /// What a room may still say before something of it is acknowledged.
    pub(super) windows: Vec<Semaphore>,
}

/// Where a socket belongs.
#[derive(Clone, Copy)]
pub(super) struct Seat {
    pub(super) room: u32,
    /// Who of the room speaks message `n` is `n % speakers`.
    pub(super) number: u32,
    pub(super) speakers: u32,
    /// Its latencies count.
    pub(super) timed: bool,
}

/// What one socket heard by the end.
#[derive(Debug, Default)]
pub(super) struct Member {
    pub(super) room: u32,
    pub(super) heard: Bits,
    pub(super) taken: Bits,
    pub(super) refused: u64,
    pub(super) doubled: u64,
    /// Messages of one speaker after a later one of theirs.
    pub(super) backwards: u64,
    /// Of all it heard, each once, in order.
    pub(super) order: u64,
    /// Why it ended before it was told to.
    pub(super) ended: Option<String>,
    /// What is not answered yet.
    pub(super) said: HashMap<u32, Key>,
    /// Of each speaker.
    pub(super) last: Vec<Option<u32>>,
}

impl Member {
    fn message(&mut self, n: u32, seat: Seat) {
        if self.heard.set(n) {
            self.doubled += 1;
            return;
        }
        // FNV-1a, whose value depends on the order.
        self.order = (self.order ^ u64::from(n)).wrapping_mul(0x0100_0000_01b3);
        let last = &mut self.last[(n % seat.speakers) as usize];
        self.backwards += u64::from(last.is_some_and(|last| n < last));
        *last = Some(n);
    }
}

/// Says what waits and hears what comes until `stop`.
pub(super) async fn live<T: Tongue>(
    (tongue, mut socket): (T, Socket),
    mut waiting: mpsc::Receiver<(Key, Message)>,
    (seat, shared): (Seat, Arc<Shared>),
    stop: CancellationToken,
) -> Member {
    let last = vec![None; seat.speakers as usize];
    let mut member = Member { room: seat.room, last, ..Member::default() };
    loop {
        let done = tokio::select! {
            Some((key, message)) = waiting.recv() => {
                member.said.insert(key.index, key);
                socket.send(message).await.map_err(Into::into)
            }
            message = socket.next() => match message {
                Some(Ok(message)) => hear(&tongue, message, &mut socket, &mut member, (seat, &shared)).await,
                Some(Err(error)) => Err(error.into()),
                None => Err(anyhow::anyhow!("closed")),
            },
            () = stop.cancelled() => return member,
        };
        if let Err(error) = done {
            member.ended = Some(format!("{error:#}"));
            // The others of the room go on with what nobody will answer here.
            waiting.close();
            while let Some((key, _)) = waiting.recv().await {
                member.said.insert(key.index, key);
            }
            shared.windows[seat.room as usize].add_permits(member.said.len());
            return member;
        }
    }
}

async fn hear<T: Tongue>(
    tongue: &T,
    message: Message,
    socket: &mut Socket,
    member: &mut Member,
    (seat, shared): (Seat, &Arc<Shared>),
) -> anyhow::Result<()> {
    match tongue.hear(message)? {
        Heard::Message(key) => {
            let n = key.index / shared.rooms;
            member.message(n, seat);
            shared.delivered.fetch_add(1, Ordering::Relaxed);
            if seat.timed {
                shared.to_member.record(since(shared, key));
            }
            if T::ECHOES && n % seat.speakers == seat.number {
                taken(member, key.index, (seat, shared));
            }
        }
        Heard::Taken(index) => taken(member, index, (seat, shared)),
        Heard::Refused(index) => {
            member.refused += 1;
            member.said.remove(&index);
            give_back_later(seat, shared);
        }
        Heard::Answer(answer) => socket.send(answer).await?,
        Heard::Nothing => {}
    }
    Ok(())
}

/// Who is refused waits before they go on, or a system that refuses fast would be
/// asked the most.
fn give_back_later(seat: Seat, shared: &Arc<Shared>) {
    let shared = shared.clone();
    tokio::spawn(async move {
        tokio::time::sleep(REFUSED).await;
        shared.windows[seat.room as usize].add_permits(1);
    });
}

fn taken(member: &mut Member, index: u32, (seat, shared): (Seat, &Shared)) {
    member.taken.set(index / shared.rooms);
    if let Some(key) = member.said.remove(&index) {
        shared.to_ack.record(since(shared, key));
    }
    shared.taken.fetch_add(1, Ordering::Relaxed);
    shared.windows[seat.room as usize].add_permits(1);
}

fn since(shared: &Shared, key: Key) -> Duration {
    shared.start.elapsed().saturating_sub(Duration::from_micros(key.due_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acknowledged_and_not_heard_is_counted() {
        let (mut taken, mut heard) = (Bits::default(), Bits::default());
        for n in [0, 63, 64, 200] {
            assert!(!taken.set(n));
        }
        assert!(taken.set(64));
        heard.set(63);
        heard.set(7);
        assert_eq!((taken.count(), taken.beyond(&heard), heard.beyond(&taken)), (4, 3, 1));
        heard.add(&taken);
        assert_eq!((heard.count(), taken.beyond(&heard)), (5, 0));
    }

    #[test]
    fn what_comes_twice_or_backwards_or_in_another_order_is_seen() {
        let seat = Seat { room: 0, number: 0, speakers: 2, timed: false };
        let hear = |messages: &[u32]| {
            let mut member = Member { last: vec![None; 2], ..Member::default() };
            messages.iter().for_each(|n| member.message(*n, seat));
            (member.doubled, member.backwards, member.order)
        };
        let (doubled, backwards, order) = hear(&[0, 1, 2, 3]);
        assert_eq!((doubled, backwards), (0, 0));
        assert_ne!(hear(&[1, 0, 2, 3]).2, order);
        assert_eq!(hear(&[1, 0, 2, 3]).1, 0, "two speakers");
        assert_eq!(hear(&[0, 3, 2, 1]).1, 1);
        assert_eq!(hear(&[0, 1, 1]).0, 1);
    }
}
