//! Coming and going.

use futures::future::join_all;
use mingle_chat::domain::{Answer, Change, CloseReason, Kind, Refusal};

use super::Subject;

pub(crate) async fn a_pair_closes_when_one_leaves(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    s.send(&room, "bob", "k").await.unwrap();
    let left = s.leave(&room, "ann").await.unwrap();
    let told: Vec<_> = left.events.iter().map(|event| event.change.clone()).collect();
    let closed = Change::Closed { closer: "ann".to_owned(), reason: CloseReason::Left };
    assert_eq!(told, [Change::Left { user_id: "ann".to_owned() }, closed]);
    assert_eq!(s.log(&room).await[3..], left.events);
    for user in ["ann", "bob"] {
        let view = s.view(&room, user).await;
        assert!(view.room.closed && view.may_read(), "{user} still reads it");
    }
    assert!(!s.view(&room, "eve").await.may_see());
    assert!(s.leave(&room, "ann").await.unwrap().events.is_empty());
    assert_eq!(s.leave(&room, "eve").await.unwrap_err(), Refusal::RoomNotFound);
    assert_eq!(s.join(&room, "ann").await.unwrap_err(), Refusal::RoomClosed);
    assert_eq!(s.join(&room, "eve").await.unwrap_err(), Refusal::RoomNotFound);
    // The other one goes too: told, and not closed again.
    let left = s.leave(&room, "bob").await.unwrap();
    assert_eq!(left.events.len(), 1);
    assert_eq!(s.view(&room, "bob").await.room.member_count, 0);
}

pub(crate) async fn a_direct_room_is_a_fixed_set(s: Subject) {
    let room = s.room(Kind::Direct, &["ann", "bob", "cem"]).await;
    assert!(s.join(&room, "ann").await.unwrap().events.is_empty());
    assert_eq!(s.join(&room, "eve").await.unwrap_err(), Refusal::RoomNotFound);
    assert_eq!(s.leave(&room, "bob").await.unwrap().events.len(), 1);
    let view = s.view(&room, "bob").await;
    assert!(!view.room.closed && view.may_see() && !view.may_read());
    assert_eq!(s.join(&room, "bob").await.unwrap_err(), Refusal::RoomNotFound);
    assert_eq!(s.send(&room, "bob", "k").await, Err(Refusal::RoomNotFound));
    assert!(s.send(&room, "ann", "k").await.is_ok());
}

pub(crate) async fn a_channel_is_open_until_it_is_full(s: Subject) {
    let room = s.room(Kind::Channel, &["ann"]).await;
    s.send(&room, "ann", "before").await.unwrap();
    assert!(s.view(&room, "eve").await.may_see() && !s.view(&room, "eve").await.may_read());
    let joined = s.join(&room, "eve").await.unwrap();
    let Answer::Room { view, new: true } = &joined.answer else { panic!("{joined:?}") };
    assert!(view.is_member());
    assert_eq!((view.room.member_count, view.unread()), (2, 0), "what was before is not unread");
    s.send(&room, "ann", "after").await.unwrap();
    assert_eq!(s.view(&room, "eve").await.unread(), 1);
    // Five at most, also when eight come at once.
    let users: Vec<_> = (0..8).map(|n| format!("user-{n}")).collect();
    let came = join_all(users.iter().map(|user| s.join(&room, user))).await;
    let refused: Vec<_> = came.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused, [Refusal::RoomFull; 5]);
    assert!(s.join(&room, "eve").await.unwrap().events.is_empty(), "a member stays one");
    // Who leaves makes room, and may come back with nothing unread.
    let left = s.leave(&room, "eve").await.unwrap().events[0].seq;
    let view = s.view(&room, "eve").await;
    assert!(!view.may_read());
    let up_to = [0, 1, left - 1, left].map(|after| view.lacks_up_to(after));
    assert_eq!(up_to, [None, Some(left), Some(left), None]);
    s.send(&room, "ann", "meanwhile").await.unwrap();
    s.join(&room, "eve").await.unwrap();
    let view = s.view(&room, "eve").await;
    assert_eq!((view.unread(), view.room.member_count), (0, 5));
    assert_eq!(view.lacks_up_to(1), None, "a member lacks nothing");
    s.close(&room, "ann").await.unwrap();
    assert_eq!(s.join(&room, "fay").await.unwrap_err(), Refusal::RoomClosed);
}

pub(crate) async fn who_may_close_what(s: Subject) {
    for (kind, user, verdict) in [
        (Kind::Pair, "ann", None),
        (Kind::Pair, "bob", None),
        (Kind::Pair, "eve", Some(Refusal::RoomNotFound)),
        (Kind::Direct, "bob", None),
        (Kind::Direct, "eve", Some(Refusal::RoomNotFound)),
        (Kind::Channel, "ann", None),
        (Kind::Channel, "bob", Some(Refusal::NotAllowed)),
        (Kind::Channel, "eve", Some(Refusal::RoomNotFound)),
    ] {
        let room = s.room(kind, &["ann", "bob"]).await;
        let closed = s.close(&room, user).await;
        assert_eq!(closed.as_ref().err(), verdict.as_ref(), "{kind:?} {user}");
        if let Ok(written) = closed {
            let reason = CloseReason::Closed;
            let expected = Change::Closed { closer: user.to_owned(), reason };
            assert_eq!(written.events[0].change, expected);
            assert!(s.close(&room, user).await.unwrap().events.is_empty());
        }
        assert_eq!(s.view(&room, "ann").await.room.closed, verdict.is_none());
    }
}

pub(crate) async fn members_are_listed_in_order_of_joining(s: Subject) {
    let room = s.room(Kind::Channel, &["zoe", "ann"]).await;
    s.clock.advance(10);
    s.join(&room, "mia").await.unwrap();
    s.leave(&room, "ann").await.unwrap();
    s.join(&room, "bob").await.unwrap();
    s.join(&room, "ann").await.unwrap();
    let members = s.store.members(&room).await.unwrap();
    let users: Vec<_> = members.iter().map(|member| member.user_id.as_str()).collect();
    assert_eq!(users, ["zoe", "mia", "bob", "ann"]);
    assert_eq!(members[1].joined_at, members[0].joined_at + 10);
}

pub(crate) async fn shared_rooms_are_live_ones(s: Subject) {
    let others: Vec<_> = ["cem", "bob", "dan", "eve", "ann"].map(str::to_owned).into();
    let shared = async || s.store.shared("ann", &others).await.unwrap();
    assert!(shared().await.is_empty());
    let pair = s.room(Kind::Pair, &["ann", "bob"]).await;
    let direct = s.room(Kind::Direct, &["ann", "cem"]).await;
    s.room(Kind::Channel, &["dan", "eve"]).await;
    assert_eq!(shared().await, ["cem", "bob", "ann"]);
    s.close(&pair, "bob").await.unwrap();
    assert_eq!(shared().await, ["cem", "ann"], "a closed pair does not count");
    s.close(&direct, "cem").await.unwrap();
    assert_eq!(shared().await, ["cem", "ann"], "another closed room does");
    s.leave(&direct, "cem").await.unwrap();
    assert_eq!(shared().await, ["ann"], "who left does not");
}
