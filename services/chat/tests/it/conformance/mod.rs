//! What every store of chat must do. A backend runs all of it by one line:
//! `suite!(name, constructor)`; one behind the service, which validates
//! requests, runs all but [`unvalidated`].

pub(crate) mod change;
pub(crate) mod create;
pub(crate) mod members;
pub(crate) mod read;
pub(crate) mod replay;
pub(crate) mod send;
mod through;
pub(crate) mod time;
pub(crate) mod unvalidated;

use std::{collections::BTreeMap, sync::Arc};

use mingle_chat::{
    domain::{
        Answer, Change, Event, First, Hash, Intent, Kind, NewMessage, NewRoom, Position, Refusal,
        Verdict, View, Wish, Written,
    },
    store::Store,
};
use mingle_store::{Database, clock::ManualClock};

use self::through::Through;
use crate::stage::{self, NEW_YEAR, Stage};

/// The trace of every wish, as W3C has it.
pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Who chooses the id of a new room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ids {
    /// The caller, in the wish.
    Asked,
    /// The backend: it answers with a UUIDv7 of its own.
    Made,
}

/// A store under test, whose rooms hold at most 5 members.
pub(crate) struct Subject {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    ids: Ids,
    _stage: Option<Stage>,
}

impl Subject {
    pub(crate) async fn sqlite() -> Self {
        let stage = Stage::new().await;
        let store = stage.store().await;
        Self { store, clock: stage.clock.clone(), ids: Ids::Asked, _stage: Some(stage) }
    }

    pub(crate) async fn postgres() -> Self {
        Self::over(stage::postgres().await).await
    }

    pub(crate) async fn over(database: Database) -> Self {
        let clock = Arc::new(ManualClock::at(NEW_YEAR));
        let store = stage::open(database, clock.clone(), Arc::new(stage::Nobody)).await;
        Self { store, clock, ids: Ids::Asked, _stage: None }
    }

    /// SQLite again, behind the service.
    pub(crate) async fn grpc() -> Self {
        let stage = Stage::new().await;
        let store = Arc::new(Through::new(&stage).await);
        Self { store, clock: stage.clock.clone(), ids: Ids::Made, _stage: Some(stage) }
    }

    pub(crate) async fn write(&self, room_id: &str, intent: Intent) -> Verdict {
        let wish = Wish { room_id: room_id.to_owned(), intent, trace_id: TRACE.to_owned() };
        self.store.write(wish, String::new()).await.unwrap()
    }

    pub(crate) async fn room(&self, kind: Kind, members: &[&str]) -> String {
        let asked = uuid::Uuid::now_v7().to_string();
        let (room_id, is_new) = self.made(&asked, new_room(kind, members, None)).await;
        assert!(is_new);
        room_id
    }

    /// Has a room made, with the id asked for where that is the caller's to
    /// choose. The id answered, and whether the room is new.
    pub(crate) async fn made(&self, asked: &str, new: NewRoom) -> (String, bool) {
        let written = self.write(asked, Intent::Create(new)).await.unwrap();
        let Answer::Room { view, new } = written.answer else { panic!("{written:?}") };
        let room_id = view.room.room_id;
        match self.ids {
            Ids::Asked => assert!(!new || room_id == asked),
            Ids::Made => assert_eq!(uuid::Uuid::parse_str(&room_id).unwrap().get_version_num(), 7),
        }
        (room_id, new)
    }

    pub(crate) async fn send(&self, room: &str, user: &str, key: &str) -> Result<First, Refusal> {
        self.say(room, user, key, &format!("{key} says {user}")).await
    }

    pub(crate) async fn say(
        &self,
        room: &str,
        user: &str,
        key: &str,
        body: &str,
    ) -> Result<First, Refusal> {
        match self.write(room, message(user, key, body)).await?.answer {
            Answer::Sent(first) => Ok(first),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn join(&self, room: &str, user: &str) -> Verdict {
        self.write(room, Intent::Join { actor: user.to_owned() }).await
    }

    pub(crate) async fn leave(&self, room: &str, user: &str) -> Verdict {
        self.write(room, Intent::Leave { actor: user.to_owned() }).await
    }

    pub(crate) async fn close(&self, room: &str, user: &str) -> Verdict {
        self.write(room, Intent::Close { actor: user.to_owned() }).await
    }

    pub(crate) async fn view(&self, room: &str, user: &str) -> View {
        self.store.view(room, user).await.unwrap().unwrap()
    }

    /// The whole log, proved to be without a hole and replayed the same.
    pub(crate) async fn log(&self, room: &str) -> Vec<Event> {
        let mut log: Vec<Event> = Vec::new();
        loop {
            let after = log.last().map_or(0, |event| event.seq);
            let page = self.store.range(room, after, 7).await.unwrap();
            log.extend(page.events);
            if !page.has_more {
                break;
            }
        }
        let seqs: Vec<_> = log.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (1..=log.len() as u64).collect::<Vec<_>>());
        let replay = self.store.replay(room, &Position::default(), 200).await.unwrap().unwrap();
        assert!(replay.proved.is_ok());
        let told = replay.page.events;
        assert_eq!((&log[..told.len()], told.len() < log.len()), (&told[..], replay.page.has_more));
        log
    }
}

pub(crate) fn new_room(kind: Kind, members: &[&str], external_id: Option<&str>) -> NewRoom {
    let mut origin = [kind as u8; 32];
    for (at, byte) in members.concat().bytes().enumerate() {
        origin[at % 32] ^= byte;
    }
    NewRoom {
        kind,
        name: "a room".to_owned(),
        creator: if kind == Kind::Pair { String::new() } else { members[0].to_owned() },
        members: members.iter().map(|user| (*user).to_owned()).collect(),
        external_id: external_id.map(str::to_owned),
        origin,
    }
}

pub(crate) fn message(user: &str, key: &str, body: &str) -> Intent {
    let mut hash: Hash = [0; 32];
    for (at, byte) in body.bytes().enumerate() {
        hash[at % 32] = hash[at % 32].wrapping_mul(31).wrapping_add(byte);
    }
    Intent::Message(NewMessage {
        sender: user.to_owned(),
        client_msg_id: key.to_owned(),
        hash,
        body: body.to_owned(),
        metadata: BTreeMap::from([("tone".to_owned(), "calm".to_owned())]),
    })
}

pub(crate) fn edit(user: &str, message: &First, body: &str) -> Intent {
    let message_id = message.position.id.clone();
    Intent::Edit { actor: user.to_owned(), message_id, body: body.to_owned() }
}

pub(crate) fn delete(user: &str, message: &First) -> Intent {
    Intent::Delete { actor: user.to_owned(), message_id: message.position.id.clone() }
}

pub(crate) fn at(written: &Written) -> Position {
    match &written.answer {
        Answer::At(position) => position.clone(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn body(event: &Event) -> &str {
    match &event.change {
        Change::Message(message) => &message.body,
        Change::Edited { body, .. } => body,
        _ => "",
    }
}

/// Stamps the suite for one backend; `validated` leaves out what the service
/// refuses before its store is asked, each with its reason in [`unvalidated`].
macro_rules! suite {
    ($name:ident, $subject:expr) => {
        $crate::conformance::suite!(all $name, $subject;
            unvalidated: a_deleted_message_is_not_an_empty_one
                a_key_of_controls_comes_back
                an_external_id_is_one_whoever_asks,
        );
    };
    ($name:ident, $subject:expr, validated) => {
        $crate::conformance::suite!(all $name, $subject;);
    };
    (all $name:ident, $subject:expr; $($more:tt)*) => {
        $crate::conformance::suite!(@ $name, $subject;
            create: a_new_room_tells_its_members_in_order
                a_room_is_not_made_fuller_than_it_may_be
                an_external_id_makes_creation_idempotent
                an_external_id_is_one_room_also_within_a_batch,
            send: messages_take_the_next_seq_and_are_counted
                a_key_stands_for_one_message
                a_retry_is_answered_whatever_became_of_the_room
                strangers_and_closed_rooms_are_refused
                texts_come_back_as_they_were
                a_poisonous_message_harms_no_neighbour
                many_senders_leave_no_hole,
            change: an_edit_replaces_what_is_read_and_is_told
                a_delete_takes_the_content_everywhere
                only_the_sender_changes_a_message
                closed_rooms_are_not_changed,
            members: a_pair_closes_when_one_leaves
                a_direct_room_is_a_fixed_set
                a_channel_is_open_until_it_is_full
                who_may_close_what
                members_are_listed_in_order_of_joining
                shared_rooms_are_live_ones,
            read: history_is_messages_only_oldest_first
                history_is_bounded_in_bytes
                cursors_move_forward_and_count_messages
                rooms_are_listed_by_activity
                heads_are_those_of_rooms_that_are,
            replay: a_position_is_proved_by_its_id
                a_replay_is_paged_without_a_hole
                a_page_is_bounded_in_bytes,
            time: only_silent_open_pairs_are_idle
                old_events_go_from_the_beginning
                a_log_that_was_emptied_goes_on
                a_closed_pair_goes_with_its_last_event,
            $($more)*
        );
    };
    (@ $name:ident, $subject:expr; $($module:ident: $($test:ident)*,)*) => {
        mod $name {$(
            mod $module {
                use $crate::conformance::Subject;
                $(
                #[tokio::test]
                async fn $test() {
                    $crate::conformance::$module::$test($subject.await).await;
                }
            )*}
        )*}
    };
}
pub(crate) use suite;
