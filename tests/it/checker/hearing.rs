//! What comes without being asked for.

use std::{future::pending, sync::atomic::Ordering::Relaxed, time::Duration};

use mingle_client::ws::proto::{
    Matched, Ping, PresenceStatus, Ticket, TicketState, client_frame::Kind as Ask,
    server_frame::Kind,
};
use tokio::time::{Instant, timeout};

use super::{journal::Sight, person::Person};

impl Person {
    /// Hears for so long.
    pub(super) async fn rest(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|it| !it.is_zero())
        {
            let Some(client) = &mut self.client else {
                let _ = timeout(left, pending::<()>()).await;
                return;
            };
            match timeout(left, client.event()).await {
                Err(_) => return,
                Ok(Ok(event)) => self.take(event).await,
                Ok(Err(error)) => {
                    self.failure(&Ask::Ping(Ping {}), error);
                    self.hear_waiting().await;
                }
            }
        }
    }

    /// Takes the events that came with an answer, then lets go of a connection
    /// that is over.
    pub(super) async fn hear_waiting(&mut self) {
        while let Some(client) = self.client.as_mut().filter(|client| client.waiting() > 0) {
            match client.event().await {
                Ok(event) => Box::pin(self.take(event)).await,
                Err(_) => self.is_over = true,
            }
        }
        if self.is_over {
            self.client = None;
        }
    }

    async fn take(&mut self, event: Kind) {
        self.journal.contact();
        match event {
            Kind::Matched(matched) => {
                let Matched { ticket_id, match_id, room_id, .. } = matched;
                let state = TicketState::Matched.into();
                self.told(Ticket { ticket_id, state, match_id, room_id });
            }
            Kind::Presence(presence) => self.see(&presence.user_id, presence.status()),
            Kind::Degraded(degraded) => {
                self.journal.note(format_args!("degraded {:?}", degraded.states));
                let states = &degraded.states;
                self.tally.degraded.fetch_add(usize::from(!states.is_empty()), Relaxed);
                self.journal.see_presence(states.iter().any(|it| it == "presence"));
            }
            Kind::Gap(gap) => {
                self.journal.note(format_args!("gap {}", gap.room_id));
                if let Some(room) = self.present().filter(|it| it.room_id == gap.room_id)
                    && !self.is_over
                {
                    // Unanswered, the next connection follows it.
                    self.is_over |= Box::pin(self.follow(room)).await.is_err();
                }
            }
            event => {
                self.journal.hear(&event);
                if matches!(&event, Kind::RoomClosed(of) if Some(&of.room_id) == self.room.as_ref())
                {
                    self.room = None;
                }
            }
        }
    }

    /// Notes what was told of a ticket that is waited for; a room to go to is
    /// kept.
    pub(super) fn told(&mut self, ticket: Ticket) {
        self.journal.told(&ticket);
        if !ticket.room_id.is_empty() {
            let is_new = self.journal.called.insert(ticket.ticket_id.clone());
            self.tally.called.fetch_add(is_new.into(), Relaxed);
            self.found.push_back((ticket, Instant::now()));
        }
    }

    /// Notes what somebody is told to be.
    pub(super) fn see(&mut self, user: &str, status: PresenceStatus) {
        self.journal.note(format_args!("{user} is {status:?}"));
        if status == PresenceStatus::Offline {
            self.journal.offline.push(Sight { user: user.to_owned(), at: Instant::now() });
        }
    }
}
