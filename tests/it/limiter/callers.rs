//! Those who want more than there is, by three processes.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use mingle_proto::ratelimit::v1::{
    AcquireRequest, Charge, CheckRequest, RefundRequest, ReleaseRequest,
    rate_limit_service_client::RateLimitServiceClient,
};
use tokio::{task::JoinSet, time::interval};
use tonic::transport::Channel;

use super::kinds::{ALL, FLEET, KINDS, Kind, NARROW};

pub(super) type Client = RateLimitServiceClient<Channel>;

const CALLERS: usize = 64;
/// Between two calls of one.
const PAUSE: Duration = Duration::from_millis(50);
/// Of its calls, that a lease is held.
const HELD: usize = 8;

/// One that was admitted.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) subject: String,
    pub(super) cost: u64,
    pub(super) asked: Instant,
    pub(super) answered: Instant,
    /// It was not given back.
    pub(super) stands: bool,
}

/// What was answered.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) admitted: Vec<Admitted>,
    pub(super) leases: usize,
    pub(super) denied: usize,
    pub(super) repeated: usize,
    pub(super) refunded: usize,
    pub(super) renewed: usize,
    pub(super) released: usize,
    pub(super) degraded: usize,
    /// Admitted, and when it was asked for again not known.
    pub(super) lost: usize,
}

impl Answers {
    fn add(mut self, mut other: Self) -> Self {
        self.admitted.append(&mut other.admitted);
        self.leases += other.leases;
        self.denied += other.denied;
        self.repeated += other.repeated;
        self.refunded += other.refunded;
        self.renewed += other.renewed;
        self.released += other.released;
        self.degraded += other.degraded;
        self.lost += other.lost;
        self
    }
}

/// All of them ask until `end`.
pub(super) async fn ask(processes: &[SocketAddr], end: Instant) -> Answers {
    let mut asking = JoinSet::new();
    for who in 0..CALLERS {
        let mut clients: Vec<_> = processes.iter().map(client).collect();
        clients.rotate_left(who % processes.len());
        asking
            .spawn(Caller { who, clients, held: Vec::new(), answers: Answers::default() }.ask(end));
    }
    asking.join_all().await.into_iter().fold(Answers::default(), Answers::add)
}

pub(super) fn client(at: &SocketAddr) -> Client {
    Client::new(Channel::from_shared(format!("http://{at}")).unwrap().connect_lazy())
}

/// Of whom a kind is asked for: alone, and with another one stacked upon it.
pub(super) fn subjects(kind: &Kind) -> [String; 2] {
    ["one", "two"].map(|of| format!("{of}-{}", kind.name))
}

fn charge(kind: &Kind, subject: &str, cost: u64) -> Charge {
    let mut limits = vec![kind.name];
    if subject.starts_with("two") {
        limits.push(if kind.is_held() { FLEET.name } else { NARROW.name });
    }
    if !kind.is_held() {
        limits.push(ALL.name);
    }
    let limits = limits.into_iter().map(ToOwned::to_owned).collect();
    Charge { subject: subject.to_owned(), limits, cost: Some(cost) }
}

struct Caller {
    who: usize,
    clients: Vec<Client>,
    /// With the call before which each is let go.
    held: Vec<(usize, String, AcquireRequest)>,
    answers: Answers,
}

impl Caller {
    async fn ask(mut self, end: Instant) -> Answers {
        let mut pace = interval(PAUSE);
        for number in 0.. {
            pace.tick().await;
            if Instant::now() >= end {
                break;
            }
            let kind = &KINDS[(self.who + number) % KINDS.len()];
            let subject = &subjects(kind)[(number / KINDS.len()) % 2];
            let request_id = format!("{}-{number}", self.who);
            let charge = charge(kind, subject, 1 + number as u64 % 3);
            if kind.is_held() {
                let request = AcquireRequest { charge: Some(charge), request_id };
                self.hold(number, subject.clone(), request).await;
            } else {
                let request =
                    CheckRequest { charge: Some(charge), request_id, is_new: false, once: false };
                self.check(number, subject.clone(), request).await;
            }
            self.let_go(number).await;
        }
        self.answers
    }

    async fn check(&mut self, number: usize, subject: String, it: CheckRequest) {
        let cost = it.charge.as_ref().and_then(|charge| charge.cost).unwrap_or(1);
        let asked = Instant::now();
        let reply = self.clients[0].check(it.clone()).await.unwrap().into_inner();
        let answered = Instant::now();
        self.answers.degraded += usize::from(reply.degraded);
        if !reply.allowed {
            assert!(reply.retry_after_ms > 0, "{reply:?}");
            self.answers.denied += 1;
            return;
        }
        let mut stands = true;
        if number % 5 == 2 {
            let again = self.clients[1].check(it.clone()).await.unwrap().into_inner();
            self.answers.repeated += usize::from(again.allowed);
            self.answers.lost += usize::from(!again.allowed);
        } else if number % 7 == 3 {
            let (subject, charge_id) = (subject.clone(), reply.charge_id);
            let request = RefundRequest { subject, charge_id, unless_repeated: false };
            let refunded = self.clients[1].refund(request).await.unwrap().into_inner().refunded;
            self.answers.refunded += usize::from(refunded);
            stands = !refunded;
        }
        self.answers.admitted.push(Admitted { subject, cost, asked, answered, stands });
    }

    /// Most of what is taken is let go in a while; the others end by themselves, some
    /// after they were renewed.
    async fn hold(&mut self, number: usize, subject: String, it: AcquireRequest) {
        let reply = self.clients[0].acquire(it.clone()).await.unwrap().into_inner();
        self.answers.degraded += usize::from(reply.degraded);
        if !reply.acquired {
            assert!(reply.retry_after_ms > 0, "{reply:?}");
            self.answers.denied += 1;
            return;
        }
        self.answers.leases += 1;
        match (self.who + number / KINDS.len()) % 16 {
            0 | 1 => {}
            2..=4 => self.renew(it).await,
            _ => self.held.push((number + HELD, subject, it)),
        }
    }

    async fn renew(&mut self, it: AcquireRequest) {
        let again = self.clients[1].acquire(it.clone()).await.unwrap().into_inner();
        self.answers.renewed += usize::from(again.acquired);
        self.answers.lost += usize::from(!again.acquired);
    }

    async fn let_go(&mut self, number: usize) {
        let due = self.held.extract_if(.., |(until, ..)| *until <= number);
        for (_, subject, it) in due.collect::<Vec<_>>() {
            let request = ReleaseRequest { subject, lease_id: it.request_id };
            let released = self.clients[1].release(request).await.unwrap().into_inner().released;
            self.answers.released += usize::from(released);
        }
    }
}
