use std::time::Duration;

use mingle_store::breaker::{Breaker, Policy};

#[tokio::test(start_paused = true)]
async fn opens_on_enough_failures_of_enough_calls() {
    let breaker = Breaker::new("test", Policy::default());
    for _ in 0..30 {
        breaker.record(false);
    }
    for _ in 0..30 {
        breaker.record(true);
    }
    assert!(!breaker.is_open(), "half of the calls failed, which is not more than half");
    breaker.record(true);
    assert!(breaker.is_open());
    breaker.close();
    assert!(!breaker.is_open());
}

#[tokio::test(start_paused = true)]
async fn failures_spread_over_windows_do_not_open() {
    let breaker = Breaker::new("test", Policy::default());
    for _ in 0..10 {
        for _ in 0..19 {
            breaker.record(true);
        }
        tokio::time::advance(Duration::from_millis(1001)).await;
    }
    assert!(!breaker.is_open());
    breaker.open();
    assert!(breaker.is_open(), "a lost heartbeat opens at once");
}
