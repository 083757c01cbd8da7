//! `match`: joins at a rate over real sockets, beside one INSERT and fsync per
//! join and, over several processes, bare hops.

use std::{
    collections::HashMap,
    process,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use mingle_client::ws::proto::{
    ClientFrame, MatchJoin, ServerFrame, client_frame, server_frame::Kind,
};
use mingle_proto::{ListValue, Value, value};

use crate::{
    floor::{
        hops::{self, Crowd, Hops},
        postgres,
        rows::{self, Row, Writer},
        sqlite,
    },
    latency::Latencies,
    meters::{self, Meters},
    pace::{Rate, Schedule},
    plan::Plan,
    proc,
    processes::Processes,
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
    /// Over several processes on Redis and PostgreSQL; the two of each match on
    /// different gateways.
    #[arg(long)]
    processes: bool,
}

impl Args {
    /// Of one run: an even number of joins, so that nobody is left.
    fn rate(&self) -> Rate {
        let all = u64::from(self.rate) * u64::from(self.seconds);
        Rate { rate: self.rate, count: all + all % 2 }
    }
}

/// Where they join, and whose CPU time that takes.
struct Place {
    urls: Vec<String>,
    meters: Meters,
}

/// What the sockets of one run see.
struct Seen {
    schedule: Schedule,
    /// Gateways, to which the sockets are connected in turn.
    gateways: u64,
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
            if self.gateways > 1 && index % self.gateways == other % self.gateways {
                self.progress.fail(format!("{index} and {other} are on one gateway"));
            }
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
    let Args { rate, seconds, processes } = args;
    let who = if *processes { "two kinds who want each other" } else { "all compatible" };
    report.set("load", format!("open loop, {rate} joins/s for {seconds} s, {who}"));
    for round in 1..=plan.rounds(ROUNDS) {
        if *processes {
            apart(&mut report, plan, args, round).await?;
        } else {
            whole(&mut report, plan, args, round).await?;
        }
    }
    Ok(report)
}

/// In one process, on SQLite.
async fn whole(report: &mut Report, plan: &Plan, args: &Args, round: u32) -> anyhow::Result<()> {
    let system = System::start(plan, &[]).await?;
    if round == 1 {
        settings::describe(report, plan, &system).await?;
    }
    eprintln!("match, round {round}: Ours");
    let place = Place { urls: vec![system.url()?], meters: system.meters() };
    join(report, &place, args).await?;
    let tables = ["mm_matches", "mm_tickets"];
    let database = sqlite::Database::open(plan, &system.database(), &tables).await?;
    system.stop().await?;
    eprintln!("match, round {round}: Floor");
    let cpu = proc::cpu(process::id())?;
    insert(report, database, args).await?;
    let cpu = proc::cpu(process::id())?.saturating_sub(cpu);
    // With the generator's own, which runs in this process too.
    report.add(CPU, "µs", Side::Floor, cpu.as_secs_f64() * 1e6 / args.rate().count as f64);
    Ok(())
}

/// Over several processes, on Redis and PostgreSQL.
async fn apart(report: &mut Report, plan: &Plan, args: &Args, round: u32) -> anyhow::Result<()> {
    let mut processes = Processes::start(plan, &[]).await?;
    if round == 1 {
        processes.describe(report, plan).await?;
        report.set("floor of CPU", Hops::TELLS);
    }
    eprintln!("match, round {round}: Ours");
    let place = Place { urls: processes.urls(), meters: processes.meters()? };
    join(report, &place, args).await?;
    processes.kill();
    eprintln!("match, round {round}: Floor");
    let writers = postgres::Database::open(processes.database(), Row::Ticket, 1).await?;
    let meter = processes.postgres_meter()?;
    let cpu = meter.read()?;
    for writer in writers {
        insert(report, writer, args).await?;
    }
    let count = args.rate().count;
    let cpu = meter.read()?.saturating_sub(cpu).as_secs_f64() * 1e6 / count as f64;
    report.add(&meters::of(CPU, meter.name), "µs", Side::Floor, cpu);
    let crowd = Crowd { sockets: count, speaker: Box::new(|index| index) };
    let redis = (redis::Client::open(processes.redis().root_url())?, &processes.redis_meter());
    let hops = hops::measure(plan, report, (args.rate(), crowd, POOL), redis).await?;
    // One room for two joins.
    let calls = [("matchmaking", 1.0), ("ratelimit", 1.0), ("chat", 0.5)];
    hops.report(report, CPU, &calls);
    Ok(())
}

async fn join(report: &mut Report, place: &Place, args: &Args) -> anyhow::Result<()> {
    let count = args.rate().count;
    let users: Vec<_> = (0..count).map(|n| format!("user-{n}")).collect();
    let connected = sockets::connect(&place.urls, &users).await?;
    eprintln!("  {count} sockets are there");
    let schedule = Schedule::new(args.rate());
    let progress = Arc::new(Progress::default());
    let seen = Arc::new(Seen {
        schedule,
        gateways: place.urls.len() as u64,
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
    let cpu = place.meters.read()?;
    let wants = place.urls.len() > 1;
    let late = schedule.run(move |index| {
        // A socket that ended says so itself.
        let _ = frames[index as usize].blocking_send(request(index, wants));
    });
    let late = late.await?;
    progress.wait(count, PATIENCE).await?;
    place.meters.report(report, Side::Ours, &cpu, (CPU, count))?;
    seen.acknowledged.report(report, Side::Ours, ACKNOWLEDGED);
    seen.later.report(report, Side::Ours, MATCHED);
    seen.own.report(report, Side::Ours, "own join to matched, both sides");
    late.report(report, Side::Ours, "generator late by");
    Ok(())
}

/// With `wants`, those with an even number want those with an odd one, and the
/// other way round.
fn request(index: u64, wants: bool) -> ClientFrame {
    let kinds = if wants { 2 } else { GENDERS.len() as u64 };
    let gender = |index: u64| GENDERS[(index % kinds) as usize].to_owned();
    let wanted = wants.then(|| {
        let kind = Some(value::Kind::StringValue(gender(index + 1)));
        ("gender".to_owned(), ListValue { values: vec![Value { kind }] })
    });
    let join = MatchJoin {
        pool: POOL.to_owned(),
        attributes: [("gender".to_owned(), gender(index))].into(),
        wants: wanted.into_iter().collect(),
    };
    ClientFrame { id: 1, kind: Some(client_frame::Kind::MatchJoin(join)), ..ClientFrame::default() }
}

/// The same joins, each one row in a transaction of its own.
async fn insert(report: &mut Report, writer: impl Writer, args: &Args) -> anyhow::Result<()> {
    let inserted = rows::insert(writer, args.rate(), 1, (Row::Ticket, rows::ticket)).await?;
    inserted.took.report(report, Side::Floor, ACKNOWLEDGED);
    inserted.took.report(report, Side::Floor, MATCHED);
    inserted.late.report(report, Side::Floor, "generator late by");
    Ok(())
}
