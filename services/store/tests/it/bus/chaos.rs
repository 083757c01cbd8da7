//! Faults without order while numbers are committed and announced: whoever
//! follows has every number, live or read after a gap it was told of.

use std::{
    sync::{Arc, atomic::AtomicU32, atomic::Ordering},
    time::Duration,
};

use mingle_store::bus::{Bus, Options};
use mingle_testkit::eventually;

use super::{
    follower::{Follower, Truth, Writer},
    reader::PATIENCE,
    stage::{QUICK, Stage, heard, settled, start},
};

const FAULTS: u32 = 12;

/// Lets the writer write `more` numbers.
async fn progress(truth: &Truth, more: u32) {
    let wanted = truth.committed() + more;
    eventually(PATIENCE, "more numbers", async || truth.committed() >= wanted).await;
}

/// One fault and its end.
async fn fault(stage: &Stage, number: u32, truth: &Truth) -> u32 {
    match number % 6 {
        0 => stage.kill_subscriptions(),
        1 => stage.redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]).parse().unwrap(),
        2 => stage.terminate_listeners(),
        3 => {
            stage.redis.freeze();
            progress(truth, 20).await;
            stage.redis.thaw();
            1
        }
        4 => stage.kill_subscriptions() + stage.terminate_listeners(),
        _ => {
            stage.redis.restart_empty().await;
            1
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_without_a_gap() {
    let stage = Stage::open().await;
    let here = start(stage.on_both().await, QUICK).await;
    let there = start(stage.on_both().await, QUICK).await;
    let (bus, other): (Arc<dyn Bus>, Arc<dyn Bus>) = (here.clone(), there.clone());
    let (truth, end) = (Truth::default(), Arc::new(AtomicU32::new(u32::MAX)));
    let own = Follower::start(&bus, "a", &truth, end.clone()).await;
    let foreign = Follower::start(&other, "a", &truth, end.clone()).await;
    let writer = Writer::start(bus, "a", &truth);
    let mut hit = 0;
    for number in 0..FAULTS {
        progress(&truth, 20).await;
        hit += fault(&stage, number, &truth).await;
        if number % 3 == 2 {
            // Sometimes all is well again before the next one.
            for bus in [&here, &there] {
                heard(bus).await;
                settled(bus).await;
            }
        }
    }
    progress(&truth, 20).await;
    for bus in [&here, &there] {
        heard(bus).await;
    }
    let refused = writer.stop().await;
    end.store(truth.committed(), Ordering::SeqCst);
    // The last news: whoever waits for a number looks at the end again.
    let last = truth.committed();
    for bus in [&here, &there] {
        bus.publish(&[super::reader::announcement("a", last)]).await.unwrap();
    }
    let (own, foreign) = (own.end().await, foreign.end().await);
    eprintln!("{last} numbers, {hit} hits, {refused} refused; own {own:?}, foreign {foreign:?}");
    assert!(hit >= FAULTS, "faults hit connections: {hit}");
    for seen in [own, foreign] {
        assert!(seen.gaps >= 2 && seen.live > seen.read, "{seen:?}");
    }
}

/// Prints what an idle bus asks of Redis.
#[tokio::test]
async fn an_idle_bus_costs_its_heartbeat() {
    let stage = Stage::open().await;
    let bus = start(stage.on_both().await, Options::default()).await;
    let calls = |command: &str| -> u32 {
        let stats = stage.redis.cli(&["INFO", "commandstats"]);
        let head = format!("cmdstat_{command}:calls=");
        let line = stats.lines().find_map(|line| line.strip_prefix(&head));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    };
    let commands = ["publish", "subscribe", "ping", "time"];
    let (begin, before) = (tokio::time::Instant::now(), commands.map(calls));
    eventually(PATIENCE, "five heartbeats", async || calls("publish") >= before[0] + 5).await;
    let minutes = begin.elapsed().as_secs_f64() / 60.0;
    let after = commands.map(calls);
    for ((command, before), after) in commands.iter().zip(before).zip(after) {
        let each = f64::from(after - before) / minutes;
        eprintln!("an idle process: {each:.0} {command} a minute");
    }
    assert_eq!(after[1], before[1], "nothing is subscribed to anew");
    assert!(bus.sources().redis == Some(true));
    tokio::time::timeout(Duration::from_secs(5), bus.close()).await.expect("a bounded end");
}
