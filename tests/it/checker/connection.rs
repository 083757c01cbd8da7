//! From socket to socket: the session goes on, and so does the room.

use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed};

use mingle_client::ws::{
    Client, Limits, Socket,
    proto::{
        Hello, Ping, Position, Resume, Room, RoomJoin, RoomPosition, Welcome,
        client_frame::Kind as Ask,
    },
};
use tokio::time::{Instant, timeout};

use super::{
    journal::{Stay, What},
    person::{ANSWER, Failure, Person},
};
use crate::world::token;

impl Person {
    pub(super) fn is_connected(&self) -> bool {
        self.client.is_some()
    }

    /// Cuts the connection, when what it brought is taken.
    pub(super) async fn drop_socket(&mut self) {
        self.journal.note("drops its socket");
        self.is_over = true;
        self.hear_waiting().await;
    }

    /// The next connection is a new session.
    pub(super) fn forget_session(&mut self) {
        self.resume_token.clear();
    }

    /// Makes a connection if there is none: the session goes on, and so do the
    /// rooms.
    pub(super) async fn connect(&mut self) -> Result<(), Failure> {
        if self.client.is_some() {
            return Ok(());
        }
        self.silent = 0;
        let gateway = self.gateway();
        let url = format!("ws://{gateway}/ws");
        let socket = match timeout(ANSWER, Socket::connect(&url, self.encoding)).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Err(self.failure(&Ask::Ping(Ping {}), error)),
            Err(_) => {
                self.journal.note(format_args!("no connection to {gateway} in time"));
                self.journal.failed("no connection");
                return Err(Failure::Again);
            }
        };
        // A hello may wait 8 s for rooms.
        let limits = Limits { reply: ANSWER * 2, events: 1 << 16 };
        self.client = Some(Client::over(socket, limits));
        self.is_over = false;
        self.connections += 1;
        let done = self.hello(gateway).await;
        if done.is_err() {
            self.drop_socket().await;
        }
        done
    }

    async fn hello(&mut self, gateway: SocketAddr) -> Result<(), Failure> {
        self.journal.see_presence(false);
        let token = token(&self.journal.user);
        let rooms: Vec<RoomPosition> = self.present().into_iter().collect();
        let resume = (!self.resume_token.is_empty())
            .then(|| Resume { token: self.resume_token.clone(), rooms: rooms.clone() });
        let is_resume = resume.is_some();
        let welcome: Welcome = self.request(Ask::Hello(Hello { token, resume })).await?;
        self.journal.note(format_args!("at {gateway}, resumed {}", welcome.resumed));
        if is_resume && !welcome.resumed {
            self.journal.wrong("a resume began a new session");
        }
        let count = if is_resume { &self.tally.resumed } else { &self.tally.greeted };
        count.fetch_add(1, Relaxed);
        self.resume_token = welcome.resume_token;
        for room in rooms {
            let told = welcome.rooms.iter().find(|told| told.room_id == room.room_id);
            if !told.is_some_and(|told| told.recovered) {
                self.follow(room).await?;
            }
        }
        if let Some(lost) = self.lost.take() {
            self.journal.waited(What::Connect, lost);
        }
        Ok(())
    }

    /// The room in which the client is, and what it heard last.
    pub(super) fn present(&self) -> Option<RoomPosition> {
        let room = self.room.as_ref()?;
        let stay = self.journal.stays.iter().rev().find(|stay| stay.room == *room)?;
        Some(RoomPosition { room_id: room.clone(), after: Some(stay.at().clone()) })
    }

    /// Goes into a room and hears its log from the beginning.
    pub(crate) async fn enter(&mut self, room: &str) {
        let (begin, room) = (Instant::now(), room.to_owned());
        let after = Position::default();
        let (since, heard, left) = (None, Vec::new(), false);
        self.journal.stays.push(Stay { room: room.clone(), after, since, heard, left });
        self.room = Some(room.clone());
        loop {
            // Whoever connects follows the room where they are.
            let done = if self.client.is_none() {
                self.connect().await
            } else {
                let from = self.present();
                self.follow(from.unwrap_or_default()).await.map(drop)
            };
            if done.is_ok() {
                if let Some(stay) = self.journal.stays.last_mut() {
                    stay.since = Some(Instant::now());
                }
                return;
            }
            if !self.pause(begin, &room).await {
                return;
            }
        }
    }

    /// Follows a room from a place of its log on.
    pub(super) async fn follow(&mut self, from: RoomPosition) -> Result<Room, Failure> {
        let RoomPosition { room_id, after } = from;
        let room: Room = self.request(Ask::RoomJoin(RoomJoin { room_id, after })).await?;
        if !room.recovered {
            self.journal.wrong(format_args!("not recovered: {room:?}"));
        }
        Ok(room)
    }
}
