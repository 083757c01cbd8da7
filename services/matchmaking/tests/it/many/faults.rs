//! Redis loses replies, freezes, forgets and goes away: who waits is in the
//! rows, and is found.

use mingle_matchmaking::{
    domain::{Content, Entry, Position},
    store::Index,
};
use mingle_proto::matchmaking::v1::TicketState;

use super::{Instance, Site, pools};
use crate::world::{POOL, cancel};

/// A proposal that nobody learns of: as when the connection dies after the
/// script ran.
async fn lose_a_proposal(site: &Site, ticket_id: &str) {
    let wants = Content {
        attributes: [("gender".to_owned(), "male".to_owned())].into(),
        ..Content::default()
    };
    let ghost = Entry {
        position: Position { created_at: 1, ticket_id: "ghost".into() },
        user_id: "ghost".into(),
        bucket: pools()[POOL].bucket(&wants).unwrap(),
        recent: Vec::new().into(),
        alive_at: None,
        spared_until: 0,
    };
    let now = mingle_store::clock::Clock::now_ms(&mingle_store::clock::SystemClock);
    let lost = site.index().await.enqueue(POOL, ghost, now).await.unwrap().unwrap();
    assert_eq!(&*lost.entries[1].position.ticket_id, ticket_id);
}

#[tokio::test]
async fn who_was_in_a_lost_proposal_is_put_back() {
    let site = Site::new().await;
    let (one, other) = (site.instance().await, site.instance().await);
    let ann = one.join("ann", "female", &["male"]).await;
    one.until_waiting(1).await;
    lose_a_proposal(&site, &ann.ticket_id).await;
    // By the sweep, from the rows.
    other.until_waiting(1).await;
    let bob = other.join("bob", "male", &["female"]).await;
    assert_eq!(other.matched(&bob).await.user_ids, ["ann", "bob"]);
}

async fn waits_through_a_loss(site: &Site, one: &Instance) {
    let eve = one.join("eve", "female", &["male"]).await;
    let gone = one.join("gone", "male", &["other"]).await;
    let ended = cancel(&one.client, "gone", &gone.ticket_id).await.unwrap();
    assert_eq!(ended.state(), TicketState::Cancelled);
    site.redis.restart_empty().await;
    // Those from before and those from meanwhile, with their ages.
    one.until_waiting(2).await;
    let bob = one.join("bob", "male", &["female"]).await;
    assert_eq!(one.matched(&bob).await.user_ids, ["ann", "bob"]);
    let carl = one.join("carl", "male", &["female"]).await;
    assert_eq!(one.matched(&carl).await.user_ids, ["carl", "eve"]);
    one.matched(&eve).await;
    assert_eq!(site.count("select count(*) from mm_matches").await, 2);
}

#[tokio::test]
async fn away_and_back_without_its_data_it_is_built_from_the_rows() {
    let site = Site::new().await;
    let one = site.instance().await;
    one.join("ann", "female", &["male"]).await;
    one.until_waiting(1).await;
    site.redis.kill();
    waits_through_a_loss(&site, &one).await;
}

#[tokio::test]
async fn a_process_starts_while_redis_is_away() {
    let site = Site::new().await;
    site.redis.kill();
    let one = site.instance().await;
    one.join("ann", "female", &["male"]).await;
    assert_eq!(one.waiting().await.unwrap(), 1, "by the rows");
    waits_through_a_loss(&site, &one).await;
    one.end().await;
}
