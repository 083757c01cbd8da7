//! Users who do more than they may, as their clients are told.

use mingle_client::ws::{Encoding, Error};

use crate::world::World;

const MESSAGES: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_too_much_is_told_when_to_go_on() {
    let quota = MESSAGES.to_string();
    let world = World::with(&[("MINGLE_RATELIMIT__LIMITS__CHAT_MESSAGE__QUOTA", &quota)]).await;
    let room = world.room(&["ann", "bob"]).await;
    let mut ann = world.client("ann", Encoding::Json).await;
    let mut bob = world.client("bob", Encoding::Proto).await;
    let mut first = None;
    for n in 0..MESSAGES {
        let sent = ann.send(&room, &n.to_string(), "hello").await.unwrap();
        first.get_or_insert(sent.message_id);
    }
    match ann.send(&room, "late", "hello").await {
        Err(Error::Refused(error)) => {
            let told = (error.code.as_str(), error.reason.as_str());
            assert_eq!(told, ("RESOURCE_EXHAUSTED", "RATE_LIMITED"));
            assert!((1..=60_000).contains(&error.retry_after_ms), "{error:?}");
        }
        other => panic!("{other:?}"),
    }
    let again = ann.send(&room, "0", "hello").await.unwrap();
    assert_eq!(Some(again.message_id), first, "a repetition is answered");
    bob.send(&room, "0", "hello").await.unwrap();
    assert_eq!(world.history("bob", &room).await.len(), MESSAGES + 1);
}
