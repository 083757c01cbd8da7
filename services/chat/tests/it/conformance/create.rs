//! Making rooms.

use futures::future::join_all;
use mingle_chat::domain::{Answer, Change, Intent, Kind, Refusal, Verdict};

use super::{Subject, new_room};

/// The id of the room answered, and whether it is new.
fn made(verdict: Verdict) -> (String, bool) {
    match verdict.unwrap().answer {
        Answer::Room { view, new } => (view.room.room_id, new),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_new_room_tells_its_members_in_order(s: Subject) {
    let room = s.room(Kind::Direct, &["ann", "bob", "cem"]).await;
    let joined: Vec<_> = s.log(&room).await.into_iter().map(|event| event.change).collect();
    let expected = ["ann", "bob", "cem"].map(|user| Change::Joined { user_id: user.to_owned() });
    assert_eq!(joined, expected);
    let view = s.view(&room, "bob").await;
    assert!(view.is_member() && !view.room.closed);
    assert_eq!((view.room.head.seq, view.room.member_count, view.unread()), (3, 3, 0));
    assert_eq!((view.room.name.as_str(), view.room.creator.as_str()), ("a room", "ann"));
    assert_eq!(view.room.head.id, s.log(&room).await[2].id);
    assert!(s.store.view("no-such-room", "ann").await.unwrap().is_none());
}

pub(crate) async fn a_room_is_not_made_fuller_than_it_may_be(s: Subject) {
    let five = ["a", "b", "c", "d", "e"];
    s.room(Kind::Direct, &five).await;
    let six = new_room(Kind::Direct, &[&five[..], &["f"]].concat(), None);
    assert_eq!(s.write("full", Intent::Create(six)).await.unwrap_err(), Refusal::RoomFull);
    assert!(s.store.view("full", "a").await.unwrap().is_none());
}

pub(crate) async fn an_external_id_makes_creation_idempotent(s: Subject) {
    let create = |id: &'static str, members: &'static [&'static str]| {
        s.write(id, Intent::Create(new_room(Kind::Pair, members, Some("match-1"))))
    };
    assert_eq!(made(create("room-1", &["ann", "bob"]).await), ("room-1".to_owned(), true));
    assert_eq!(made(create("room-2", &["ann", "bob"]).await), ("room-1".to_owned(), false));
    assert_eq!(create("room-3", &["ann", "cem"]).await.unwrap_err(), Refusal::ExternalIdReused);
    let other_kind = new_room(Kind::Direct, &["ann", "bob"], Some("match-1"));
    let refused = s.write("room-4", Intent::Create(other_kind)).await.unwrap_err();
    assert_eq!(refused, Refusal::ExternalIdReused);
    assert_eq!(s.log("room-1").await.len(), 2);
    assert!(s.store.view("room-2", "ann").await.unwrap().is_none());
}

pub(crate) async fn an_external_id_is_one_room_also_within_a_batch(s: Subject) {
    let ids: Vec<_> = (0..50).map(|n| format!("room-{n}")).collect();
    let new = || Intent::Create(new_room(Kind::Direct, &["ann", "bob"], Some("same")));
    let made: Vec<_> =
        join_all(ids.iter().map(|id| s.write(id, new()))).await.into_iter().map(made).collect();
    assert_eq!(made.iter().filter(|(_, new)| *new).count(), 1);
    assert!(made.iter().all(|(id, _)| *id == made[0].0));
    // The creator's own view comes along also when the room was there.
    let again = s.write("room-x", new()).await.unwrap();
    let Answer::Room { view, new: false } = again.answer else { panic!("{again:?}") };
    assert!(view.is_member());
}
