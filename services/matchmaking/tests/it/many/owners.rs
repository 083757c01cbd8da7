//! Owners of whom nothing is heard, and presence that is asked for them.

use std::time::{Duration, Instant};

use mingle_proto::{matchmaking::v1::TicketState, presence::v1::Status as Shown};
use mingle_store::clock::{Clock as _, SystemClock};
use mingle_testkit::eventually;

use super::Site;
use crate::world::{PATIENCE, get};

const UNLIMITED: &str = "[matchmaking.limit]\nquota = 1000000";

/// An outage in which no proof of life got through, and after which presence
/// has not heard of anybody yet, ends no ticket: its owner is waited for.
#[tokio::test]
async fn an_outage_of_the_index_ends_no_ticket() {
    let site = Site::new().await;
    let (alive, lease) = (Duration::from_secs(3), Duration::from_secs(8));
    let pool = "[matchmaking.pools.random-chat]\nalive_ms = 3000\nlease_ms = 8000";
    let overrides = format!("[matchmaking]\nsweep_ms = 100\n{UNLIMITED}\n{pool}");
    let one = site.instance_with(&overrides).await;
    site.presence.set("ann", Shown::Offline);
    let joined = Instant::now();
    let ann = one.join("ann", "female", &["male"]).await;
    one.until_waiting(1).await;
    site.redis.freeze();
    eventually(PATIENCE, "health to name it", async || one.degraded("matchmaking-index")).await;
    eventually(PATIENCE, "a silence", async || joined.elapsed() > alive).await;
    let back = Instant::now();
    site.redis.thaw();
    eventually(PATIENCE, "health", async || !one.degraded("matchmaking-index")).await;
    // Asked for once the lease is over, and then believed.
    eventually(PATIENCE, "presence to be asked", async || !site.presence.asked().is_empty()).await;
    assert!(back.elapsed() >= lease, "asked {:?} after the outage", back.elapsed());
    eventually(PATIENCE, "the ticket to expire", async || {
        let now = get(&one.client, "ann", &ann.ticket_id, 0).await.unwrap();
        now.state() == TicketState::Expired
    })
    .await;
}

/// A presence that hangs costs the leader a moment of each sweep, not the lead:
/// whoever leads anew compares the whole index with the rows.
#[tokio::test]
async fn a_presence_that_hangs_does_not_make_the_lead_wander() {
    let site = Site::new().await;
    let pools = "alive_ms = 500\n[matchmaking.pools.other]\nalive_ms = 500";
    let pools = format!("[matchmaking.pools.random-chat]\n{pools}");
    let overrides = format!("{UNLIMITED}\n{pools}");
    let one = site.instance_with(&overrides).await;
    one.join("ann", "female", &["male"]).await;
    let leader = || {
        let key = site.redis.cli(&["KEYS", "*:lead:*"]);
        site.redis.cli(&["HGET", &key, "holder"])
    };
    eventually(PATIENCE, "presence to be asked", async || !site.presence.asked().is_empty()).await;
    let first = leader();
    let _other = site.instance_with(&overrides).await;
    site.presence.set_hangs(true);
    let before = site.presence.asked().len();
    // Longer than a lease, however long each is waited for.
    eventually(PATIENCE, "more sweeps", async || site.presence.asked().len() > before + 3).await;
    assert_eq!(leader(), first);
    assert!(one.degraded("matchmaking-presence"));
}

/// Whoever lost the lead asks presence for nobody, and knows no more of it.
#[tokio::test]
async fn who_leads_no_more_does_not_say_that_presence_is_away() {
    let site = Site::new().await;
    let pool = "[matchmaking.pools.random-chat]\nalive_ms = 500";
    let one = site.instance_with(&format!("{UNLIMITED}\n{pool}")).await;
    one.join("ann", "female", &["male"]).await;
    site.presence.set_hangs(true);
    eventually(PATIENCE, "health", async || one.degraded("matchmaking-presence")).await;
    let key = site.redis.cli(&["KEYS", "*:lead:*"]);
    eventually(PATIENCE, "health without it", async || {
        let until = (SystemClock.now_ms() + 2_000).to_string();
        let _ = site.redis.cli(&["HSET", &key, "holder", "another", "until", &until]);
        !one.degraded("matchmaking-presence")
    })
    .await;
    assert_eq!(site.redis.cli(&["HGET", &key, "holder"]), "another");
}

/// The index was away when the owner of a ticket went on by polls, and holds it
/// as that of a socket.
#[tokio::test]
async fn who_polls_is_not_gone_because_no_socket_is_there() {
    let site = Site::new().await;
    let pool = "[matchmaking.pools.random-chat]\nalive_ms = 1000";
    let overrides = format!("[matchmaking]\nsweep_ms = 100\n{UNLIMITED}\n{pool}");
    let one = site.instance_with(&overrides).await;
    let ann = one.join("ann", "female", &["male"]).await;
    site.sql("update mm_tickets set liveness = 'lease', lease_until = expires_at").await;
    site.presence.set("ann", Shown::Offline);
    let asked = async || !site.presence.asked().is_empty();
    eventually(PATIENCE, "presence to be asked", asked).await;
    let bob = one.join("bob", "male", &["female"]).await;
    assert_eq!(one.matched(&bob).await.user_ids, ["ann", "bob"]);
    let ann = get(&one.client, "ann", &ann.ticket_id, 0).await.unwrap();
    assert_eq!(ann.state(), TicketState::Matched);
}
