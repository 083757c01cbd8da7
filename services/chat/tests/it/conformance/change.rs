//! Edits and deletes.

use mingle_chat::domain::{Change, Intent, Kind, Message, Refusal};

use super::{Subject, at, body, delete, edit};

async fn message(s: &Subject, room: &str, seq: u64) -> Message {
    let page = s.store.history(room, seq + 1, 1).await.unwrap();
    assert_eq!(page.events[0].seq, seq);
    match &page.events[0].change {
        Change::Message(message) => message.clone(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn an_edit_replaces_what_is_read_and_is_told(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    let first = s.say(&room, "ann", "k", "helo").await.unwrap();
    s.clock.advance(500);
    let edited = s.write(&room, edit("ann", &first, "hello")).await.unwrap();
    assert_eq!(at(&edited).seq, first.position.seq + 1);
    let reads = message(&s, &room, first.position.seq).await;
    assert_eq!((reads.body.as_str(), reads.edited_at), ("hello", Some(first.sent_at + 500)));
    assert_eq!(reads.metadata["tone"], "calm");
    let told = s.log(&room).await.pop().unwrap();
    assert_eq!(edited.events, std::slice::from_ref(&told));
    let expected = Change::Edited {
        message_id: first.position.id.clone(),
        message_seq: first.position.seq,
        editor: "ann".to_owned(),
        body: "hello".to_owned(),
    };
    assert_eq!((told.change, told.id), (expected, at(&edited).id));
    // The body that it has already makes no event and names the last one.
    let again = s.write(&room, edit("ann", &first, "hello")).await.unwrap();
    assert!(again.events.is_empty());
    assert_eq!(at(&again), at(&edited));
    let untouched = s.say(&room, "ann", "l", "as it was").await.unwrap();
    let same = s.write(&room, edit("ann", &untouched, "as it was")).await.unwrap();
    assert_eq!(at(&same), untouched.position);
    // Messages are counted, edits are not; the room tells of the last one that was made.
    // The retry of the first Send holds.
    let seen = s.view(&room, "ann").await.room;
    assert_eq!((seen.message_no, seen.rewritten_seq), (2, at(&edited).seq));
    assert_eq!(s.say(&room, "ann", "k", "helo").await.unwrap(), first);
}

pub(crate) async fn a_delete_takes_the_content_everywhere(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    let first = s.say(&room, "ann", "k", "secret one").await.unwrap();
    s.write(&room, edit("ann", &first, "secret two")).await.unwrap();
    s.write(&room, edit("ann", &first, "secret three")).await.unwrap();
    let kept = s.say(&room, "ann", "l", "kept").await.unwrap();
    s.write(&room, edit("ann", &kept, "kept too")).await.unwrap();
    let deleted = s.write(&room, delete("ann", &first)).await.unwrap();
    let log = s.log(&room).await;
    assert_eq!(deleted.events, log[7..]);
    let bodies: Vec<_> = log[2..].iter().map(body).collect();
    assert_eq!(bodies, ["", "", "", "kept too", "kept too", ""]);
    let gone = message(&s, &room, first.position.seq).await;
    assert!(gone.deleted && gone.metadata.is_empty() && gone.sender == "ann");
    let again = s.write(&room, delete("ann", &first)).await.unwrap();
    assert!(again.events.is_empty());
    assert_eq!(at(&again), at(&deleted));
    assert_eq!(s.view(&room, "ann").await.room.rewritten_seq, at(&deleted).seq);
    let refused = s.write(&room, edit("ann", &first, "back")).await.unwrap_err();
    assert_eq!(refused, Refusal::MessageDeleted);
    // The key still answers, and still knows its content.
    assert_eq!(s.say(&room, "ann", "k", "secret one").await.unwrap(), first);
    assert_eq!(s.say(&room, "ann", "k", "secret three").await, Err(Refusal::KeyReused));
}

pub(crate) async fn only_the_sender_changes_a_message(s: Subject) {
    let room = s.room(Kind::Direct, &["ann", "bob"]).await;
    let first = s.send(&room, "ann", "k").await.unwrap();
    let other = s.room(Kind::Direct, &["ann", "cem"]).await;
    let joined = Intent::Edit {
        actor: "ann".to_owned(),
        message_id: s.log(&room).await[0].id.clone(),
        body: "not a message".to_owned(),
    };
    for (room, intent, refusal) in [
        (&room, edit("bob", &first, "mine"), Refusal::NotAllowed),
        (&room, delete("bob", &first), Refusal::NotAllowed),
        (&room, edit("eve", &first, "mine"), Refusal::RoomNotFound),
        (&room, delete("eve", &first), Refusal::RoomNotFound),
        (&room, joined, Refusal::MessageNotFound),
        (&other, edit("ann", &first, "elsewhere"), Refusal::MessageNotFound),
        (&other, delete("ann", &first), Refusal::MessageNotFound),
        (&room, edit("ann", &first, "\0"), Refusal::Nul),
    ] {
        assert_eq!(s.write(room, intent.clone()).await.unwrap_err(), refusal, "{intent:?}");
    }
    assert_eq!(s.log(&room).await.len(), 3);
}

pub(crate) async fn closed_rooms_are_not_changed(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    let first = s.say(&room, "ann", "k", "hello").await.unwrap();
    let gone = s.send(&room, "ann", "l").await.unwrap();
    let deleted = s.write(&room, delete("ann", &gone)).await.unwrap();
    s.leave(&room, "ann").await.unwrap();
    let head = s.view(&room, "ann").await.room.head;
    for (intent, refusal) in [
        (edit("ann", &first, "late"), Refusal::RoomClosed),
        (delete("ann", &first), Refusal::RoomClosed),
        (edit("bob", &first, "late"), Refusal::NotAllowed),
    ] {
        assert_eq!(s.write(&room, intent.clone()).await.unwrap_err(), refusal, "{intent:?}");
    }
    // What is so already is answered: its first answer may have been lost.
    assert_eq!(at(&s.write(&room, delete("ann", &gone)).await.unwrap()), at(&deleted));
    let same = s.write(&room, edit("ann", &first, "hello")).await.unwrap();
    assert_eq!(at(&same), first.position);
    assert_eq!(s.view(&room, "ann").await.room.head, head);
}
