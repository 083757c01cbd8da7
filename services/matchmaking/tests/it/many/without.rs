//! Redis does not answer, all processes or one: they match all the same, each
//! ticket once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mingle_proto::matchmaking::v1::{Ticket, watch_request::Action};
use mingle_store::clock::SystemClock;
use mingle_testkit::{Fault, Proxy, eventually};

use super::{Instance, OVERRIDES, Site};
use crate::world::{Follower, PATIENCE};

const INDEX: &str = "matchmaking-index";

async fn way_to(site: &Site) -> (Proxy, String) {
    let proxy = Proxy::to(site.redis.address()).await;
    let way = format!("redis://{}", proxy.address());
    (proxy, way)
}

async fn until_degraded(instances: &[&Instance], is_away: bool) {
    for one in instances {
        eventually(PATIENCE, "health", async || one.degraded(INDEX) == is_away).await;
    }
}

/// Everybody is in one match of two, who were asked for at different processes.
async fn assert_paired(site: &Site, tickets: &[Ticket]) {
    let (users, matches) = (tickets.len(), tickets.len() / 2);
    assert_eq!(site.count("select count(*) from mm_matches").await, matches);
    let matched = "select count(*) from mm_tickets where state = 'matched'";
    assert_eq!(site.count(matched).await, users);
    let members = "select count(distinct user_id) from mm_matches, \
                   json_array_elements_text(user_ids::json) user_id";
    assert_eq!(site.count(members).await, users);
}

#[tokio::test]
async fn redis_frozen_and_woken_they_meet_across_processes_once() {
    let site = Site::new().await;
    let (one, other) = (site.instance().await, site.instance().await);
    let mut tickets = vec![one.join("early", "female", &["male"]).await];
    one.until_waiting(1).await;
    site.redis.freeze();
    // Late by then, so that a ticket is also asked for before anybody knows.
    tickets.push(other.join("late", "male", &["female"]).await);
    for n in 0..20 {
        tickets.push(one.join(&format!("f{n}"), "female", &["male"]).await);
        tickets.push(other.join(&format!("m{n}"), "male", &["female"]).await);
    }
    for ticket in &tickets {
        let matched = one.matched(ticket).await;
        assert_eq!(matched.user_ids.len(), 2);
    }
    until_degraded(&[&one, &other], true).await;
    site.redis.thaw();
    until_degraded(&[&one, &other], false).await;
    let errors = site.redis.cli(&["INFO", "errorstats"]);
    assert!(errors.contains("errorstat_LATE"), "an abandoned script came late: {errors}");
    // The index held the early one, and whatever it did late.
    one.until_waiting(0).await;
    assert_paired(&site, &tickets).await;
    assert_eq!(site.chat.rooms().len(), tickets.len() / 2);
}

#[tokio::test]
async fn redis_away_for_one_process_only_it_meets_those_of_the_other() {
    let site = Site::new().await;
    let (proxy, way) = way_to(&site).await;
    let cut = site.instance_over(&way, OVERRIDES, Arc::new(SystemClock)).await;
    let well = site.instance().await;
    proxy.set(Fault::Cut);
    until_degraded(&[&cut], true).await;
    let mut tickets = vec![cut.join("ann", "female", &["male"]).await];
    tickets.push(well.join("bob", "male", &["female"]).await);
    assert_eq!(well.matched(&tickets[1]).await.user_ids, ["ann", "bob"]);
    // The other way round: who waits in the index is a row for the blind one.
    tickets.push(well.join("carl", "male", &["female"]).await);
    tickets.push(cut.join("eve", "female", &["male"]).await);
    assert_eq!(cut.matched(&tickets[3]).await.user_ids, ["carl", "eve"]);
    assert!(cut.degraded(INDEX) && !well.degraded(INDEX));
    assert!(proxy.traffic().cut > 0);
    proxy.set(Fault::None);
    until_degraded(&[&cut], false).await;
    well.until_waiting(0).await;
    assert_paired(&site, &tickets).await;
}

#[tokio::test]
async fn a_proof_of_life_that_a_blind_process_took_counts_for_all() {
    let site = Site::new().await;
    let alive = Duration::from_secs(8);
    let overrides = OVERRIDES.replace("alive_ms = 3600000", "alive_ms = 8000");
    let (proxy, way) = way_to(&site).await;
    let cut = site.instance_over(&way, &overrides, Arc::new(SystemClock)).await;
    let well = site.instance_with(&overrides).await;
    proxy.set(Fault::Cut);
    until_degraded(&[&cut], true).await;
    let ann = cut.join("ann", "female", &["male"]).await;
    let joined = Instant::now();
    let mut follower = Follower::of(&cut.client).await;
    eventually(PATIENCE, "a long wait, proved to the blind one", async || {
        follower.act(Action::Alive, &[&ann.ticket_id]).await;
        joined.elapsed() > alive * 2
    })
    .await;
    // What the stream has under way runs here, and would keep its transaction open.
    follower.done().await;
    // Nobody but the index is left to propose her.
    cut.kill();
    let bob = well.join("bob", "male", &["female"]).await;
    assert_eq!(well.matched(&bob).await.user_ids, ["ann", "bob"]);
}
