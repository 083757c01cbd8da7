//! Idle rooms and old events.

use mingle_chat::domain::{Change, CloseReason, Intent, Kind, Position, Unproved};
use mingle_store::clock::Clock as _;

use super::Subject;

pub(crate) async fn only_silent_open_pairs_are_idle(s: Subject) {
    let silent = s.room(Kind::Pair, &["ann", "bob"]).await;
    let busy = s.room(Kind::Pair, &["ann", "cem"]).await;
    let closed = s.room(Kind::Pair, &["ann", "dan"]).await;
    s.room(Kind::Direct, &["ann", "eve"]).await;
    s.close(&closed, "ann").await.unwrap();
    let since = s.clock.now_ms();
    assert_eq!(s.store.idle(since - 1, 10).await.unwrap(), Vec::<String>::new());
    s.clock.advance(1000);
    s.send(&busy, "ann", "k").await.unwrap();
    assert_eq!(s.store.idle(since, 10).await.unwrap(), [silent.as_str()]);
    // Judged again under the lock: a room that came to life stays open.
    let close = || Intent::CloseIdle { idle_since: since };
    assert!(s.write(&busy, close()).await.unwrap().events.is_empty());
    let done = s.write(&silent, close()).await.unwrap();
    let expected = Change::Closed { closer: String::new(), reason: CloseReason::Idle };
    assert_eq!(done.events[0].change, expected);
    assert!(s.write(&silent, close()).await.unwrap().events.is_empty());
    assert!(s.view(&silent, "ann").await.room.closed);
    assert!(!s.view(&busy, "ann").await.room.closed);
    assert!(s.store.idle(since, 10).await.unwrap().is_empty());
}

pub(crate) async fn old_events_go_from_the_beginning(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    let other = s.room(Kind::Pair, &["ann", "cem"]).await;
    for n in 0..8 {
        s.send(&room, "ann", &format!("old-{n}")).await.unwrap();
    }
    let log = s.log(&room).await;
    s.clock.advance(1000);
    let kept = s.send(&room, "ann", "new").await.unwrap();
    let cutoff = kept.sent_at;
    // In bounded bites.
    let mut taken = 0;
    loop {
        let bite = s.store.expire(cutoff, 3).await.unwrap();
        assert!(bite <= 3);
        taken += bite;
        if bite == 0 {
            break;
        }
    }
    assert_eq!(taken, 10 + 2, "all of the other room went too");
    let left = s.store.range(&room, 0, 50).await.unwrap().events;
    assert_eq!(left.iter().map(|event| event.seq).collect::<Vec<_>>(), [11]);
    for (after, proved) in [
        (Position::default(), Err(Unproved::Expired)),
        (Position { seq: 4, id: log[3].id.clone() }, Err(Unproved::Expired)),
        (Position { seq: 10, id: log[9].id.clone() }, Ok(())),
        (Position { seq: 10, id: log[8].id.clone() }, Err(Unproved::IdMismatch)),
        (kept.position.clone(), Ok(())),
        (Position { seq: 12, id: String::new() }, Err(Unproved::BeyondHead)),
    ] {
        let replay = s.store.replay(&room, &after, 50).await.unwrap().unwrap();
        assert_eq!(replay.proved, proved, "{after:?}");
    }
    let history = s.store.history(&room, u64::MAX, 50).await.unwrap();
    assert!(history.events.len() == 1 && !history.has_more);
    assert_eq!(s.view(&room, "bob").await.unread(), 9, "nobody read them");
    assert!(s.store.range(&other, 0, 50).await.unwrap().events.is_empty());
}

pub(crate) async fn a_log_that_was_emptied_goes_on(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    let last = s.send(&room, "ann", "old").await.unwrap();
    s.clock.advance(1000);
    let cutoff = s.clock.now_ms();
    assert_eq!(s.store.expire(cutoff, 100).await.unwrap(), 3);
    assert_eq!(s.store.expire(cutoff, 100).await.unwrap(), 0);
    // The head is still proved, by the room itself.
    let replay = s.store.replay(&room, &last.position, 50).await.unwrap().unwrap();
    assert!(replay.proved.is_ok() && replay.page.events.is_empty());
    let next = s.send(&room, "bob", "new").await.unwrap();
    assert_eq!(next.position.seq, last.position.seq + 1);
    let replay = s.store.replay(&room, &last.position, 50).await.unwrap().unwrap();
    assert!(replay.proved.is_ok());
    assert_eq!(replay.page.events.len(), 1);
    // And ages anew.
    s.clock.advance(1000);
    assert_eq!(s.store.expire(s.clock.now_ms(), 100).await.unwrap(), 1);
    // Reading what is gone is no mistake.
    let read = Intent::Read { actor: "bob".to_owned(), seq: next.position.seq };
    assert!(s.write(&room, read).await.is_ok());
    assert_eq!(s.view(&room, "bob").await.unread(), 0);
}

pub(crate) async fn a_closed_pair_goes_with_its_last_event(s: Subject) {
    let over = s.room(Kind::Pair, &["ann", "bob"]).await;
    let open = s.room(Kind::Pair, &["ann", "cem"]).await;
    let direct = s.room(Kind::Direct, &["ann", "dan"]).await;
    s.clock.advance(1000);
    let mut cutoff = s.clock.now_ms();
    for room in [&over, &direct] {
        s.close(room, "ann").await.unwrap();
    }
    let rooms = async || {
        let views = s.store.list("ann", None, 10).await.unwrap();
        let mut rooms: Vec<_> = views.into_iter().map(|view| view.room.room_id).collect();
        rooms.sort();
        rooms
    };
    while s.store.expire(cutoff, 100).await.unwrap() > 0 {}
    let left = s.store.range(&over, 0, 10).await.unwrap().events;
    assert_eq!(left.len(), 1, "its end can be read still");
    assert_eq!(rooms().await.len(), 3);
    s.clock.advance(1000);
    cutoff = s.clock.now_ms();
    while s.store.expire(cutoff, 100).await.unwrap() > 0 {}
    let mut kept = vec![open, direct];
    kept.sort();
    assert_eq!(rooms().await, kept);
    assert!(s.store.replay(&over, &Position::default(), 10).await.unwrap().is_none());
    assert!(s.send(&over, "ann", "late").await.is_err());
}
