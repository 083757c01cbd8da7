//! Rooms of many, whichever system serves them: what is said is heard by every
//! member, and what each heard is compared with what was acknowledged.

mod bare;
mod member;
mod mingle;
mod socketio;
mod speak;
mod tongue;
mod verdict;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    bare::Bare,
    mingle::Mingle,
    socketio::SocketIo,
    tongue::{Heard, Key, Tongue},
};
use self::{
    member::{Member, Seat, Shared},
    speak::Speakers,
};
use crate::{
    floor::ws::Socket,
    latency::Latencies,
    meters::Meters,
    report::{Report, Side},
    sockets::{CONNECTING, MOST},
};

/// Of a room; the others listen.
const SPEAKERS: u32 = 10;
/// Of a room, evenly: a histogram for each delivery would be the generator's load.
const TIMED: u32 = 10;
/// Messages that wait to be written to one socket; then the generator waits.
const WAITING: usize = 256;
/// After the last hello, before memory is read.
const SETTLE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);
/// Without anything more, what is not there is not coming.
const QUIET: Duration = Duration::from_secs(3);
/// The same where something was broken: it may be found at the next look.
const REPAIRED: Duration = Duration::from_secs(12);

/// The load.
#[derive(Clone, clap::Args)]
pub(crate) struct Load {
    /// Rooms.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=9_000))]
    pub(crate) rooms: u32,
    /// Members of each, in turn on each gateway; up to ten of them speak, in turn.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub(crate) members: u32,
    /// Of each message.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    pub(crate) bytes: u32,
    /// Of each run.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) seconds: u32,
    /// Messages a second over all rooms, whatever became of those before; by
    /// default as many as are acknowledged.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// Without a rate: messages of a room that are not acknowledged yet.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=128))]
    pub(crate) window: u32,
}

impl Load {
    /// For the report.
    pub(crate) fn tells(&self) -> String {
        let Self { rooms, members, bytes, seconds, .. } = self;
        let pace = match self.rate {
            Some(rate) => format!("open loop, {rate} messages/s"),
            None => format!("closed loop, {} messages of each room in flight", self.window),
        };
        format!("{rooms} rooms of {members}, {bytes} bytes each, {pace}, for {seconds} s")
    }

    /// The users of a room, the first of whom made it.
    pub(crate) fn users(&self, room: u32) -> Vec<String> {
        (0..self.members).map(|number| format!("user-{room}-{number}")).collect()
    }

    /// **Errors**: more sockets than one process can hold.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let sockets = u64::from(self.rooms) * u64::from(self.members);
        anyhow::ensure!(sockets <= MOST as u64, "{sockets} sockets are more than {MOST}");
        Ok(())
    }

    fn speakers(&self) -> u32 {
        self.members.min(SPEAKERS)
    }
}

/// Something that is done to the system in the middle of the load.
pub(crate) type Trouble<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// A system with its rooms.
pub(crate) struct Site<T> {
    pub(crate) tongue: T,
    pub(crate) urls: Vec<String>,
    pub(crate) rooms: Vec<String>,
    pub(crate) meters: Meters,
    pub(crate) side: Side,
}

/// Runs the load and reports.
pub(crate) async fn run<T: Tongue>(
    report: &mut Report,
    site: &Site<T>,
    load: &Load,
    trouble: Option<Trouble<'_>>,
) -> anyhow::Result<()> {
    let (side, before) = (site.side, site.meters.resident()?);
    let sockets = enter(site, load).await?;
    tokio::time::sleep(SETTLE).await;
    let grown = site.meters.resident()?.saturating_sub(before) as f64;
    report.add("resident memory per socket", "KiB", side, grown / sockets.len() as f64 / 1024.0);
    eprintln!("  {} sockets are in their rooms", sockets.len());

    let (cpu, stop) = (site.meters.read()?, CancellationToken::new());
    let shared = Arc::new(Shared {
        start: Instant::now(),
        rooms: load.rooms,
        delivered: AtomicU64::new(0),
        taken: AtomicU64::new(0),
        to_member: Latencies::new()?,
        to_ack: Latencies::new()?,
        windows: (0..load.rooms).map(|_| Semaphore::new(load.window as usize)).collect(),
    });
    let (mut members, speakers) = seat(site, load, sockets, (&shared, &stop));
    let quiet = if trouble.is_some() { REPAIRED } else { QUIET };
    let ((), ()) = tokio::try_join!(
        speak::all(report, site, load, (&shared, speakers)),
        interrupt(trouble, Duration::from_secs(load.seconds.into()) / 2),
    )?;
    let took = shared.start.elapsed().as_secs_f64();
    let delivered = shared.delivered.load(Ordering::Relaxed);
    report.add("deliveries", "1/s", side, delivered as f64 / took);
    settle(&shared, load, quiet).await;
    let delivered = shared.delivered.load(Ordering::Relaxed);
    site.meters.report(report, side, &cpu, ("server CPU per delivery", delivered.max(1)))?;
    stop.cancel();
    let mut heard: Vec<Member> = Vec::new();
    while let Some(member) = members.join_next().await {
        heard.push(member.context("a socket's task")?);
    }
    shared.to_ack.report(report, side, "send to acknowledgement");
    shared.to_member.report(report, side, "send to a member");
    verdict::report(report, side, &heard);
    Ok(())
}

/// Connects everybody; those of a room after each other.
async fn enter<T: Tongue>(site: &Site<T>, load: &Load) -> anyhow::Result<Vec<Socket>> {
    let entering = (0..load.rooms).flat_map(|room| {
        let name = &site.rooms[room as usize];
        let users = load.users(room).into_iter().zip(site.urls.iter().cycle());
        users.map(move |(user, url)| async move { site.tongue.enter(url, &user, name).await })
    });
    stream::iter(entering).buffered(CONNECTING).try_collect().await
}

/// A task for each socket; and where its words go, room by room, of those who
/// speak.
fn seat<T: Tongue>(
    site: &Site<T>,
    load: &Load,
    sockets: Vec<Socket>,
    (shared, stop): (&Arc<Shared>, &CancellationToken),
) -> (JoinSet<Member>, Vec<Speakers>) {
    let (mut members, mut speakers) = (JoinSet::new(), vec![Vec::new(); load.rooms as usize]);
    for (at, socket) in (0..).zip(sockets) {
        let (room, number): (u32, u32) = (at / load.members, at % load.members);
        let (sender, waiting) = mpsc::channel(WAITING);
        let speaks = number < load.speakers();
        if speaks {
            speakers[room as usize].push(sender);
        }
        let timed = number % load.members.div_ceil(TIMED) == 0;
        let seat = Seat { room, number, speakers: load.speakers(), timed };
        let (of, whole) = ((site.tongue.clone(), socket), (seat, shared.clone()));
        members.spawn(member::live(of, waiting, whole, stop.clone()));
    }
    (members, speakers)
}

async fn interrupt(trouble: Option<Trouble<'_>>, after: Duration) -> anyhow::Result<()> {
    match trouble {
        Some(trouble) => {
            tokio::time::sleep(after).await;
            trouble.await
        }
        None => Ok(()),
    }
}

/// Waits until everything acknowledged is heard, or nothing more comes.
async fn settle(shared: &Shared, load: &Load, quiet: Duration) {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let delivered = shared.delivered.load(Ordering::Relaxed);
        let taken = shared.taken.load(Ordering::Relaxed);
        if delivered != seen {
            (seen, since) = (delivered, Instant::now());
        }
        let whole = delivered == taken * u64::from(load.members);
        // What is on its way may still be acknowledged.
        if since.elapsed() > quiet || (whole && since.elapsed() > LOOK * 4) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}
