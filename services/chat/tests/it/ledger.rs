//! The verdicts on any run of wishes, against a model that believes only the
//! events.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mingle_chat::domain::{
    Answer, Change, Event, First, Hash, Intent, Kind, Ledger, NewMessage, Refusal, Verdict, Wish,
};
use proptest::prelude::*;

use crate::conformance::new_room;

const USERS: [&str; 4] = ["ann", "bob", "cem", "dan"];
const ROOMS: [(&str, Kind); 3] =
    [("pair", Kind::Pair), ("direct", Kind::Direct), ("channel", Kind::Channel)];
const MOST: u32 = 3;

/// A wish in numbers: what, where, who, with which key or target, how.
#[derive(Clone, Copy, Debug)]
struct Draw(u8, usize, usize, usize, u8);

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    let draw = (0..12_u8, 0..ROOMS.len(), 0..USERS.len(), 0..5_usize, 0..3_u8);
    proptest::collection::vec(draw.prop_map(|(a, b, c, d, e)| Draw(a, b, c, d, e)), 0..120)
}

#[derive(Default)]
struct Model {
    seq: u64,
    ids: BTreeSet<String>,
    members: BTreeSet<String>,
    closed: bool,
    said: Vec<(String, String)>,
    bodies: BTreeMap<String, Option<String>>,
    keys: HashMap<(String, String), (Hash, First)>,
}

impl Model {
    fn happen(&mut self, event: &Event) {
        assert_eq!(event.seq, self.seq + 1, "no hole and nothing twice");
        self.seq = event.seq;
        assert!(self.ids.insert(event.id.clone()));
        match &event.change {
            Change::Message(message) => {
                assert!(!self.closed && self.members.contains(&message.sender));
                self.said.push((event.id.clone(), message.sender.clone()));
                self.bodies.insert(event.id.clone(), Some(message.body.clone()));
            }
            Change::Edited { message_id, editor, body, .. } => {
                assert!(!self.closed && self.members.contains(editor));
                assert!(self.said.contains(&(message_id.clone(), editor.clone())));
                let reads = self.bodies.insert(message_id.clone(), Some(body.clone()));
                assert!(reads.flatten().is_some_and(|before| before != *body));
            }
            Change::Deleted { message_id, deleter, .. } => {
                assert!(!self.closed && self.members.contains(deleter));
                assert!(self.said.contains(&(message_id.clone(), deleter.clone())));
                assert!(self.bodies.insert(message_id.clone(), None).flatten().is_some());
            }
            Change::Joined { user_id } => assert!(self.members.insert(user_id.clone())),
            Change::Left { user_id } => assert!(self.members.remove(user_id)),
            Change::Closed { .. } => assert!(!std::mem::replace(&mut self.closed, true)),
        }
    }

    fn wish(&self, draw: Draw) -> Intent {
        let Draw(what, _, who, which, how) = draw;
        let actor = USERS[who].to_owned();
        let body = if how == 2 && which == 4 { "\0" } else { ["x", "y", "z"][usize::from(how)] };
        let target = self.said.get(which).map_or("none", |(id, _)| id.as_str()).to_owned();
        match what {
            0..=4 => Intent::Message(NewMessage {
                sender: actor,
                client_msg_id: format!("k{which}"),
                hash: [body.as_bytes()[0]; 32],
                body: body.to_owned(),
                metadata: BTreeMap::new(),
            }),
            5 | 6 => Intent::Edit { actor, message_id: target, body: body.to_owned() },
            7 => Intent::Delete { actor, message_id: target },
            8 => Intent::Join { actor },
            9 if how == 0 => Intent::Leave { actor },
            10 if how == 0 && which == 0 => Intent::Close { actor },
            11 if which == 0 => Intent::CloseIdle { idle_since: i64::from(how) * 40 },
            _ => Intent::Read { actor, seq: which as u64 * 3 },
        }
    }

    /// What a message's key promises.
    fn judge_key(&mut self, intent: &Intent, verdict: &Verdict) {
        let Intent::Message(new) = intent else { return };
        let key = (new.sender.clone(), new.client_msg_id.clone());
        match (self.keys.get(&key), verdict) {
            (Some((hash, first)), Ok(written)) => {
                assert_eq!(*hash, new.hash);
                assert_eq!(written.answer, Answer::Sent(first.clone()));
                assert!(written.events.is_empty());
            }
            (Some((hash, _)), Err(refusal)) => {
                assert_ne!(*hash, new.hash, "a retry is always answered: {refusal}");
            }
            (None, Ok(written)) => {
                let Answer::Sent(first) = &written.answer else { panic!("{written:?}") };
                assert_eq!((written.events.len(), first.position.seq), (1, self.seq));
                assert!(!new.body.contains('\0'));
                self.keys.insert(key, (new.hash, first.clone()));
            }
            (None, Err(refusal)) => assert_ne!(*refusal, Refusal::KeyReused),
        }
    }
}

fn apply(ledger: &mut Ledger, room: &str, intent: &Intent, step: i64) -> Verdict {
    let wish =
        Wish { room_id: room.to_owned(), intent: intent.clone(), trace_id: format!("t{step}") };
    let mut minted = 0;
    ledger.apply(&wish, step, &mut || {
        minted += 1;
        format!("{step}-{minted}")
    })
}

proptest! {
    #[test]
    fn any_run_of_wishes_leaves_a_gapless_log_and_keeps_every_promise(draws in draws()) {
        let mut ledger = Ledger::new(MOST);
        let mut models: Vec<Model> = Vec::new();
        for (room, kind) in ROOMS {
            let create = Intent::Create(new_room(kind, &["ann", "bob"], None));
            let mut model = Model::default();
            let made = apply(&mut ledger, room, &create, -(models.len() as i64) - 1).unwrap();
            made.events.iter().for_each(|event| model.happen(event));
            models.push(model);
        }
        for (step, draw) in draws.into_iter().enumerate() {
            let ((room, _), model) = (ROOMS[draw.1], &mut models[draw.1]);
            let intent = model.wish(draw);
            let before = ledger.account(room).unwrap().room.clone();
            let verdict = apply(&mut ledger, room, &intent, step as i64);
            let events = verdict.as_ref().map(|written| written.events.clone()).unwrap_or_default();
            events.iter().for_each(|event| model.happen(event));
            model.judge_key(&intent, &verdict);
            let account = ledger.account(room).unwrap();
            if events.is_empty() {
                prop_assert_eq!(&account.room, &before, "nothing happened");
            }
            prop_assert_eq!(account.room.head.seq, model.seq);
            prop_assert_eq!(account.room.closed, model.closed);
            prop_assert_eq!(account.room.member_count as usize, model.members.len());
            prop_assert_eq!(account.room.message_no as usize, model.said.len());
            prop_assert!(account.room.member_count <= MOST);
        }
        for ((room, _), model) in ROOMS.iter().zip(&models) {
            let account = ledger.account(room).unwrap();
            let seqs: Vec<_> = account.entries().iter().map(|entry| entry.event.seq).collect();
            prop_assert_eq!(seqs, (1..=model.seq).collect::<Vec<_>>());
            for target in account.changed_targets() {
                let reads = model.bodies[&target.position.id].clone();
                prop_assert_eq!((reads.clone().unwrap_or_default(), reads.is_none()),
                    (target.body.clone(), target.deleted));
            }
        }
    }
}
