//! The sliding window.

use mingle_ratelimit::domain::{NEVER, Verdict};

use crate::world::{MINUTE, World, ms};

/// Each call of a user who sends too fast, and what they are told.
pub(crate) async fn table(world: World) {
    // At, allowed, remaining, retry, reset; all in ms.
    let steps = [
        (0, true, 2, 0, 60_000),
        (10_000, true, 1, 0, 60_000),
        (20_000, true, 0, 0, 60_000),
        (30_000, false, 0, 30_000, 50_000),
        (59_999, false, 0, 1, 20_001),
        (60_000, true, 0, 0, 60_000),
        (69_999, false, 0, 1, 50_001),
        (200_000, true, 2, 0, 60_000),
    ];
    let mut now = 0;
    for (at, allowed, remaining, retry, reset) in steps {
        world.clock.advance(at - now);
        now = at;
        let answer = world.check(&world.ask("ann", &at.to_string(), 1, &["three"])).await;
        let standing = answer.standings[0];
        let told =
            (standing.allowed, standing.remaining, ms(standing.retry_us), ms(standing.reset_us));
        assert_eq!(told, (allowed, remaining, retry, reset), "at {at}");
        assert_eq!(answer.verdict.is_allowed(), allowed);
    }
}

/// What was charged at one moment comes back one window later, and denied
/// calls in between cost nothing.
pub(crate) async fn slides(world: World) {
    for id in ["a", "b", "c"] {
        assert!(world.take("ann", id, "three").await);
    }
    for wait in 0..59 {
        assert!(!world.take("ann", &format!("denied {wait}"), "three").await);
        world.clock.advance(1_000);
    }
    world.clock.advance(999);
    assert!(!world.take("ann", "early", "three").await);
    world.clock.advance(1);
    assert_eq!(world.left("ann", "three").await, 3);
}

pub(crate) async fn costs(world: World) {
    let take = async |id: &str, cost| world.check(&world.ask("ann", id, cost, &["ten"])).await;
    assert_eq!(take("a", 6).await.standings[0].remaining, 4);
    world.clock.advance(1_000);
    let denied = take("b", 5).await;
    assert_eq!(denied.verdict, Verdict::Denied);
    assert_eq!(denied.standings[0].remaining, 4);
    assert_eq!(ms(denied.standings[0].retry_us), 15 * 60_000 - 1_000);
    let never = take("c", 11).await;
    assert_eq!((never.verdict, never.standings[0].retry_us), (Verdict::Denied, NEVER));
    assert_eq!(take("d", 4).await.standings[0].remaining, 0);
    // To admit 7, both must have left.
    assert_eq!(ms(take("e", 7).await.standings[0].retry_us), 15 * 60_000);
    assert_eq!(ms(take("f", 6).await.standings[0].retry_us), 15 * 60_000 - 1_000);
}

/// Above 256 the window is counted in slots: never more than the quota in any
/// window, and all of it again a slot later at most.
pub(crate) async fn large_quota(world: World) {
    let slot_ms = (MINUTE as u64).div_ceil(64);
    let mut admitted: Vec<(i64, u64)> = Vec::new();
    for step in 0..400_i64 {
        let id = step.to_string();
        let cost = 7 + u64::from(step % 3 == 0) * 20;
        let answer = world.check(&world.ask("ann", &id, cost, &["thousand"])).await;
        let standing = answer.standings[0];
        let now = step * 613;
        if standing.allowed {
            admitted.push((now, cost));
        } else {
            let counted = |slack: i64| -> u64 {
                let live = admitted.iter().filter(|(at, _)| at + MINUTE + slack > now);
                live.map(|(_, cost)| cost).sum()
            };
            assert!(counted(slot_ms as i64) + cost > 1_000, "denied without need at {now}");
            assert!(ms(standing.retry_us) <= MINUTE as u64 + slot_ms);
        }
        let within = admitted.iter().filter(|(at, _)| at + MINUTE > now);
        assert!(within.map(|(_, cost)| cost).sum::<u64>() <= 1_000, "at {now}");
        world.clock.advance(613);
    }
    assert!(admitted.len() < 400, "nothing was denied");
}

pub(crate) async fn clock_goes_back(world: World) {
    for id in ["a", "b", "c"] {
        assert!(world.take("ann", id, "three").await);
    }
    world.clock.advance(-30_000);
    let answer = world.check(&world.ask("ann", "d", 1, &["three"])).await;
    assert!(!answer.verdict.is_allowed());
    assert_eq!(ms(answer.standings[0].retry_us), 90_000);
    world.clock.advance(89_999);
    assert!(!world.take("ann", "d", "three").await);
    world.clock.advance(1);
    assert!(world.take("ann", "d", "three").await);
}

/// Many at once: exactly the quota is admitted.
pub(crate) async fn crowd(world: World) {
    let asks: Vec<_> = (0..100).map(|n| world.ask("ann", &n.to_string(), 1, &["ten"])).collect();
    let calls = asks.iter().map(|ask| world.check(ask));
    let answers = futures::future::join_all(calls).await;
    let allowed = answers.iter().filter(|answer| answer.verdict.is_allowed()).count();
    assert_eq!(allowed, 10);
    assert_eq!(world.left("ann", "ten").await, 0);
}
