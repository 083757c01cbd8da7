//! What each hop of a request costs at least, at the rate of the load: a bare
//! server in place of each process.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use futures::{SinkExt as _, StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use mingle_proto::presence::v1::{GetRequest, presence_service_client::PresenceServiceClient};
use tokio::{runtime::Handle, sync::mpsc};
use tokio_tungstenite::tungstenite::Message;

use super::{Server, ws};
use crate::{
    latency::Latencies,
    meters::{self, Meter},
    pace::{Rate, Schedule},
    plan::Plan,
    proc,
    report::{Report, Side},
    sockets::{CONNECTING, Progress},
    system::channel,
};

/// After the last request was due.
const PATIENCE: Duration = Duration::from_secs(30);
const WAITING: usize = 256;
/// Connections that listen to what is published: as many as processes of a role.
const SUBSCRIBERS: usize = 2;
const CHANNEL: &str = "floor";
/// Between two processes that call and two that answer. A single one is closed
/// by h2 when a burst of small requests waits to be read.
const CONNECTIONS: usize = 4;

/// CPU time of each request at the bare servers, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hops {
    /// A text over a WebSocket, echoed and passed on to another.
    pub(crate) socket: f64,
    /// A unary call of bare tonic.
    pub(crate) call: f64,
    /// A PUBLISH at the Redis server.
    pub(crate) publish: f64,
}

impl Hops {
    /// What the floor of each figure is, for [`Hops::report`].
    pub(crate) const TELLS: &str = "gateway: a bare WebSocket text, echoed and passed on; each \
        service on the way: its bare tonic calls; all: their sum; redis-server: a PUBLISH to 2; \
        postgres: the INSERT";

    /// Adds the floors of the CPU `figure` of a request that goes from a
    /// gateway to `services`, each called so many times.
    pub(crate) fn report(&self, report: &mut Report, figure: &str, services: &[(&str, f64)]) {
        let Self { socket, call, publish } = *self;
        let calls: f64 = services.iter().map(|(_, calls)| calls).sum();
        report.add(figure, "µs", Side::Floor, socket + calls * call);
        let services = services.iter().map(|(name, calls)| (*name, calls * call));
        let servers = [("gateway", socket), ("redis-server", publish)];
        for (name, each) in services.chain(servers) {
            report.add(&meters::of(figure, name), "µs", Side::Floor, each);
        }
    }
}

/// Sockets, two to a room, and which of them says message `index`.
pub(crate) struct Crowd {
    pub(crate) sockets: u64,
    pub(crate) speaker: Box<dyn Fn(u64) -> u64 + Send + Sync>,
}

/// Measures all of them, one after the other; latencies go to `report`.
pub(crate) async fn measure(
    plan: &Plan,
    report: &mut Report,
    (rate, crowd, body): (Rate, Crowd, &'static str),
    (redis, meter): (redis::Client, &Meter),
) -> anyhow::Result<Hops> {
    let socket = pairs(plan, report, rate, (crowd, body)).await?;
    let call = call(plan, report, rate).await?;
    let publish = publish(redis, meter, rate, body).await?;
    Ok(Hops { socket, call, publish })
}

struct Seen {
    schedule: Schedule,
    speaker: Box<dyn Fn(u64) -> u64 + Send + Sync>,
    progress: Arc<Progress>,
    echoed: Latencies,
    passed: Latencies,
}

async fn pairs(
    plan: &Plan,
    report: &mut Report,
    rate: Rate,
    (Crowd { sockets, speaker }, body): (Crowd, &'static str),
) -> anyhow::Result<f64> {
    let server = Server::start(plan, &["floor-rooms"]).await?;
    let addr = server.addr()?;
    let greeting = (0..sockets).map(|n| async move {
        let room = (n / 2).to_string();
        ws::greet(addr, &room).await
    });
    let connected: Vec<_> = stream::iter(greeting).buffered(CONNECTING).try_collect().await?;
    let (schedule, progress) = (Schedule::new(rate), Arc::new(Progress::default()));
    let (echoed, passed) = (Latencies::new()?, Latencies::new()?);
    let seen = Arc::new(Seen { schedule, speaker, progress: progress.clone(), echoed, passed });
    let mut tasks = tokio::task::JoinSet::new();
    let mut texts = Vec::new();
    for (own, socket) in (0..).zip(connected) {
        let (sender, waiting) = mpsc::channel(WAITING);
        texts.push(sender);
        let seen = seen.clone();
        tasks.spawn(async move {
            if let Err(error) = drive(socket, own, waiting, &seen).await {
                seen.progress.fail(format!("{error:#}"));
            }
        });
    }
    let (cpu, speaking) = (proc::cpu(server.pid())?, seen.clone());
    let late = schedule.run(move |index| {
        let socket = (speaking.speaker)(index) as usize;
        // A socket that ended says so itself.
        let _ = texts[socket].blocking_send(format!("{index} {body}"));
    });
    late.await?;
    progress.wait(2 * rate.count, PATIENCE).await?;
    let cpu = proc::cpu(server.pid())?.saturating_sub(cpu);
    seen.echoed.report(report, Side::Floor, "bare WebSocket: send to echo");
    seen.passed.report(report, Side::Floor, "bare WebSocket: send to the other");
    tasks.shutdown().await;
    server.stop().await?;
    Ok(micros(cpu, rate))
}

/// Says what waits and takes note of what is heard, as socket number `own`.
async fn drive(
    mut socket: ws::Socket,
    own: u64,
    mut waiting: mpsc::Receiver<String>,
    seen: &Seen,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            Some(text) = waiting.recv() => socket.send(Message::text(text)).await?,
            message = socket.next() => {
                let Message::Text(text) = message.context("the floor closed a socket")?? else {
                    bail!("not a text");
                };
                let index = text.split(' ').next().and_then(|index| index.parse().ok());
                let index = index.context("a foreign message")?;
                let is_own = (seen.speaker)(index) == own;
                let latencies = if is_own { &seen.echoed } else { &seen.passed };
                latencies.record(seen.schedule.since(index));
                seen.progress.done();
            }
        }
    }
}

async fn call(plan: &Plan, report: &mut Report, rate: Rate) -> anyhow::Result<f64> {
    let server = Server::start(plan, &["floor-echo"]).await?;
    let addr = server.addr()?;
    let channels = try_join_all((0..CONNECTIONS).map(|_| channel(addr))).await?;
    let clients: Vec<_> = channels.into_iter().map(PresenceServiceClient::new).collect();
    let (schedule, progress) = (Schedule::new(rate), Arc::new(Progress::default()));
    let (took, runtime) = (Arc::new(Latencies::new()?), Handle::current());
    let cpu = proc::cpu(server.pid())?;
    let (recorded, told) = (took.clone(), progress.clone());
    let late = schedule.run(move |index| {
        let mut client = clients[index as usize % CONNECTIONS].clone();
        let (took, progress) = (recorded.clone(), told.clone());
        runtime.spawn(async move {
            match client.get(GetRequest { user_id: "somebody".to_owned() }).await {
                Ok(_) => took.record(schedule.since(index)),
                Err(status) => progress.fail(status.to_string()),
            }
            progress.done();
        });
    });
    late.await?;
    progress.wait(rate.count, PATIENCE).await?;
    let cpu = proc::cpu(server.pid())?.saturating_sub(cpu);
    took.report(report, Side::Floor, "bare tonic: call");
    server.stop().await?;
    Ok(micros(cpu, rate))
}

async fn publish(
    client: redis::Client,
    meter: &Meter,
    rate: Rate,
    body: &'static str,
) -> anyhow::Result<f64> {
    let progress = Arc::new(Progress::default());
    let mut listening = tokio::task::JoinSet::new();
    for _ in 0..SUBSCRIBERS {
        let mut subscribed = client.get_async_pubsub().await?;
        subscribed.subscribe(CHANNEL).await?;
        let progress = progress.clone();
        listening.spawn(async move {
            let mut messages = subscribed.on_message();
            while messages.next().await.is_some() {
                progress.done();
            }
        });
    }
    let connection = client.get_multiplexed_async_connection().await?;
    let (schedule, runtime, told) = (Schedule::new(rate), Handle::current(), progress.clone());
    let cpu = meter.read()?;
    let late = schedule.run(move |_| {
        let (mut connection, progress) = (connection.clone(), told.clone());
        runtime.spawn(async move {
            let mut cmd = redis::cmd("PUBLISH");
            let sent = cmd.arg(CHANNEL).arg(body).query_async::<u64>(&mut connection).await;
            if let Err(error) = sent {
                progress.fail(error.to_string());
            }
        });
    });
    late.await?;
    progress.wait(SUBSCRIBERS as u64 * rate.count, PATIENCE).await?;
    Ok(micros(meter.read()?.saturating_sub(cpu), rate))
}

fn micros(cpu: Duration, rate: Rate) -> f64 {
    cpu.as_secs_f64() * 1e6 / rate.count as f64
}
