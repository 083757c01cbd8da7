//! Pages, cursors and lists.

use mingle_chat::{
    domain::{Answer, Bookmark, Intent, Kind, Refusal},
    store::PAGE_BYTES,
};

use super::{Subject, body, delete, edit};

pub(crate) async fn history_is_messages_only_oldest_first(s: Subject) {
    let room = s.room(Kind::Direct, &["ann", "bob", "cem"]).await;
    let mut sent = Vec::new();
    for n in 0..6 {
        sent.push(s.say(&room, "ann", &format!("k{n}"), &format!("m{n}")).await.unwrap());
        s.write(&room, edit("ann", &sent[n], &format!("e{n}"))).await.unwrap();
    }
    s.write(&room, delete("ann", &sent[4])).await.unwrap();
    s.leave(&room, "cem").await.unwrap();
    let history = async |before, limit| {
        let page = s.store.history(&room, before, limit).await.unwrap();
        let bodies: Vec<_> = page.events.iter().map(|event| body(event).to_owned()).collect();
        (bodies, page.has_more)
    };
    let all = ["e0", "e1", "e2", "e3", "", "e5"].map(str::to_owned);
    assert_eq!(history(u64::MAX, 50).await, (all.to_vec(), false));
    assert_eq!(history(u64::MAX, 6).await, (all.to_vec(), false), "exactly full is not more");
    assert_eq!(history(u64::MAX, 5).await, (all[1..].to_vec(), true));
    let third = sent[2].position.seq;
    assert_eq!(history(third, 50).await, (all[..2].to_vec(), false));
    assert_eq!(history(third, 1).await, (all[1..2].to_vec(), true));
    assert_eq!(history(third + 1, 1).await, (all[2..3].to_vec(), true));
    assert_eq!(history(1, 50).await, (Vec::new(), false));
}

pub(crate) async fn history_is_bounded_in_bytes(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    for n in 0..50 {
        s.say(&room, "ann", &format!("k{n}"), &"x".repeat(8192)).await.unwrap();
    }
    let page = s.store.history(&room, u64::MAX, 50).await.unwrap();
    let bytes: usize = page.events.iter().map(|event| event.size()).sum();
    assert!(page.has_more && bytes <= PAGE_BYTES && page.events.len() > 25);
    assert_eq!(page.events.last().unwrap().seq, 52);
    let rest = s.store.history(&room, page.events[0].seq, 50).await.unwrap();
    assert_eq!(rest.events.len() + page.events.len(), 50);
    assert!(!rest.has_more);
}

pub(crate) async fn cursors_move_forward_and_count_messages(s: Subject) {
    let room = s.room(Kind::Direct, &["ann", "bob", "cem"]).await;
    let first = s.send(&room, "ann", "1").await.unwrap();
    let second = s.send(&room, "ann", "2").await.unwrap();
    let edited = s.write(&room, edit("ann", &second, "2, edited")).await.unwrap();
    let third = s.send(&room, "ann", "3").await.unwrap();
    assert_eq!(s.view(&room, "ann").await.unread(), 0, "one has read what one says");
    assert_eq!(s.view(&room, "bob").await.unread(), 3);
    let aside = s.room(Kind::Pair, &["ann", "bob"]).await;
    s.send(&aside, "ann", "unseen").await.unwrap();
    s.send(&aside, "bob", "said blindly").await.unwrap();
    assert_eq!(s.view(&aside, "bob").await.unread(), 2, "who speaks has not read what was before");
    let read = async |user: &str, seq| {
        let intent = Intent::Read { actor: user.to_owned(), seq };
        let written = s.write(&room, intent).await?;
        assert!(written.events.is_empty(), "reading is not in the log");
        match written.answer {
            Answer::Read { unread, moved_to } => Ok((unread, moved_to)),
            other => panic!("{other:?}"),
        }
    };
    let (one, two, three) = (first.position.seq, second.position.seq, third.position.seq);
    assert_eq!(read("bob", one).await, Ok((2, Some(one))));
    assert_eq!(read("bob", edited.events[0].seq).await, Ok((1, Some(two + 1))));
    assert_eq!(read("bob", two).await, Ok((1, None)), "it never moves back");
    assert_eq!(read("bob", three).await, Ok((0, Some(three))));
    assert_eq!(read("bob", three + 1).await, Err(Refusal::BeyondHead));
    assert_eq!(read("bob", u64::MAX).await, Err(Refusal::BeyondHead));
    assert_eq!(read("eve", one).await, Err(Refusal::RoomNotFound));
    assert_eq!(s.view(&room, "bob").await.unread(), 0);
    s.send(&room, "bob", "4").await.unwrap();
    assert_eq!((s.view(&room, "bob").await.unread(), s.view(&room, "ann").await.unread()), (0, 1));
    assert_eq!(s.view(&room, "cem").await.unread(), 4);
    s.leave(&room, "cem").await.unwrap();
    assert_eq!(read("cem", one).await, Err(Refusal::RoomNotFound));
    assert_eq!(s.view(&room, "cem").await.unread(), 0);
}

pub(crate) async fn rooms_are_listed_by_activity(s: Subject) {
    let mut rooms = Vec::new();
    for _ in 0..5 {
        rooms.push(s.room(Kind::Pair, &["ann", "bob"]).await);
        s.clock.advance(10);
    }
    s.room(Kind::Pair, &["bob", "cem"]).await;
    let direct = s.room(Kind::Direct, &["ann", "cem"]).await;
    s.clock.advance(10);
    s.send(&rooms[1], "bob", "k").await.unwrap();
    s.leave(&direct, "ann").await.unwrap();
    s.leave(&rooms[3], "ann").await.unwrap();
    // rooms 1 and 3 were active in the same millisecond: the later id first.
    let expected = [3, 1, 4, 2, 0].map(|n| rooms[n].clone());
    let mut seen = Vec::new();
    let mut bookmark: Option<Bookmark> = None;
    loop {
        let page = s.store.list("ann", bookmark.as_ref(), 2).await.unwrap();
        let Some(last) = page.last().map(|view| view.room.clone()) else { break };
        bookmark = Some(Bookmark { last_active_at: last.last_active_at, room_id: last.room_id });
        seen.extend(page);
    }
    let ids: Vec<_> = seen.iter().map(|view| view.room.room_id.clone()).collect();
    assert_eq!(ids, expected, "a pair one left stays listed, another room does not");
    let unread: Vec<_> = seen.iter().map(mingle_chat::domain::View::unread).collect();
    assert_eq!(unread, [0, 1, 0, 0, 0]);
    assert!(s.store.list("eve", None, 50).await.unwrap().is_empty());
}

pub(crate) async fn heads_are_those_of_rooms_that_are(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    let other = s.room(Kind::Pair, &["ann", "bob"]).await;
    let first = s.send(&room, "ann", "k").await.unwrap();
    let asked = [room.clone(), "nowhere".to_owned(), other.clone()];
    let heads = s.store.heads(&asked).await.unwrap();
    assert_eq!(heads.len(), 2);
    assert_eq!((&heads[&room], heads[&other].seq), (&first.position, 2));
}
