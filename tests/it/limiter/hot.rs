//! Those who ask without a pause about one, by three processes, of which one is frozen
//! now and then: much is answered out of what was taken ahead of time.

use std::{
    future::pending,
    net::SocketAddr,
    time::{Duration, Instant},
};

use mingle_proto::ratelimit::v1::{Charge, CheckRequest};
use mingle_testkit::{Mingle, Redis, eventually};
use tokio::{task::JoinSet, time::timeout};

use super::{
    Limiter, PATIENT,
    callers::{Admitted, client},
    certain,
    kinds::{ALL, HOT, Kind},
    time,
};
use crate::world::SOON;

const CALLERS: usize = 64;
/// Longer than anything that is taken may be used, and between two of them.
const FROZEN: Duration = Duration::from_millis(400);
const THAWED: Duration = Duration::from_millis(600);

#[derive(Debug, Default)]
struct Answers {
    admitted: Vec<Admitted>,
    /// Of these.
    sliced: usize,
    denied: usize,
    degraded: usize,
}

/// One who asks a process about one kind until `end`.
async fn ask(process: SocketAddr, kind: &'static Kind, end: Instant) -> Answers {
    let (mut client, mut answers) = (client(&process), Answers::default());
    let limits = vec![kind.name.to_owned(), ALL.name.to_owned()];
    let charge = Charge { subject: kind.name.to_owned(), limits, cost: Some(1) };
    let request_id = "any".to_owned();
    let request = CheckRequest { charge: Some(charge), request_id, is_new: false, once: true };
    while Instant::now() < end {
        let asked = Instant::now();
        let reply = client.check(request.clone()).await.unwrap().into_inner();
        let (answered, subject) = (Instant::now(), kind.name.to_owned());
        answers.degraded += usize::from(reply.degraded);
        if !reply.allowed {
            answers.denied += 1;
            continue;
        }
        answers.sliced += usize::from(reply.sliced);
        answers.admitted.push(Admitted { subject, cost: 1, asked, answered, stands: true });
    }
    answers
}

/// Stops one of them for a while, again and again, with what it has taken.
async fn freeze(process: &mut Mingle, end: Instant) -> usize {
    let mut times = 0;
    while Instant::now() + FROZEN + THAWED < end {
        process.freeze();
        let _ = timeout(FROZEN, pending::<()>()).await;
        process.thaw();
        let _ = timeout(THAWED, pending::<()>()).await;
        times += 1;
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_ahead_keeps_each_promise_and_all_is_counted() {
    let redis = Redis::start().await;
    let mut limiter = Limiter::start(&redis.url(), PATIENT).await;
    for kind in &HOT {
        run(&mut limiter, kind).await;
    }
}

async fn run(limiter: &mut Limiter, kind: &'static Kind) {
    let time = 2 * time() / HOT.len() as u32;
    let (mut asking, end) = (JoinSet::new(), Instant::now() + time);
    for who in 0..CALLERS {
        let process = limiter.addresses()[who % 3];
        asking.spawn(ask(process, kind, end));
    }
    let frozen = freeze(&mut limiter.processes[2], end).await;
    let all = asking.join_all().await;
    let sum = |count: fn(&Answers) -> usize| all.iter().map(count).sum::<usize>();
    let (sliced, denied) = (sum(|it| it.sliced), sum(|it| it.denied));
    let mut admitted: Vec<_> = all.iter().flat_map(|it| &it.admitted).collect();
    admitted.sort_by_key(|it| it.asked);
    let (most, may, used) = (certain(&admitted, kind.window), kind.promised(), admitted.len());
    eprintln!(
        "{}: {used} admitted, {sliced} of them ahead, {denied} denied, frozen {frozen} times; \
         {most} of {may} in a window",
        kind.name
    );
    assert_eq!(sum(|it| it.degraded), 0, "all of it was counted together");
    assert!(most <= may, "{}: {most}", kind.name);
    assert!(sliced.min(denied).min(frozen) > 1, "{}: too little happened", kind.name);
    assert!(used as u64 > kind.least(time), "{}: much was left", kind.name);
    eventually(SOON, "what nobody used is given back", async || {
        limiter.used(kind.name).await == used as u64
    })
    .await;
}
