//! `match`: joins at a rate over real sockets, beside one INSERT and fsync per
//! join.

use std::{
    collections::HashMap,
    process,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use mingle_client::ws::proto::{
    ClientFrame, MatchJoin, ServerFrame, client_frame, server_frame::Kind,
};

use crate::{
    floor::sqlite::{self, Database},
    latency::Latencies,
    pace::Schedule,
    plan::Plan,
    proc,
    report::{Report, Side},
    settings,
    sockets::{self, Driven, Progress},
    system::System,
};

const ROUNDS: u32 = 3;
const CPU: &str = "server CPU per join";
const POOL: &str = "random-chat";
const GENDERS: [&str; 3] = ["female", "male", "other"];
/// After the last join was due.
const PATIENCE: Duration = Duration::from_secs(30);
const ACKNOWLEDGED: &str = "join to ticket";
const MATCHED: &str = "the pair's later join to matched, both sides";

/// The load.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Joins a second, each by another user on a socket of its own.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Of each run.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

impl Args {
    /// Joins of one run; even, so that nobody is left.
    fn joins(&self) -> u64 {
        let all = u64::from(self.rate) * u64::from(self.seconds);
        all + all % 2
    }
}

/// What the sockets of one run see.
struct Seen {
    schedule: Schedule,
    progress: Arc<Progress>,
    acknowledged: Latencies,
    /// From one's own join.
    own: Latencies,
    /// From the join that made the pair possible.
    later: Latencies,
    /// Of the matches that one of the two has heard of.
    halves: Mutex<HashMap<String, (u64, Instant)>>,
}

impl Seen {
    fn frame(&self, index: u64, frame: ServerFrame) {
        match frame.kind {
            Some(Kind::Ticket(_)) => self.acknowledged.record(self.schedule.since(index)),
            Some(Kind::Matched(matched)) => self.matched(index, matched.match_id),
            Some(Kind::Error(error)) => self.progress.fail(format!("a join: {error:?}")),
            _ => {}
        }
    }

    fn matched(&self, index: u64, match_id: String) {
        let now = Instant::now();
        self.own.record(self.schedule.since(index));
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((other, heard)) = halves.remove(&match_id) {
            let due = self.schedule.due(index.max(other));
            self.later.record(now.saturating_duration_since(due));
            self.later.record(heard.saturating_duration_since(due));
        } else {
            halves.insert(match_id, (index, now));
        }
        self.progress.done();
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("match", "one INSERT of the ticket and its fsync per join");
    let Args { rate, seconds } = args;
    report.set("load", format!("open loop, {rate} joins/s for {seconds} s, all compatible"));
    for round in 1..=plan.rounds(ROUNDS) {
        let system = System::start(plan, &[]).await?;
        if round == 1 {
            settings::describe(&mut report, plan, &system).await?;
        }
        eprintln!("match, round {round}: Ours");
        join(&mut report, &system, args).await?;
        let tables = ["mm_matches", "mm_tickets"];
        let database = Database::open(plan, &system.database(), &tables).await?;
        system.stop().await?;
        eprintln!("match, round {round}: Floor");
        insert(&mut report, database, args).await?;
    }
    Ok(report)
}

async fn join(report: &mut Report, system: &System, args: &Args) -> anyhow::Result<()> {
    let count = args.joins();
    let users: Vec<_> = (0..count).map(|n| format!("user-{n}")).collect();
    let connected = sockets::connect(&system.url()?, &users).await?;
    eprintln!("  {count} sockets are there");
    let schedule = Schedule::new(args.rate, count);
    let progress = Arc::new(Progress::default());
    let seen = Arc::new(Seen {
        schedule,
        progress: progress.clone(),
        acknowledged: Latencies::new()?,
        own: Latencies::new()?,
        later: Latencies::new()?,
        halves: Mutex::default(),
    });
    let driven = (0..).zip(connected).map(|(index, socket)| {
        let seen = seen.clone();
        Driven::new(socket, progress.clone(), move |frame| seen.frame(index, frame))
    });
    let driven: Vec<_> = driven.collect();
    let frames: Vec<_> = driven.iter().map(Driven::frames).collect();
    let cpu = system.cpu()?;
    let late = schedule.run(move |index| {
        // A socket that ended says so itself.
        let _ = frames[index as usize].blocking_send(request(index));
    });
    let late = late.await?;
    progress.wait(count, PATIENCE).await?;
    let cpu = (system.cpu()?.saturating_sub(cpu)).as_secs_f64() * 1e6 / count as f64;
    report.add(CPU, "µs", Side::Ours, cpu);
    seen.acknowledged.report(report, Side::Ours, ACKNOWLEDGED);
    seen.later.report(report, Side::Ours, MATCHED);
    seen.own.report(report, Side::Ours, "own join to matched, both sides");
    late.report(report, Side::Ours, "generator late by");
    Ok(())
}

fn request(index: u64) -> ClientFrame {
    let gender = GENDERS[(index % GENDERS.len() as u64) as usize];
    let join = MatchJoin {
        pool: POOL.to_owned(),
        attributes: [("gender".to_owned(), gender.to_owned())].into(),
        ..MatchJoin::default()
    };
    ClientFrame { id: 1, kind: Some(client_frame::Kind::MatchJoin(join)) }
}

/// The same joins, each one row in a transaction of its own.
async fn insert(report: &mut Report, mut database: Database, args: &Args) -> anyhow::Result<()> {
    let count = args.joins();
    let schedule = Schedule::new(args.rate, count);
    let (due, mut joins) = tokio::sync::mpsc::channel(count as usize);
    let committed = tokio::spawn(async move {
        let latencies = Latencies::new()?;
        while let Some(index) = joins.recv().await {
            database.commit(sqlite::TICKET, vec![sqlite::ticket(index)]).await?;
            latencies.record(schedule.since(index));
        }
        anyhow::Ok(latencies)
    });
    let cpu = proc::cpu(process::id())?;
    let late = schedule.run(move |index| {
        // The writer says itself why it ended.
        let _ = due.blocking_send(index);
    });
    let late = late.await?;
    let committed = committed.await??;
    let cpu = proc::cpu(process::id())?.saturating_sub(cpu);
    // With the generator's own, which runs in this process too.
    report.add(CPU, "µs", Side::Floor, cpu.as_secs_f64() * 1e6 / args.joins() as f64);
    committed.report(report, Side::Floor, ACKNOWLEDGED);
    committed.report(report, Side::Floor, MATCHED);
    late.report(report, Side::Floor, "generator late by");
    Ok(())
}
