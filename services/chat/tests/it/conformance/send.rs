//! Saying something.

use std::collections::BTreeMap;

use futures::future::join_all;
use mingle_chat::domain::{Change, Intent, Kind, Refusal};

use super::{Subject, TRACE, body, message};

pub(crate) async fn messages_take_the_next_seq_and_are_counted(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    s.clock.advance(1000);
    let first = s.send(&room, "ann", "a").await.unwrap();
    let second = s.send(&room, "bob", "b").await.unwrap();
    assert_eq!((first.position.seq, second.position.seq), (3, 4));
    assert_eq!(first.trace_id, TRACE);
    let view = s.view(&room, "ann").await;
    assert_eq!((&view.room.head, view.room.message_no), (&second.position, 2));
    assert_eq!(view.room.last_active_at, first.sent_at);
    assert_eq!(view.room.created_at, first.sent_at - 1000);
    let log = s.log(&room).await;
    let Change::Message(message) = &log[2].change else { panic!("{log:?}") };
    assert_eq!((message.sender.as_str(), message.client_msg_id.as_str()), ("ann", "a"));
    assert_eq!((message.body.as_str(), message.trace_id.as_str()), ("a says ann", TRACE));
    assert_eq!(message.metadata["tone"], "calm");
    assert_eq!((log[2].id.as_str(), log[2].at), (first.position.id.as_str(), first.sent_at));
    assert!(!message.deleted && message.edited_at.is_none());
}

pub(crate) async fn a_key_stands_for_one_message(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    assert!(!s.store.is_said(&room, "ann", "k").await.unwrap());
    let first = s.say(&room, "ann", "k", "hello").await.unwrap();
    assert!(s.store.is_said(&room, "ann", "k").await.unwrap());
    assert!(!s.store.is_said(&room, "bob", "k").await.unwrap());
    assert!(!s.store.is_said("none", "ann", "k").await.unwrap());
    s.clock.advance(5000);
    let again = s.write(&room, message("ann", "k", "hello")).await.unwrap();
    assert!(again.events.is_empty());
    assert_eq!(s.say(&room, "ann", "k", "hello").await.unwrap(), first);
    assert_eq!(s.say(&room, "ann", "k", "other").await, Err(Refusal::KeyReused));
    // Another sender's key is another key, and so is another room's.
    assert_ne!(s.say(&room, "bob", "k", "hello").await.unwrap(), first);
    let other = s.room(Kind::Pair, &["ann", "bob"]).await;
    assert_ne!(s.say(&other, "ann", "k", "hello").await.unwrap(), first);
    // At the same time, as one batch: one message.
    let same = join_all((0..40).map(|_| s.say(&room, "ann", "m", "once"))).await;
    let same: Vec<_> = same.into_iter().map(Result::unwrap).collect();
    assert!(same.iter().all(|first| *first == same[0]));
    assert_eq!(s.log(&room).await.iter().filter(|event| body(event) == "once").count(), 1);
}

pub(crate) async fn a_retry_is_answered_whatever_became_of_the_room(s: Subject) {
    let room = s.room(Kind::Direct, &["ann", "bob"]).await;
    let first = s.send(&room, "ann", "k").await.unwrap();
    s.leave(&room, "ann").await.unwrap();
    assert_eq!(s.send(&room, "ann", "k").await.unwrap(), first);
    assert_eq!(s.say(&room, "ann", "k", "other").await, Err(Refusal::RoomNotFound));
    s.close(&room, "bob").await.unwrap();
    assert_eq!(s.send(&room, "ann", "k").await.unwrap(), first);
}

pub(crate) async fn strangers_and_closed_rooms_are_refused(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    assert_eq!(s.send(&room, "eve", "k").await, Err(Refusal::RoomNotFound));
    assert_eq!(s.send("nowhere", "ann", "k").await, Err(Refusal::RoomNotFound));
    let channel = s.room(Kind::Channel, &["ann"]).await;
    assert_eq!(s.send(&channel, "eve", "k").await, Err(Refusal::RoomNotFound));
    s.close(&room, "ann").await.unwrap();
    assert_eq!(s.send(&room, "bob", "k").await, Err(Refusal::RoomClosed));
    assert_eq!(s.send(&room, "eve", "k").await, Err(Refusal::RoomNotFound));
}

pub(crate) async fn a_poisonous_message_harms_no_neighbour(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    let keys: Vec<_> = (0..100).map(|n| format!("k{n}")).collect();
    let said = join_all(keys.iter().enumerate().map(|(n, key)| {
        let body = if n % 10 == 7 { "nul \0 here" } else { "fine" };
        s.say(&room, "ann", key, body)
    }));
    for (n, said) in said.await.into_iter().enumerate() {
        match n % 10 {
            7 => assert_eq!(said, Err(Refusal::Nul)),
            _ => assert!(said.is_ok()),
        }
    }
    assert_eq!(s.log(&room).await.len(), 2 + 90);
}

pub(crate) async fn texts_come_back_as_they_were(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    let controls: String = ('\u{1}'..='\u{a0}').collect();
    let odd = [
        "\"quotes\" and \\ and \\u0000 and '",
        "\u{2028}\u{feff}\u{fffd}\u{ffff}\u{10ffff}",
        "e\u{301} \u{1F469}\u{200D}\u{1F680} \u{202E}abc",
        "1e5",
        "null",
        "{\"a\":[1]}",
        " ",
    ];
    comes_back(&s, &room, "controls", &controls).await;
    for text in odd {
        comes_back(&s, &room, text, text).await;
    }
}

pub(super) async fn comes_back(s: &Subject, room: &str, key: &str, text: &str) {
    let mut intent = message("ann", key, text);
    let Intent::Message(new) = &mut intent else { panic!() };
    new.metadata = BTreeMap::from([(text.to_owned(), text.to_owned())]);
    let metadata = new.metadata.clone();
    let sent = s.write(room, intent.clone()).await.unwrap();
    let event = s.log(room).await.pop().unwrap();
    assert_eq!(sent.events, std::slice::from_ref(&event), "{text:?}");
    let Change::Message(kept) = event.change else { panic!() };
    assert_eq!((kept.body.as_str(), kept.client_msg_id.as_str()), (text, key));
    assert_eq!(kept.metadata, metadata);
    // The key is found by the same text.
    assert!(s.write(room, intent).await.unwrap().events.is_empty(), "{text:?}");
}

pub(crate) async fn many_senders_leave_no_hole(s: Subject) {
    let rooms = [
        s.room(Kind::Pair, &["ann", "bob"]).await,
        s.room(Kind::Pair, &["ann", "cem"]).await,
        s.room(Kind::Pair, &["ann", "dan"]).await,
    ];
    let keys: Vec<_> = (0..300).map(|n| format!("k{n}")).collect();
    let sent = join_all(keys.iter().enumerate().map(|(n, key)| s.send(&rooms[n % 3], "ann", key)));
    let sent: Vec<_> = sent.await.into_iter().map(Result::unwrap).collect();
    for (n, room) in rooms.iter().enumerate() {
        let log = s.log(room).await;
        assert_eq!(log.len(), 2 + 100);
        let mut acknowledged: Vec<_> =
            sent.iter().skip(n).step_by(3).map(|first| first.position.seq).collect();
        acknowledged.sort_unstable();
        assert_eq!(acknowledged, (3..=102).collect::<Vec<_>>());
        assert!(log.windows(2).all(|two| two[0].id < two[1].id), "ids ascend with seq");
    }
}
