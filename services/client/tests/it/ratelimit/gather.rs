//! Checks that are made at the same time.

use std::{sync::atomic::Ordering, time::Duration};

use futures::future::join_all;
use mingle_client::ratelimit::{Limiter, Outage, Source};
use tonic::Code;

use super::{
    limiter::policy,
    service::{Fake, Says, WRONG},
};

const PATIENT: Duration = Duration::from_secs(60);

/// Makes all checks before any of them is answered.
async fn at_once<T>(fake: &Fake, checks: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let closed = fake.barrier.clone().write_owned().await;
    let mut all = Box::pin(join_all(checks));
    assert!(futures::poll!(&mut all).is_pending());
    drop(closed);
    all.await
}

#[tokio::test(start_paused = true)]
async fn those_who_come_meanwhile_are_asked_together_and_each_told_its_own() {
    let fake = Fake::new(Says::Cost);
    let limiter = Limiter::new(fake.transport()).with_deadline(PATIENT);
    let policy = policy(1_000, Outage::Local);
    let closed = fake.barrier.clone().write_owned().await;
    let checks = (1..=600_u64).map(|cost| {
        let (limiter, policy) = (limiter.clone(), policy.clone());
        tokio::spawn(async move {
            let (subject, id) = (format!("user{cost}"), format!("id{cost}"));
            let verdict = limiter.check(&policy, &subject, cost, &id).await.unwrap();
            assert_eq!((verdict.allowed, verdict.source), (true, Source::Shared));
            assert_eq!(verdict.remaining, cost, "another's answer");
        })
    });
    let checks: Vec<_> = checks.collect();
    // All of them wait, four of them for the service itself.
    tokio::time::advance(Duration::from_millis(1)).await;
    drop(closed);
    for check in join_all(checks).await {
        check.unwrap();
    }
    let mut together = fake.together.lock().clone();
    together.sort_unstable();
    assert_eq!((together.iter().sum::<usize>(), fake.asked()), (596, 600));
    assert_eq!(together.last(), Some(&64), "{together:?}");
    assert!(together.len() <= 13, "{together:?}");
    limiter.check(&policy, "ann", 1, "id").await.unwrap();
    assert_eq!(fake.together.lock().iter().sum::<usize>(), 596, "a lone check waits for nobody");
}

#[tokio::test(start_paused = true)]
async fn an_older_service_is_asked_for_each_alone() {
    let fake = Fake { is_old: true, ..Fake::new(Says::Cost) };
    let limiter = Limiter::new(fake.transport()).with_deadline(PATIENT);
    let policy = policy(1_000, Outage::Local);
    let checks = (1..=10).map(|cost| limiter.check(&policy, "ann", cost, "id"));
    for (verdict, cost) in at_once(&fake, checks).await.into_iter().zip(1..) {
        let verdict = verdict.unwrap();
        assert_eq!((verdict.remaining, verdict.source), (cost, Source::Shared));
    }
    assert_eq!(fake.asked(), 10);
    assert_eq!(*fake.together.lock(), [6], "asked in vain");
    for (after, tries) in [(9, 1), (1, 2)] {
        tokio::time::advance(Duration::from_secs(after)).await;
        at_once(&fake, (1..=10).map(|cost| limiter.check(&policy, "ann", cost, "id"))).await;
        assert_eq!(fake.together.lock().len(), tries, "it may be new by now");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_answers_most_in_time_answers_all_in_time() {
    let fake = Fake { takes: Duration::from_millis(12), ..Fake::new(Says::Cost) };
    let limiter = Limiter::new(fake.transport());
    let policy = policy(1_000, Outage::Local);
    for verdict in join_all((1..=300).map(|cost| limiter.check(&policy, "ann", cost, "id"))).await {
        assert_eq!(verdict.unwrap().source, Source::Shared);
    }
    assert_eq!(fake.asked(), 300);
    assert!(fake.together.lock().len() <= 6, "{:?}", fake.together.lock());
}

#[tokio::test(start_paused = true)]
async fn the_impatience_of_some_is_not_that_of_the_others() {
    let fake = Fake { takes: Duration::from_millis(12), ..Fake::new(Says::Cost) };
    let limiter = Limiter::new(fake.transport()).with_deadline(PATIENT);
    let hasty = limiter.clone().with_deadline(Duration::from_millis(8));
    let policy = policy(1_000, Outage::Local);
    let check = |cost| {
        let limiter = if cost <= 6 { &hasty } else { &limiter };
        limiter.check(&policy, "ann", cost, "id")
    };
    for (verdict, cost) in join_all((1..=12).map(check)).await.into_iter().zip(1..) {
        let expected = if cost <= 6 { Source::Process } else { Source::Shared };
        assert_eq!(verdict.unwrap().source, expected, "{cost}");
    }
}

#[tokio::test(start_paused = true)]
async fn closed_limits_are_asked_for_each_alone() {
    let fake = Fake::new(Says::Cost);
    let limiter = Limiter::new(fake.transport()).with_deadline(PATIENT);
    let policy = policy(1_000, Outage::Closed);
    at_once(&fake, (1..=10).map(|cost| limiter.check(&policy, "ann", cost, "id"))).await;
    assert_eq!((fake.asked(), fake.together.lock().len()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_one_is_no_fault_of_the_others() {
    let fake = Fake::new(Says::Cost);
    let limiter = Limiter::new(fake.transport()).with_deadline(PATIENT);
    let policy = policy(1_000, Outage::Local);
    let subject = |cost| if cost == 7 { WRONG } else { "ann" };
    let checks = (1..=10).map(|cost| limiter.check(&policy, subject(cost), cost, "id"));
    for (verdict, cost) in at_once(&fake, checks).await.into_iter().zip(1..) {
        match verdict {
            Ok(verdict) => assert_eq!((verdict.remaining, cost == 7), (cost, false)),
            Err(status) => assert_eq!((status.code(), cost), (Code::InvalidArgument, 7)),
        }
    }
    assert_eq!(*fake.together.lock(), [6]);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_for_all_at_their_deadline_and_holds_nobody_up_afterwards() {
    for says in [Says::Nothing, Says::Fails(Code::Unavailable)] {
        let fake = Fake::new(says);
        let limiter = Limiter::new(fake.transport());
        let policy = policy(1_000, Outage::Open);
        let began = tokio::time::Instant::now();
        let checks = (1..=50).map(|cost| limiter.check(&policy, "ann", cost, "id"));
        for verdict in at_once(&fake, checks).await {
            assert_eq!(verdict.unwrap().source, Source::Process, "{says:?}");
        }
        assert!(began.elapsed().as_millis() <= 20, "{says:?}: {:?}", began.elapsed());
        fake.say(Says::Cost);
        tokio::time::advance(Duration::from_millis(20)).await;
        let checks = (1..=50).map(|cost| limiter.check(&policy, "ann", cost, "id"));
        for verdict in at_once(&fake, checks).await {
            assert_eq!(verdict.unwrap().source, Source::Shared, "{says:?}");
        }
        assert!(!fake.together.lock().is_empty(), "{says:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_left_before_its_turn_is_not_asked() {
    let fake = Fake::new(Says::Cost);
    let limiter = Limiter::new(fake.transport()).with_deadline(PATIENT);
    let policy = policy(1_000, Outage::Local);
    let closed = fake.barrier.clone().write_owned().await;
    let check = |cost| limiter.check(&policy, "ann", cost, "id");
    let mut all: Vec<_> = (1..=10).map(|cost| Box::pin(check(cost))).collect();
    for one in &mut all {
        assert!(futures::poll!(one).is_pending());
    }
    // Two of the first four, whose places others take, and two who waited.
    let left: Vec<_> = [9, 8, 1, 0].into_iter().map(|at| all.swap_remove(at)).collect();
    drop(left);
    drop(closed);
    for verdict in join_all(all).await {
        assert_eq!(verdict.unwrap().source, Source::Shared);
    }
    assert_eq!(fake.together.lock().iter().sum::<usize>(), 4);
    assert_eq!(fake.asked.load(Ordering::Relaxed), 6, "two left before they were answered");
}
