//! What joins cost, at a ratelimit that is there and at one that is not.

use std::time::Duration;

use mingle_proto::matchmaking::v1::Liveness;
use mingle_runtime::{
    grpc::{Routes, Transport},
    status::Described,
};
use mingle_testkit::Ratelimit;
use tonic::Status;

use crate::world::{Around, World, fault, request};

const LIMIT: &str = "queue_join";
const QUOTA: usize = 10;

#[track_caller]
fn denied<T: std::fmt::Debug>(result: Result<T, Status>) -> Duration {
    let told = Described::from(&result.unwrap_err());
    assert_eq!((told.kind.name(), told.reason.as_str()), ("RESOURCE_EXHAUSTED", "RATE_LIMITED"));
    told.retry_after.unwrap()
}

async fn limited(ratelimit: &Ratelimit) -> World {
    let transport = Transport::local(Routes::new(ratelimit.service()));
    World::open(Around { ratelimit: Some(transport), ..Around::default() }).await
}

fn wish() -> mingle_proto::matchmaking::v1::CreateTicketRequest {
    request("ann", "female", &["male"])
}

#[tokio::test]
async fn the_eleventh_join_of_a_minute_is_refused_and_the_same_join_is_free() {
    let ratelimit = Ratelimit::of(LIMIT, QUOTA);
    let world = limited(&ratelimit).await;
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
    assert_eq!(denied(world.create(wish()).await), Duration::from_millis(Ratelimit::RETRY_MS));
    assert_eq!(ratelimit.charges("ann"), QUOTA);
    world.create(request("bob", "male", &["female"])).await.unwrap();
    ratelimit.forget();
    world.create(wish()).await.unwrap();
}

#[tokio::test]
async fn a_ticket_that_is_over_is_none_to_whom_is_denied() {
    let ratelimit = Ratelimit::of(LIMIT, QUOTA);
    let world = limited(&ratelimit).await;
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
    let ratelimit = Ratelimit::of(LIMIT, QUOTA);
    let world = limited(&ratelimit).await;
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
    let closed = fault(world.create(wish()).await);
    assert_eq!((closed.0, &*closed.1), ("UNAVAILABLE", "UNAVAILABLE"), "not too many");
    let terms = "quota = 1\noutage = 'open'".to_owned();
    let world = World::open(Around { terms, ..Around::default() }).await;
    for _ in 0..3 {
        let ticket = world.create(wish()).await.unwrap();
        world.cancel("ann", &ticket.ticket_id).await.unwrap();
    }
}

/// An attempt whose answer was lost is made again, also after its ticket.
#[tokio::test]
async fn attempts_at_one_wish_are_one_charge() {
    let ratelimit = Ratelimit::of(LIMIT, QUOTA);
    let world = limited(&ratelimit).await;
    let wish = |id: &str| mingle_proto::matchmaking::v1::CreateTicketRequest {
        request_id: id.to_owned(),
        ..wish()
    };
    for (id, charges) in [("one", 1), ("two", 2)] {
        let ticket = world.create(wish(id)).await.unwrap();
        for _ in 0..3 {
            assert_eq!(world.create(wish(id)).await.unwrap().ticket_id, ticket.ticket_id);
            assert_eq!(ratelimit.charges("ann"), charges, "it stands for the ticket");
        }
        world.cancel("ann", &ticket.ticket_id).await.unwrap();
    }
    let again = world.create(wish("two")).await.unwrap();
    assert_eq!(ratelimit.charges("ann"), 2, "the second attempt made the ticket");
    world.cancel("ann", &again.ticket_id).await.unwrap();
    let long = fault(world.create(wish(&"x".repeat(257))).await);
    assert_eq!(long, ("INVALID_ARGUMENT", "TOO_LONG".to_owned(), "request_id".to_owned()));
}

/// Nothing was begun, so nothing is paid: who keeps trying joins after it.
#[tokio::test]
async fn wishes_while_the_database_is_away_are_free() {
    let ratelimit = Ratelimit::of(LIMIT, QUOTA);
    let world = limited(&ratelimit).await;
    let ticket = world.create(wish()).await.unwrap();
    world.database.close().await;
    for _ in 0..2 * QUOTA {
        let away = fault(world.create(wish()).await);
        assert_eq!((away.0, ratelimit.charges("ann")), ("UNAVAILABLE", 1), "the ticket's");
    }
    let world = World::open(world.close().await).await;
    assert_eq!(world.create(wish()).await.unwrap().ticket_id, ticket.ticket_id);
    assert_eq!(ratelimit.charges("ann"), 1);
}
