//! Charges and their way back.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use mingle_client::ratelimit::{Charges, Denied, Limiter, Outage, Work};
use tonic::Code;

use super::{
    limiter::policy,
    service::{Fake, Says},
};

type Under =
    Charges<mingle_proto::ratelimit::v1::rate_limit_service_server::RateLimitServiceServer<Fake>>;

fn charges(fake: &Fake, outage: Outage) -> Under {
    let limiter = Limiter::new(fake.transport()).with_deadline(Duration::from_secs(60));
    Charges::new(limiter, policy(2, outage))
}

fn refunds(fake: &Fake) -> (usize, usize) {
    (fake.refunds.0.load(Relaxed), fake.refunds.1.load(Relaxed))
}

#[tokio::test(start_paused = true)]
async fn who_is_denied_is_told_whether_it_was_too_much() {
    let fake = Fake::new(Says::Denied(1_500));
    let denied = charges(&fake, Outage::Local).charge("ann", "id").await.unwrap_err();
    assert!(
        matches!(denied, Denied::Limited { retry_after } if retry_after.as_millis() == 1_500),
        "{denied}"
    );
    fake.say(Says::Closed(1_000));
    let denied = charges(&fake, Outage::Local).charge("ann", "id").await.unwrap_err();
    assert!(matches!(denied, Denied::Closed { .. }), "by the service: {denied}");
    fake.say(Says::Fails(Code::Unavailable));
    let denied = charges(&fake, Outage::Closed).charge("ann", "id").await.unwrap_err();
    assert!(matches!(denied, Denied::Closed { .. }), "by this process: {denied}");
    fake.say(Says::Fails(Code::InvalidArgument));
    let denied = charges(&fake, Outage::Local).charge("ann", "id").await.unwrap_err();
    assert!(matches!(denied, Denied::Broken(_)), "{denied}");
}

#[tokio::test(start_paused = true)]
async fn only_what_was_not_done_goes_back() {
    let fake = Fake::new(Says::Left(5));
    let charges = charges(&fake, Outage::Local);
    let rows = [
        (Work::Done, 0),
        (Work::Unknown, 0),
        (Work::DoneBefore, 1),
        (Work::NotBegun, 2),
        (Work::Undone, 3),
    ];
    for (work, back) in rows {
        let charge = charges.charge("ann", "id").await.unwrap();
        charges.settle(charge, work).await;
        assert_eq!(refunds(&fake), (back, back), "{work:?}");
    }
}

/// An attempt whose outcome is unknown is made again, and is one charge.
#[tokio::test(start_paused = true)]
async fn what_is_counted_here_is_counted_once_for_many_attempts() {
    let fake = Fake::new(Says::Fails(Code::Unavailable));
    let charges = charges(&fake, Outage::Local);
    for _ in 0..10 {
        let charge = charges.charge("ann", "id").await.unwrap();
        charges.settle(charge, Work::Unknown).await;
    }
    for _ in 0..2 {
        let charge = charges.charge("ann", "id").await.unwrap();
        charges.settle(charge, Work::Done).await;
    }
    let denied = charges.charge("ann", "id").await.unwrap_err();
    assert!(matches!(denied, Denied::Limited { .. }), "{denied}");
    assert_eq!(refunds(&fake), (0, 0), "the service knows nothing of them");
}

#[tokio::test]
async fn a_refund_outlives_the_call_that_asked_for_it() {
    let fake = Fake::new(Says::Left(5));
    let charges = charges(&fake, Outage::Local);
    let charge = charges.charge("ann", "id").await.unwrap();
    let held = fake.gate.clone().lock_owned().await;
    tokio::select! {
        () = charges.settle(charge, Work::Undone) => panic!("it waits for the service"),
        () = async {
            while refunds(&fake).0 == 0 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    assert_eq!(refunds(&fake), (1, 0));
    drop(held);
    let answered = async {
        while refunds(&fake).1 == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), answered).await.expect("it was dropped");
}
