//! `main`: the main job over several processes. Strangers come at a rate, meet,
//! talk, and go; beside it the same talk at a bare WebSocket server, where those
//! who meet are known before.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use futures::{SinkExt as _, StreamExt as _};
use tokio::{
    runtime::Handle,
    sync::Barrier,
    time::{sleep, timeout},
};

use crate::{
    chat::BODY,
    crowd::{Bare, Heard, Key, Mingle, Tongue},
    floor::{self, ws::Socket},
    latency::Latencies,
    meters::{Meter, Meters},
    pace::{Rate, Schedule},
    plan::Plan,
    processes::Processes,
    report::{Report, Side},
    sockets::MOST,
};

const ROUNDS: u32 = 3;
const CPU: &str = "server CPU per conversation";
/// For a whole visit.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two lines of progress.
const TELL: Duration = Duration::from_secs(5);

/// The load.
#[derive(Clone, clap::Args)]
pub(crate) struct Args {
    /// Strangers a second, each with a new socket.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Of each run.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// What each says, the two in turn.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    words: u32,
}

impl Args {
    /// An even number of strangers, so that nobody is left.
    fn rate(&self) -> Rate {
        let all = u64::from(self.rate) * u64::from(self.seconds);
        Rate { rate: self.rate, count: all + all % 2 }
    }
}

/// What is seen of all visits.
struct Seen {
    schedule: Schedule,
    words: u32,
    welcomed: Latencies,
    met: Latencies,
    told: Latencies,
    ended: AtomicU64,
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let all = args.rate().count;
    ensure!(all <= MOST as u64, "{all} sockets may be more than {MOST} at once");
    let mut report = Report::new("main", "the same talk at a bare WebSocket server, one process");
    let Args { rate, seconds, words } = args;
    let each = format!("each says {words} times {} bytes and goes", BODY.len());
    report.set("load", format!("open loop, {rate} strangers/s for {seconds} s, {each}"));
    for round in 1..=plan.rounds(ROUNDS) {
        eprintln!("main, round {round}: Ours");
        let processes = Processes::start(plan, &[]).await?;
        if round == 1 {
            processes.describe(&mut report, plan).await?;
        }
        let (urls, meters) = (processes.urls(), processes.meters()?);
        let visit =
            move |index, seen| stranger(urls[index as usize % urls.len()].clone(), index, seen);
        run(&mut report, args, (Side::Ours, meters), visit).await?;
        drop(processes);
        eprintln!("main, round {round}: Floor");
        let server = floor::Server::start(plan, &["floor-rooms"]).await?;
        let meter = Meter { name: "floor", counted: true, pids: vec![server.pid()] };
        let url = format!("ws://{}/", server.addr()?);
        let pairs: Arc<[_]> = (0..args.rate().count / 2).map(|_| Barrier::new(2)).collect();
        let visit = move |index, seen| acquainted(url.clone(), index, (seen, pairs.clone()));
        run(&mut report, args, (Side::Floor, Meters(vec![meter])), visit).await?;
        server.stop().await?;
    }
    Ok(report)
}

/// Has everybody come when they are due.
async fn run<F>(
    report: &mut Report,
    args: &Args,
    (side, meters): (Side, Meters),
    visit: impl Fn(u64, Arc<Seen>) -> F + Send + 'static,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let Rate { count, .. } = args.rate();
    let schedule = Schedule::new(args.rate());
    let (welcomed, met, told) = (Latencies::new()?, Latencies::new()?, Latencies::new()?);
    let ended = AtomicU64::new(0);
    let seen = Arc::new(Seen { schedule, words: args.words, welcomed, met, told, ended });
    let telling = tokio::spawn(tell(seen.clone(), count));
    let cpu = meters.read()?;
    let (come, mut coming) = tokio::sync::mpsc::unbounded_channel();
    let (runtime, shared) = (Handle::current(), seen.clone());
    let pacing = schedule.run(move |index| {
        let visit = timeout(PATIENCE, visit(index, shared.clone()));
        // Whoever measures takes it, or has failed.
        let _ = come.send(runtime.spawn(visit));
    });
    let visits = async {
        while let Some(visit) = coming.recv().await {
            visit.await.context("a visit")?.context("a visit took too long")??;
        }
        anyhow::Ok(())
    };
    let (late, ()) = tokio::try_join!(pacing, visits)?;
    telling.abort();
    meters.report(report, side, &cpu, (CPU, count / 2))?;
    seen.welcomed.report(report, side, "arrival to welcome");
    if seen.met.count() > 0 {
        seen.met.report(report, side, "join to matched and in the room, both sides");
    }
    seen.told.report(report, side, "send to the other's message");
    late.report(report, side, "generator late by");
    Ok(())
}

/// Comes, meets whoever else is there, talks and goes.
async fn stranger(url: String, index: u64, seen: Arc<Seen>) -> anyhow::Result<()> {
    let mut socket = Mingle::greet(&url, &format!("stranger-{index}")).await?;
    seen.welcomed.record(seen.schedule.since(index));
    let even = index.is_multiple_of(2);
    let (gender, wanted) = if even { ("female", "male") } else { ("male", "female") };
    let joined = tokio::time::Instant::now();
    let room = Mingle::meet(&mut socket, gender, wanted).await?;
    seen.met.record(joined.elapsed());
    talk(&Mingle, (socket, &room), even, &seen).await
}

/// Comes, waits for who is known already, talks and goes.
async fn acquainted(
    url: String,
    index: u64,
    (seen, pairs): (Arc<Seen>, Arc<[Barrier]>),
) -> anyhow::Result<()> {
    let pair = index / 2;
    let socket = Bare.enter(&url, "", &pair.to_string()).await?;
    seen.welcomed.record(seen.schedule.since(index));
    pairs[pair as usize].wait().await;
    talk(&Bare, (socket, ""), index.is_multiple_of(2), &seen).await
}

/// Says every other word of the talk, each when the one before it was heard.
async fn talk<T: Tongue>(
    tongue: &T,
    (mut socket, room): (Socket, &str),
    begins: bool,
    seen: &Seen,
) -> anyhow::Result<()> {
    let start = seen.schedule.due(0);
    let say = |index| {
        let key = Key { index, due_us: start.elapsed().as_micros() as u64 };
        tongue.say(room, key, BODY)
    };
    let (own, words) = (u32::from(!begins), 2 * seen.words);
    if begins {
        socket.send(say(0)).await?;
    }
    loop {
        let message = socket.next().await.context("closed in the middle of a talk")??;
        let index = match tongue.hear(message)? {
            Heard::Message(key) if key.index % 2 != own => {
                // The first word may have waited for who hears it to come in.
                if key.index > 0 {
                    let said = Duration::from_micros(key.due_us);
                    seen.told.record(start.elapsed().saturating_sub(said));
                }
                key.index
            }
            Heard::Message(key) if key.index + 1 == words => break,
            Heard::Refused(index) => bail!("word {index} was refused"),
            _ => continue,
        };
        if index + 1 < words {
            socket.send(say(index + 1)).await?;
        } else {
            break;
        }
    }
    socket.close(None).await?;
    seen.ended.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Tells every few seconds how far it is.
async fn tell(seen: Arc<Seen>, count: u64) {
    loop {
        sleep(TELL).await;
        eprintln!("  {} of {count} have come and gone", seen.ended.load(Ordering::Relaxed));
    }
}
