//! The verdict on each wish.
//!
//! A function checks everything before it changes anything, so a refused wish
//! leaves the ledger as it was.

use super::{
    Answer, Change, CloseReason, Event, First, Intent, Kind, Ledger, Membership, Message,
    NewMessage, NewRoom, Position, Refusal, Room, Target, Verdict, Wish, Written,
    ledger::{Account, Stamp},
    room::Cursor,
};

impl Ledger {
    /// Judges `wish` after all those before it. `now` is in milliseconds
    /// since 1970; `mint` makes a new id for each event.
    pub fn apply(&mut self, wish: &Wish, now: i64, mint: &mut dyn FnMut() -> String) -> Verdict {
        let mut stamp = Stamp { now, trace_id: &wish.trace_id, mint };
        if let Intent::Create(new) = &wish.intent {
            return self.create(&wish.room_id, new, &mut stamp);
        }
        let max_members = self.max_members;
        let account = self.accounts.get_mut(&wish.room_id).ok_or(Refusal::RoomNotFound)?;
        match &wish.intent {
            Intent::Create(_) => Err(Refusal::RoomNotFound),
            Intent::Message(new) => account.say(new, &mut stamp),
            Intent::Edit { actor, message_id, body } => {
                account.edit(actor, message_id, body, &mut stamp)
            }
            Intent::Delete { actor, message_id } => account.delete(actor, message_id, &mut stamp),
            Intent::Join { actor } => account.join(actor, max_members, &mut stamp),
            Intent::Leave { actor } => account.leave(actor, &mut stamp),
            Intent::Close { actor } => account.close(actor, &mut stamp),
            Intent::CloseIdle { idle_since } => account.close_idle(*idle_since, &mut stamp),
            Intent::Read { actor, seq } => account.read(actor, *seq),
        }
    }

    fn create(&mut self, room_id: &str, new: &NewRoom, stamp: &mut Stamp<'_>) -> Verdict {
        let external = new.external_id.as_ref().and_then(|id| self.external.get(id));
        // The same id again is the same call again: ids are minted per call.
        let known = external.map_or(room_id, String::as_str);
        if let Some(account) = self.accounts.get(known) {
            if account.room.origin != new.origin {
                return Err(Refusal::ExternalIdReused);
            }
            let view = Box::new(account.view(&new.creator));
            return told(Answer::Room { view, new: false });
        }
        if new.members.len() > self.max_members as usize {
            return Err(Refusal::RoomFull);
        }
        let mut account = Account::new(blank(room_id, new, stamp.now));
        let events = new.members.iter().map(|user| account.admit(user, stamp)).collect();
        let view = Box::new(account.view(&new.creator));
        if let Some(external_id) = &new.external_id {
            self.external.insert(external_id.clone(), room_id.to_owned());
        }
        self.accounts.insert(room_id.to_owned(), account);
        Ok(Written { answer: Answer::Room { view, new: true }, events })
    }
}

fn blank(room_id: &str, new: &NewRoom, now: i64) -> Room {
    Room {
        room_id: room_id.to_owned(),
        kind: new.kind,
        name: new.name.clone(),
        creator: new.creator.clone(),
        external_id: new.external_id.clone(),
        origin: new.origin,
        closed: false,
        created_at: now,
        last_active_at: now,
        head: Position::default(),
        base: Position::default(),
        message_no: 0,
        member_count: 0,
        rewritten_seq: 0,
    }
}

/// Nothing happened: it was so already.
fn told(answer: Answer) -> Verdict {
    Ok(Written { answer, events: Vec::new() })
}

fn happened(answer: Answer, event: Event) -> Verdict {
    Ok(Written { answer, events: vec![event] })
}

impl Account {
    /// A member may write, unless the room is closed. Who left a pair still
    /// reads it, so is told that it is closed, not that it is not there.
    fn may_write(&self, user: &str) -> Result<(), Refusal> {
        let view = self.view(user);
        match (view.may_read(), self.room.closed) {
            (false, _) => Err(Refusal::RoomNotFound),
            (true, true) => Err(Refusal::RoomClosed),
            (true, false) => Ok(()),
        }
    }

    fn say(&mut self, new: &NewMessage, stamp: &mut Stamp<'_>) -> Verdict {
        let nul = |text: &String| text.contains('\0');
        if nul(&new.body) || new.metadata.iter().any(|(key, value)| nul(key) || nul(value)) {
            return Err(Refusal::Nul);
        }
        let key = (new.sender.clone(), new.client_msg_id.clone());
        let first = self.keys.get(&key);
        // The retry of an acknowledged message finds it, whatever became of
        // the room or the membership since.
        if let Some(first) = first.filter(|first| first.hash == new.hash) {
            return told(Answer::Sent(first.clone()));
        }
        let reused = first.is_some();
        match self.may_write(&new.sender) {
            Err(Refusal::RoomNotFound) => return Err(Refusal::RoomNotFound),
            _ if reused => return Err(Refusal::KeyReused),
            other => other?,
        }
        let message = Message {
            sender: new.sender.clone(),
            client_msg_id: new.client_msg_id.clone(),
            body: new.body.clone(),
            metadata: new.metadata.clone(),
            trace_id: stamp.trace_id.to_owned(),
            edited_at: None,
            deleted: false,
        };
        let event = self.append(stamp, Change::Message(message), Some(new.hash));
        let read = Cursor { seq: event.seq, message_no: self.room.message_no };
        self.change_member(&new.sender, |membership| {
            // Who had read everything has read their own words too; nobody
            // reads by speaking what came before.
            if membership.read.message_no + 1 == read.message_no {
                membership.read = read;
            }
        });
        let first = self.remember(new, key, &event, stamp);
        happened(Answer::Sent(first), event)
    }

    /// Wishes later in the batch find the message as if it were stored.
    fn remember(
        &mut self,
        new: &NewMessage,
        key: (String, String),
        event: &Event,
        stamp: &Stamp<'_>,
    ) -> First {
        let first = First {
            hash: new.hash,
            position: self.room.head.clone(),
            sent_at: event.at,
            trace_id: stamp.trace_id.to_owned(),
        };
        self.keys.insert(key, first.clone());
        self.add_target(Target {
            position: first.position.clone(),
            sender: new.sender.clone(),
            body: new.body.clone(),
            edited_at: None,
            deleted: false,
            last: first.position.clone(),
        });
        first
    }

    /// The message that `actor` may change; closed rooms are the caller's
    /// matter, because what is so already is answered there too.
    fn own(&self, actor: &str, message_id: &str) -> Result<&Target, Refusal> {
        if !self.view(actor).may_read() {
            return Err(Refusal::RoomNotFound);
        }
        let target = self.targets.get(message_id).ok_or(Refusal::MessageNotFound)?;
        if target.sender == actor { Ok(target) } else { Err(Refusal::NotAllowed) }
    }

    fn edit(&mut self, actor: &str, id: &str, body: &str, stamp: &mut Stamp<'_>) -> Verdict {
        if body.contains('\0') {
            return Err(Refusal::Nul);
        }
        let target = self.own(actor, id)?;
        if target.deleted {
            return Err(Refusal::MessageDeleted);
        }
        if target.body == body {
            return told(Answer::At(target.last.clone()));
        }
        self.may_write(actor)?;
        let change = Change::Edited {
            message_id: id.to_owned(),
            message_seq: self.own(actor, id)?.position.seq,
            editor: actor.to_owned(),
            body: body.to_owned(),
        };
        let event = self.append(stamp, change, None);
        let at = self.room.head.clone();
        self.change_target(id, |target| {
            target.body = body.to_owned();
            target.edited_at = Some(event.at);
            target.last = at.clone();
        });
        happened(Answer::At(at), event)
    }

    fn delete(&mut self, actor: &str, id: &str, stamp: &mut Stamp<'_>) -> Verdict {
        let target = self.own(actor, id)?;
        if target.deleted {
            return told(Answer::At(target.last.clone()));
        }
        let message_seq = target.position.seq;
        self.may_write(actor)?;
        let (message_id, deleter) = (id.to_owned(), actor.to_owned());
        let change = Change::Deleted { message_id, message_seq, deleter };
        let event = self.append(stamp, change, None);
        let at = self.room.head.clone();
        self.change_target(id, |target| {
            target.body.clear();
            target.deleted = true;
            target.last = at.clone();
        });
        happened(Answer::At(at), event)
    }

    fn join(&mut self, actor: &str, max_members: u32, stamp: &mut Stamp<'_>) -> Verdict {
        let view = self.view(actor);
        if view.is_member() {
            return told(Answer::Room { view: Box::new(view), new: false });
        }
        if self.room.kind != Kind::Channel {
            // Who left a pair knows it; strangers and former members of a
            // direct room must not learn that it is there.
            return Err(if view.may_read() { Refusal::RoomClosed } else { Refusal::RoomNotFound });
        }
        if self.room.closed {
            return Err(Refusal::RoomClosed);
        }
        if self.room.member_count >= max_members {
            return Err(Refusal::RoomFull);
        }
        let event = self.admit(actor, stamp);
        happened(Answer::Room { view: Box::new(self.view(actor)), new: true }, event)
    }

    /// Makes `user` a member who has read everything so far.
    fn admit(&mut self, user: &str, stamp: &mut Stamp<'_>) -> Event {
        let event = self.append(stamp, Change::Joined { user_id: user.to_owned() }, None);
        self.room.member_count += 1;
        self.put_member(Membership {
            user_id: user.to_owned(),
            joined_at: event.at,
            joined_seq: event.seq,
            left_at: None,
            left_seq: None,
            read: Cursor { seq: event.seq, message_no: self.room.message_no },
        });
        event
    }

    fn leave(&mut self, actor: &str, stamp: &mut Stamp<'_>) -> Verdict {
        let view = self.view(actor);
        if view.membership.is_none() {
            return Err(Refusal::RoomNotFound);
        }
        if !view.is_member() {
            return told(Answer::Done);
        }
        let event = self.append(stamp, Change::Left { user_id: actor.to_owned() }, None);
        self.room.member_count -= 1;
        self.change_member(actor, |membership| {
            membership.left_at = Some(event.at);
            membership.left_seq = Some(event.seq);
        });
        let mut events = vec![event];
        if self.room.kind == Kind::Pair && !self.room.closed {
            events.push(self.shut(actor, CloseReason::Left, stamp));
        }
        Ok(Written { answer: Answer::Done, events })
    }

    fn close(&mut self, actor: &str, stamp: &mut Stamp<'_>) -> Verdict {
        let view = self.view(actor);
        let creator = self.room.kind == Kind::Channel && self.room.creator == actor;
        if !view.may_read() && !creator {
            return Err(Refusal::RoomNotFound);
        }
        if self.room.kind == Kind::Channel && !creator {
            return Err(Refusal::NotAllowed);
        }
        if self.room.closed {
            return told(Answer::Done);
        }
        let event = self.shut(actor, CloseReason::Closed, stamp);
        happened(Answer::Done, event)
    }

    fn close_idle(&mut self, idle_since: i64, stamp: &mut Stamp<'_>) -> Verdict {
        let idle = self.room.last_active_at <= idle_since;
        if self.room.kind != Kind::Pair || self.room.closed || !idle {
            return told(Answer::Done);
        }
        let event = self.shut("", CloseReason::Idle, stamp);
        happened(Answer::Done, event)
    }

    fn shut(&mut self, closer: &str, reason: CloseReason, stamp: &mut Stamp<'_>) -> Event {
        self.room.closed = true;
        self.append(stamp, Change::Closed { closer: closer.to_owned(), reason }, None)
    }

    fn read(&mut self, actor: &str, seq: u64) -> Verdict {
        let view = self.view(actor);
        let Some(member) = view.membership.as_ref().filter(|_| view.is_member()) else {
            return Err(Refusal::RoomNotFound);
        };
        if seq > self.room.head.seq {
            return Err(Refusal::BeyondHead);
        }
        if seq <= member.read.seq {
            return told(Answer::Read { unread: view.unread(), moved_to: None });
        }
        let message_no = self.message_no_at(seq).max(member.read.message_no);
        self.change_member(actor, |membership| membership.read = Cursor { seq, message_no });
        told(Answer::Read { unread: self.view(actor).unread(), moved_to: Some(seq) })
    }

    /// Messages up to `seq`, from the rows of this batch or what was stored;
    /// 0 when retention took the row and all before it.
    fn message_no_at(&self, seq: u64) -> u64 {
        if seq == self.room.head.seq {
            return self.room.message_no;
        }
        let new = self.entries.iter().find(|entry| entry.event.seq == seq);
        new.map(|entry| entry.message_no).or_else(|| self.counts.get(&seq).copied()).unwrap_or(0)
    }
}
