//! One Subscribe stream.

use std::{collections::HashSet, sync::Arc};

use futures::{Stream, StreamExt as _};
use mingle_proto::chat::v1::{SubscribeRequest, subscribe_request::Action};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    follower::SessionId,
    hub::Hub,
    outbox::{Outbox, Outgoing},
};
use crate::{error::Error, wire};

/// Rooms named in one request.
const NAMED: usize = 1000;

/// The rooms of one stream. Dropped, it follows none of them.
pub struct Session {
    hub: Hub,
    id: SessionId,
    outbox: Arc<Outbox>,
    rooms: HashSet<String>,
}

impl Session {
    /// Serves the requests of a stream until it ends or its answers are no
    /// longer read.
    pub fn start<S>(hub: &Hub, requests: S) -> Outgoing
    where
        S: Stream<Item = Result<SubscribeRequest, Status>> + Send + Unpin + 'static,
    {
        let outbox = Arc::new(Outbox::new(hub.settings.queue));
        let gone = CancellationToken::new();
        let session = Self {
            hub: hub.clone(),
            id: hub.new_session(),
            outbox: outbox.clone(),
            rooms: HashSet::new(),
        };
        let unread = gone.clone();
        hub.tasks.spawn(async move {
            let stop = session.hub.stop.clone();
            tokio::select! {
                () = unread.cancelled() => {}
                () = stop.cancelled() => {}
                () = session.serve(requests) => {}
            }
        });
        Outgoing { outbox, _gone: gone.drop_guard() }
    }

    async fn serve<S>(mut self, mut requests: S)
    where
        S: Stream<Item = Result<SubscribeRequest, Status>> + Unpin,
    {
        loop {
            self.outbox.ready().await;
            let Some(Ok(request)) = requests.next().await else {
                return self.outbox.end(None);
            };
            if let Err(error) = self.take(request) {
                return self.outbox.end(Some(error.into()));
            }
        }
    }

    fn take(&mut self, request: SubscribeRequest) -> Result<(), Error> {
        match request.action {
            Some(Action::Add(rooms)) => {
                wire::room_ids("add.room_ids", &rooms.room_ids, NAMED)?;
                for room_id in rooms.room_ids {
                    self.make_room_for(&room_id)?;
                    self.hub.attach(&room_id, self.id, &self.outbox);
                    self.rooms.insert(room_id);
                }
            }
            Some(Action::Remove(rooms)) => {
                wire::room_ids("remove.room_ids", &rooms.room_ids, NAMED)?;
                for room_id in &rooms.room_ids {
                    self.hub.detach(room_id, self.id);
                    self.rooms.remove(room_id);
                }
            }
            // An action of a newer version: there is nothing to answer.
            None => {}
        }
        Ok(())
    }
}

impl Session {
    /// Rooms that were not found are forgotten when their place is needed.
    fn make_room_for(&mut self, room_id: &str) -> Result<(), Error> {
        let most = self.hub.settings.rooms;
        if self.rooms.len() >= most && !self.rooms.contains(room_id) {
            self.rooms.retain(|room| self.hub.follows(room, self.id));
            if self.rooms.len() >= most {
                return Err(Error::TooManyRooms);
            }
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for room_id in &self.rooms {
            self.hub.detach(room_id, self.id);
        }
    }
}
