//! Making rooms.

use futures::future::join_all;
use mingle_chat::domain::{Answer, Change, Intent, Kind, Refusal};

use super::{Subject, new_room};

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
    for (kind, other_kind) in [(Kind::Pair, None), (Kind::Direct, Some(Kind::Channel))] {
        let external_id = format!("{kind:?}");
        let new = |kind, members: &[&str]| new_room(kind, members, Some(external_id.as_str()));
        let (room, is_new) = s.made(&format!("{kind:?}-1"), new(kind, &["ann", "bob"])).await;
        assert!(is_new);
        let again = format!("{kind:?}-2");
        assert_eq!(s.made(&again, new(kind, &["ann", "bob"])).await, (room.clone(), false));
        assert!(s.store.view(&again, "ann").await.unwrap().is_none());
        let other_members = Some(new(kind, &["ann", "cem"]));
        let other_kind = other_kind.map(|kind| new(kind, &["ann", "bob"]));
        for other in [other_members, other_kind].into_iter().flatten() {
            let refused = s.write("another", Intent::Create(other)).await.unwrap_err();
            assert_eq!(refused, Refusal::ExternalIdReused);
        }
        assert_eq!(s.log(&room).await.len(), 2);
    }
}

pub(crate) async fn an_external_id_is_one_room_also_within_a_batch(s: Subject) {
    let ids: Vec<_> = (0..50).map(|n| format!("room-{n}")).collect();
    let new = || new_room(Kind::Direct, &["ann", "bob"], Some("same"));
    let made = join_all(ids.iter().map(|id| s.made(id, new()))).await;
    assert_eq!(made.iter().filter(|(_, new)| *new).count(), 1);
    assert!(made.iter().all(|(id, _)| *id == made[0].0));
    // The creator's own view comes along also when the room was there.
    let again = s.write("room-x", Intent::Create(new())).await.unwrap();
    let Answer::Room { view, new: false } = again.answer else { panic!("{again:?}") };
    assert!(view.is_member());
}
