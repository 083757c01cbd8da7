//! What the limiter makes of answers, and of none.

use std::{future::pending, time::Duration};

use mingle_client::ratelimit::{Limiter, Outage, Policy, Source, Verdict};
use tonic::Code;

use super::service::{Fake, Says};

const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn policy(quota: u64, outage: Outage) -> Policy {
    Policy { limit: "api".to_owned(), quota, window: MINUTE, outage }
}

#[tokio::test(start_paused = true)]
async fn the_share_may_be_asked_for_without_a_pause() {
    let limiter = Limiter::new(Fake::new(Says::Nothing).transport());
    let sharing = limiter.clone().share(Duration::ZERO, || async { Some(5) });
    assert!(tokio::time::timeout(MINUTE / 60, sharing).await.is_err(), "it never ends");
    let verdict = limiter.check(&policy(10, Outage::Local), "ann", 1, "id").await.unwrap();
    assert_eq!(verdict.quota, 2);
}

#[tokio::test(start_paused = true)]
async fn answers_are_told_as_they_are() {
    let fake = Fake::new(Says::Left(50));
    let limiter = Limiter::new(fake.transport());
    let policy = policy(120, Outage::Local);
    let expected = Verdict {
        allowed: true,
        quota: 120,
        remaining: 50,
        retry_after: Duration::ZERO,
        reset_after: Duration::from_millis(29_001),
        source: Source::Shared,
        closed: false,
    };
    assert_eq!(limiter.check(&policy, "ann", 3, "id").await.unwrap(), expected);
    let asked = fake.last.lock().take().unwrap();
    let charge = asked.charge.unwrap();
    assert_eq!((&*asked.request_id, &*charge.subject, charge.cost), ("id", "ann", Some(3)));
    assert_eq!(charge.limits, ["api"]);

    fake.say(Says::Denied(1_500));
    let denied = limiter.check(&policy, "ann", 1, "id").await.unwrap();
    assert!(!denied.allowed && !denied.is_degraded());
    assert_eq!(denied.retry_after, Duration::from_millis(1_500));
    fake.say(Says::Denied(u64::MAX));
    let never = limiter.check(&policy, "ann", 1, "id").await.unwrap();
    assert_eq!(never.retry_after, Duration::MAX);

    fake.say(Says::Fails(Code::InvalidArgument));
    let wrong = limiter.check(&policy, "ann", 1, "id").await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument, "a wrong call is no outage");
    fake.say(Says::Left(1));
    assert!(limiter.refund(&policy, "ann", 1, "id").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_decided_by_the_policy() {
    for says in [
        Says::Fails(Code::Unavailable),
        Says::Fails(Code::DeadlineExceeded),
        Says::Fails(Code::ResourceExhausted),
        Says::Nothing,
    ] {
        let fake = Fake::new(says);
        let limiter = Limiter::new(fake.transport());
        let check = async |quota, outage| {
            limiter.check(&policy(quota, outage), "ann", 1, "id").await.unwrap()
        };
        let open = check(3, Outage::Open).await;
        assert!(open.allowed && open.is_degraded(), "{says:?}");
        let closed = check(3, Outage::Closed).await;
        assert!(!closed.allowed && closed.is_degraded() && closed.retry_after > Duration::ZERO);
        assert!(closed.closed && !open.closed);
        for remaining in [2, 1, 0] {
            let local = check(3, Outage::Local).await;
            assert!(local.allowed && local.is_degraded(), "{says:?}");
            assert_eq!(local.remaining, remaining);
        }
        let local = check(3, Outage::Local).await;
        assert!(!local.allowed && local.is_degraded());
        assert!(local.retry_after > Duration::ZERO && local.retry_after <= MINUTE / 60, "soon");
        assert!(!local.closed, "too much is too much");
        assert_eq!(fake.asked(), 8, "the service is asked first, each time, and thrice if closed");
        assert!(limiter.refund(&policy(3, Outage::Local), "ann", 1, "id").await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn silence_costs_the_deadline_and_no_more() {
    let limiter = Limiter::new(Fake::new(Says::Nothing).transport());
    let began = tokio::time::Instant::now();
    limiter.check(&policy(3, Outage::Open), "ann", 1, "id").await.unwrap();
    assert_eq!(began.elapsed().as_millis(), 20);
}

/// Asked but once (no `INSISTS`), a closed limit turns people away for a moment in
/// which the service was busy, and nothing was wrong.
#[tokio::test(start_paused = true)]
async fn a_closed_limit_outlasts_a_busy_moment_and_not_an_outage() {
    for busy in [Says::Nothing, Says::Fails(Code::Unavailable), Says::Closed(1_000)] {
        let fake = Fake::new(busy);
        let limiter = Limiter::new(fake.transport());
        let policy = policy(10, Outage::Closed);
        let (asked, _) = tokio::join!(limiter.check(&policy, "ann", 1, "id"), async {
            let busy_for = Duration::from_millis(200);
            assert!(tokio::time::timeout(busy_for, pending::<()>()).await.is_err());
            fake.say(Says::Left(9));
        });
        let verdict = asked.unwrap();
        assert!(verdict.allowed && verdict.source == Source::Shared, "{busy:?}: {verdict:?}");
        let charge = fake.last.lock().take().unwrap();
        assert_eq!(charge.request_id, "id", "one charge, however often it is asked for");
        fake.say(busy);
        let began = tokio::time::Instant::now();
        assert!(limiter.check(&policy, "ann", 1, "other").await.unwrap().closed);
        assert!(began.elapsed() <= Duration::from_millis(310), "{busy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_share_is_the_quota_by_nodes_and_at_least_one() {
    for (nodes, share) in [(0, 10), (1, 10), (3, 3), (4, 2), (100, 1)] {
        let limiter = Limiter::new(Fake::new(Says::Nothing).transport());
        limiter.set_nodes(nodes);
        let mut allowed = 0;
        for _ in 0..20 {
            let policy = policy(10, Outage::Local);
            let verdict = limiter.clone().check(&policy, "ann", 1, "id").await.unwrap();
            allowed += u64::from(verdict.allowed);
            assert_eq!(verdict.quota, share);
        }
        assert_eq!(allowed, share, "{nodes} nodes");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_does_not_begin_with_a_fresh_quota() {
    let fake = Fake::new(Says::Left(1));
    let limiter = Limiter::new(fake.transport());
    let policy = policy(3, Outage::Local);
    let check = async |subject| limiter.check(&policy, subject, 1, "id").await.unwrap();
    for _ in 0..3 {
        assert!(!check("ann").await.is_degraded());
    }
    fake.say(Says::Fails(Code::Unavailable));
    let blink = check("ann").await;
    assert!(blink.is_degraded() && !blink.allowed, "{blink:?}");
    assert!(check("bob").await.allowed);
    // What is given back is no longer counted, here either.
    fake.say(Says::Left(1));
    assert!(limiter.refund(&policy, "ann", 1, "id").await.unwrap());
    fake.say(Says::Fails(Code::Unavailable));
    assert!(check("ann").await.allowed);
    assert!(!check("ann").await.allowed);
    tokio::time::advance(MINUTE).await;
    assert_eq!(check("ann").await.remaining, 2);
}
