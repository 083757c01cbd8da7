//! Reading on after a position.

use mingle_chat::{
    domain::{Kind, Position, Unproved},
    store::PAGE_BYTES,
};

use super::Subject;

pub(crate) async fn a_position_is_proved_by_its_id(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    for key in ["a", "b", "c"] {
        s.send(&room, "ann", key).await.unwrap();
    }
    let log = s.log(&room).await;
    let position = |seq, id: &str| Position { seq, id: id.to_owned() };
    for (after, proved, seqs) in [
        (position(0, ""), Ok(()), 1..6),
        (position(2, &log[1].id), Ok(()), 3..6),
        (position(5, &log[4].id), Ok(()), 6..6),
        (position(0, &log[0].id), Err(Unproved::IdMismatch), 1..6),
        (position(2, &log[2].id), Err(Unproved::IdMismatch), 1..6),
        (position(2, ""), Err(Unproved::IdMismatch), 1..6),
        (position(5, "another"), Err(Unproved::IdMismatch), 1..6),
        (position(6, &log[4].id), Err(Unproved::BeyondHead), 1..6),
        (position(u64::MAX, "x"), Err(Unproved::BeyondHead), 1..6),
    ] {
        let replay = s.store.replay(&room, &after, 200).await.unwrap().unwrap();
        assert_eq!(replay.proved, proved, "{after:?}");
        let got: Vec<_> = replay.page.events.iter().map(|event| event.seq).collect();
        assert_eq!(got, seqs.collect::<Vec<_>>(), "{after:?}");
        assert_eq!((replay.room.head.seq, replay.page.has_more), (5, false));
    }
    // The newest page is the newest also when it is small.
    let replay = s.store.replay(&room, &position(9, ""), 2).await.unwrap().unwrap();
    let got: Vec<_> = replay.page.events.iter().map(|event| event.seq).collect();
    assert_eq!((got, replay.page.has_more), (vec![4, 5], false));
    assert!(s.store.replay("nowhere", &position(0, ""), 2).await.unwrap().is_none());
}

pub(crate) async fn a_replay_is_paged_without_a_hole(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    for n in 0..20 {
        s.send(&room, "ann", &format!("k{n}")).await.unwrap();
    }
    let (mut after, mut seen, mut pages) = (Position::default(), Vec::new(), 0);
    loop {
        let replay = s.store.replay(&room, &after, 5).await.unwrap().unwrap();
        assert_eq!(replay.proved, Ok(()));
        pages += 1;
        seen.extend(replay.page.events);
        let last = seen.last().unwrap();
        after = Position { seq: last.seq, id: last.id.clone() };
        if !replay.page.has_more {
            break;
        }
    }
    assert_eq!((seen, pages), (s.log(&room).await, 5));
}

pub(crate) async fn a_page_is_bounded_in_bytes(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    for n in 0..40 {
        s.say(&room, "ann", &format!("k{n}"), &"x".repeat(8192)).await.unwrap();
    }
    let replay = s.store.replay(&room, &Position::default(), 200).await.unwrap().unwrap();
    let bytes: usize = replay.page.events.iter().map(|event| event.size()).sum();
    assert!(replay.page.has_more && bytes <= PAGE_BYTES && replay.page.events.len() > 20);
    // From the end as well.
    let beyond = Position { seq: 99, id: String::new() };
    let replay = s.store.replay(&room, &beyond, 200).await.unwrap().unwrap();
    let bytes: usize = replay.page.events.iter().map(|event| event.size()).sum();
    assert!(bytes <= PAGE_BYTES && replay.page.events.last().unwrap().seq == 42);
}
