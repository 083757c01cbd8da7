//! Chat is gone: half of it, which nobody notices; then all of it.

use mingle_client::ws::{Client, Encoding};
use mingle_testkit::eventually;
use tokio::time::timeout;

use super::{Duration, Ledger, Talk, away, make_room, pass, refusal};
use crate::{
    processes::{plan, urls},
    world::{SOON, greet, next_event},
};

const PAUSE: Duration = Duration::from_millis(200);
/// What the gateway waits for an answer, and what a busy machine adds.
const DEADLINE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_chat_is_not_missed_and_without_all_of_it_talk_waits() {
    let mut deployment = plan().start().await;
    let urls = urls(&deployment);
    let ledger = Ledger::postgres(&deployment.database().url).await;
    // Enough rooms that each process is preferred for some.
    let talk = Talk::across(&deployment, (8, PAUSE)).await;
    let room = make_room(deployment.gateways()[0], "ann").await;
    let mut ann = greet(&urls[0], "ann", Encoding::Json, None).await.unwrap();
    let mut bob = greet(&urls[1], "bob", Encoding::Proto, None).await.unwrap();
    for client in [&mut ann, &mut bob] {
        client.room_join(&room, None).await.unwrap();
    }
    talk.goes_on(32).await;

    let retried = talk.retried();
    deployment.kill9("chat", 0);
    talk.goes_on(32).await;
    pass(away()).await;
    talk.goes_on(32).await;
    let noticed = talk.retried() - retried;
    ann.send(&room, "half", "half").await.unwrap();
    until_heard(&mut bob, "half").await;

    deployment.kill9("chat", 1);
    let answer = timeout(DEADLINE, ann.send(&room, "none", "none")).await.expect("in time");
    let (code, reason) = refusal(answer);
    assert_eq!((&*code, &*reason), ("UNAVAILABLE", "UNAVAILABLE"));
    let before = talk.acknowledged();
    pass(away()).await;
    // Those on their way when it was killed may have been answered after.
    assert!(talk.acknowledged() <= before + 16, "nobody could write it");

    deployment.start().await;
    talk.goes_on(32).await;
    eventually(SOON, "the same is said", async || ann.send(&room, "none", "none").await.is_ok())
        .await;
    until_heard(&mut bob, "none").await;
    eprintln!("{noticed} sends tried again by users without half, {} in all", talk.retried());
    assert!(talk.retried() > retried + noticed, "without all of it sends were refused");
    assert_eq!(noticed, 0, "the other half answered at once");
    talk.end_among_others(&ledger).await;
}

/// The socket is the one from the beginning.
async fn until_heard(client: &mut Client, key: &str) {
    loop {
        if let mingle_client::ws::proto::server_frame::Kind::Message(message) =
            next_event(client).await.unwrap()
            && message.client_msg_id == key
        {
            return;
        }
    }
}
