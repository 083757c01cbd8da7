//! What joins cost, at a ratelimit that is there and at one that is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use mingle_proto::{
    matchmaking::v1::Liveness,
    ratelimit::v1::{
        rate_limit_service_server::{RateLimitService, RateLimitServiceServer},
        *,
    },
};
use mingle_runtime::{grpc::Transport, status::Described};
use parking_lot::Mutex;
use tonic::{Request, Response, Status, service::Routes};

use crate::world::{Around, World, fault, request};

const LIMIT: &str = "queue_join";
const QUOTA: usize = 10;
const RETRY_MS: u64 = 12_345;

/// As ratelimit answers, without time: so much of a subject, each id once.
#[derive(Clone, Default)]
struct Ratelimit(Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>);

impl Ratelimit {
    fn transport(&self) -> Transport {
        Transport::local(Routes::new(RateLimitServiceServer::new(self.clone())))
    }

    /// Charges of a user that stand.
    fn charges(&self, user: &str) -> usize {
        self.0.lock().get(user).map_or(0, BTreeSet::len)
    }

    /// The window has passed.
    fn forget(&self) {
        self.0.lock().clear();
    }
}

#[tonic::async_trait]
impl RateLimitService for Ratelimit {
    async fn check(&self, call: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let CheckRequest { charge, request_id } = call.into_inner();
        let charge = charge.unwrap();
        assert_eq!((charge.limits, charge.cost), (vec![LIMIT.to_owned()], 1));
        assert!((1..=256).contains(&request_id.len()));
        let mut held = self.0.lock();
        let ids = held.entry(charge.subject).or_default();
        let allowed = ids.contains(&request_id) || ids.len() < QUOTA;
        if allowed {
            ids.insert(request_id.clone());
        }
        let (charge_id, retry_after_ms) =
            if allowed { (request_id, 0) } else { (String::new(), RETRY_MS) };
        Ok(Response::new(CheckResponse {
            allowed,
            charge_id,
            retry_after_ms,
            ..Default::default()
        }))
    }

    async fn refund(
        &self,
        call: Request<RefundRequest>,
    ) -> Result<Response<RefundResponse>, Status> {
        let RefundRequest { subject, charge_id } = call.into_inner();
        let refunded = self.0.lock().entry(subject).or_default().remove(&charge_id);
        Ok(Response::new(RefundResponse { refunded }))
    }

    async fn check_many(
        &self,
        _: Request<CheckManyRequest>,
    ) -> Result<Response<CheckManyResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn peek(&self, _: Request<PeekRequest>) -> Result<Response<PeekResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn list_limits(
        &self,
        _: Request<ListLimitsRequest>,
    ) -> Result<Response<ListLimitsResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }
}

#[track_caller]
fn denied<T: std::fmt::Debug>(result: Result<T, Status>) -> Duration {
    let told = Described::from(&result.unwrap_err());
    assert_eq!((told.kind.name(), told.reason.as_str()), ("RESOURCE_EXHAUSTED", "RATE_LIMITED"));
    told.retry_after.unwrap()
}

fn wish() -> mingle_proto::matchmaking::v1::CreateTicketRequest {
    request("ann", "female", &["male"])
}

#[tokio::test]
async fn the_eleventh_join_of_a_minute_is_refused_and_the_same_join_is_free() {
    let ratelimit = Ratelimit::default();
    let around = Around { ratelimit: Some(ratelimit.transport()), ..Around::default() };
    let world = World::open(around).await;
    let mut last = world.create(wish()).await.unwrap();
    for n in 1..=QUOTA {
        assert_eq!(ratelimit.charges("ann"), n);
        for _ in 0..2 {
            // At the quota too.
            assert_eq!(world.create(wish()).await.unwrap().ticket_id, last.ticket_id);
        }
        let other = fault(world.create(request("ann", "female", &["other"])).await);
        assert_eq!(other, ("ALREADY_EXISTS", "ALREADY_WAITING".to_owned(), "wants".to_owned()));
        assert_eq!(ratelimit.charges("ann"), n, "no ticket was made");
        world.cancel("ann", &last.ticket_id).await.unwrap();
        if n < QUOTA {
            last = world.create(wish()).await.unwrap();
        }
    }
    assert_eq!(denied(world.create(wish()).await), Duration::from_millis(RETRY_MS));
    assert_eq!(ratelimit.charges("ann"), QUOTA);
    world.create(request("bob", "male", &["female"])).await.unwrap();
    ratelimit.forget();
    world.create(wish()).await.unwrap();
}

#[tokio::test]
async fn a_ticket_that_is_over_is_none_to_whom_is_denied() {
    let ratelimit = Ratelimit::default();
    let around = Around { ratelimit: Some(ratelimit.transport()), ..Around::default() };
    let world = World::open(around).await;
    for _ in 1..QUOTA {
        let ticket = world.create(wish()).await.unwrap();
        world.cancel("ann", &ticket.ticket_id).await.unwrap();
    }
    let leased = || {
        let liveness = Liveness::Lease.into();
        mingle_proto::matchmaking::v1::CreateTicketRequest { liveness, ..wish() }
    };
    let ticket = world.create(leased()).await.unwrap();
    assert_eq!(world.create(leased()).await.unwrap().ticket_id, ticket.ticket_id);
    world.around.clock.advance(30_001);
    denied(world.create(leased()).await);
}

#[tokio::test]
async fn who_was_told_their_match_pays_for_the_next_ticket() {
    let ratelimit = Ratelimit::default();
    let around = Around { ratelimit: Some(ratelimit.transport()), ..Around::default() };
    let world = World::open(around).await;
    for _ in 1..QUOTA {
        let ticket = world.create(wish()).await.unwrap();
        world.cancel("ann", &ticket.ticket_id).await.unwrap();
    }
    let ticket = world.create(wish()).await.unwrap();
    world.create(request("bob", "male", &["female"])).await.unwrap();
    world.matched(&ticket).await;
    assert_eq!(world.create(wish()).await.unwrap().ticket_id, ticket.ticket_id, "untold");
    let next = mingle_proto::matchmaking::v1::CreateTicketRequest {
        told_ticket_ids: vec![ticket.ticket_id.clone()],
        ..wish()
    };
    denied(world.create(next).await);
}

#[tokio::test]
async fn without_ratelimit_this_process_counts() {
    let world = World::open(Around { terms: "quota = 2".to_owned(), ..Around::default() }).await;
    for _ in 0..2 {
        let ticket = world.create(wish()).await.unwrap();
        for _ in 0..3 {
            assert_eq!(world.create(wish()).await.unwrap().ticket_id, ticket.ticket_id);
        }
        world.cancel("ann", &ticket.ticket_id).await.unwrap();
    }
    let retry = denied(world.create(wish()).await);
    assert!(retry > Duration::ZERO && retry <= Duration::from_secs(60), "{retry:?}");
    world.create(request("bob", "male", &["female"])).await.unwrap();
}

#[tokio::test]
async fn without_ratelimit_the_terms_may_admit_nobody_or_everybody() {
    let terms = "outage = 'closed'".to_owned();
    let world = World::open(Around { terms, ..Around::default() }).await;
    denied(world.create(wish()).await);
    let terms = "quota = 1\noutage = 'open'".to_owned();
    let world = World::open(Around { terms, ..Around::default() }).await;
    for _ in 0..3 {
        let ticket = world.create(wish()).await.unwrap();
        world.cancel("ann", &ticket.ticket_id).await.unwrap();
    }
}
