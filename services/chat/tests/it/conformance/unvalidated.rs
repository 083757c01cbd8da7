//! What a store does with wishes that the service never passes on. The suite
//! leaves these out where a backend is reached through the service.

use mingle_chat::domain::{Intent, Kind, Refusal};

use super::{Subject, delete, new_room, send::comes_back};

/// The service refuses an empty body before it asks what the key stands for.
pub(crate) async fn a_deleted_message_is_not_an_empty_one(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    let first = s.say(&room, "ann", "k", "secret").await.unwrap();
    s.write(&room, delete("ann", &first)).await.unwrap();
    assert_eq!(s.say(&room, "ann", "k", "").await, Err(Refusal::KeyReused));
}

/// The service refuses control characters and more than 64 in a key.
pub(crate) async fn a_key_of_controls_comes_back(s: Subject) {
    let room = s.room(Kind::Pair, &["ann", "bob"]).await;
    let controls: String = ('\u{1}'..='\u{a0}').collect();
    comes_back(&s, &room, &controls, "said").await;
}

/// The service makes external ids each actor's own.
pub(crate) async fn an_external_id_is_one_whoever_asks(s: Subject) {
    s.made("room-1", new_room(Kind::Pair, &["ann", "bob"], Some("match-1"))).await;
    let direct = Intent::Create(new_room(Kind::Direct, &["ann", "bob"], Some("match-1")));
    assert_eq!(s.write("room-2", direct).await.unwrap_err(), Refusal::ExternalIdReused);
}
