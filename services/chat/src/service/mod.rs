//! The RPCs: parse, ask the store, answer.

mod charge;
mod pages;
mod reads;
mod sweep;
mod writes;

use std::sync::Arc;

use mingle_proto::chat::v1::{self as proto, chat_service_server::ChatService};
use mingle_runtime::{grpc::sight::Sighted, telemetry};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::{
    domain::{Intent, Refusal, View, Wish, Written},
    error::Error,
    fanout::{Hub, Outgoing, Session},
    store::{Announce as _, Store},
};

pub use charge::{Charges, LIMIT, charges};
pub use pages::Pages;
pub use sweep::{Sweep, sweep};

/// Chat over a store and a hub.
#[derive(Clone)]
pub struct Chat {
    store: Arc<dyn Store>,
    hub: Hub,
    charges: Arc<Charges>,
    pages: Pages,
}

type Answer<T> = Result<T, Error>;

impl Chat {
    /// Serves what `store` holds and `hub` follows; messages are `charges`', and pages that
    /// nothing is added to are kept by `pages`.
    pub fn new(store: Arc<dyn Store>, hub: Hub, charges: Charges, pages: Pages) -> Self {
        Self { store, hub, charges: Arc::new(charges), pages }
    }

    /// Has an intent done; a refusal is an error from here on.
    async fn write(&self, room_id: String, intent: Intent) -> Answer<Written> {
        let wish = Wish { room_id, intent, trace_id: telemetry::trace_id() };
        Ok(self.store.write(wish, telemetry::traceparent()).await??)
    }

    fn new_room_id() -> String {
        Uuid::now_v7().to_string()
    }

    /// The room as the actor sees it, if `may` says that they may.
    async fn view(&self, room_id: &str, actor: &str, may: fn(&View) -> bool) -> Answer<View> {
        let view = self.store.view(room_id, actor).await?;
        Ok(view.filter(may).ok_or(Refusal::RoomNotFound)?)
    }

    /// Announces again what was announced when it was first done: whoever
    /// committed it may have died before. It is durable in any case, so a
    /// failure here is not the caller's.
    async fn announce_again(&self, room_id: &str, seq: u64) {
        match self.store.range(room_id, seq.saturating_sub(1), 1).await {
            Ok(page) if page.events.first().is_some_and(|event| event.seq == seq) => {
                self.hub.board().announce(&page.events, &telemetry::traceparent());
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "not announced again"),
        }
    }
}

type Call<Q> = Request<Q>;
type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ChatService for Chat {
    type SubscribeStream = Sighted<Outgoing>;

    async fn subscribe(
        &self,
        request: Request<Streaming<proto::SubscribeRequest>>,
    ) -> Result<Response<Sighted<Outgoing>>, Status> {
        let open = || Session::start(&self.hub, request.into_inner());
        Ok(Response::new(self.hub.sight().watch(open)?))
    }

    async fn create_room(
        &self,
        call: Call<proto::CreateRoomRequest>,
    ) -> Reply<proto::CreateRoomResponse> {
        Ok(Response::new(self.answer_create_room(call.into_inner()).await?))
    }

    async fn get_room(&self, call: Call<proto::GetRoomRequest>) -> Reply<proto::GetRoomResponse> {
        Ok(Response::new(self.answer_get_room(call.into_inner()).await?))
    }

    async fn list_rooms(
        &self,
        call: Call<proto::ListRoomsRequest>,
    ) -> Reply<proto::ListRoomsResponse> {
        Ok(Response::new(self.answer_list_rooms(call.into_inner()).await?))
    }

    async fn close_room(
        &self,
        call: Call<proto::CloseRoomRequest>,
    ) -> Reply<proto::CloseRoomResponse> {
        Ok(Response::new(self.answer_close_room(call.into_inner()).await?))
    }

    async fn join(&self, call: Call<proto::JoinRequest>) -> Reply<proto::JoinResponse> {
        Ok(Response::new(self.answer_join(call.into_inner()).await?))
    }

    async fn leave(&self, call: Call<proto::LeaveRequest>) -> Reply<proto::LeaveResponse> {
        Ok(Response::new(self.answer_leave(call.into_inner()).await?))
    }

    async fn list_members(
        &self,
        call: Call<proto::ListMembersRequest>,
    ) -> Reply<proto::ListMembersResponse> {
        Ok(Response::new(self.answer_list_members(call.into_inner()).await?))
    }

    async fn send(&self, call: Call<proto::SendRequest>) -> Reply<proto::SendResponse> {
        Ok(Response::new(self.answer_send(call.into_inner()).await?))
    }

    async fn edit(&self, call: Call<proto::EditRequest>) -> Reply<proto::EditResponse> {
        Ok(Response::new(self.answer_edit(call.into_inner()).await?))
    }

    async fn delete(&self, call: Call<proto::DeleteRequest>) -> Reply<proto::DeleteResponse> {
        Ok(Response::new(self.answer_delete(call.into_inner()).await?))
    }

    async fn history(&self, call: Call<proto::HistoryRequest>) -> Reply<proto::HistoryResponse> {
        Ok(Response::new(self.answer_history(call.into_inner()).await?))
    }

    async fn replay(&self, call: Call<proto::ReplayRequest>) -> Reply<proto::ReplayResponse> {
        Ok(Response::new(self.answer_replay(call.into_inner()).await?))
    }

    async fn mark_read(
        &self,
        call: Call<proto::MarkReadRequest>,
    ) -> Reply<proto::MarkReadResponse> {
        Ok(Response::new(self.answer_mark_read(call.into_inner()).await?))
    }

    async fn set_typing(
        &self,
        call: Call<proto::SetTypingRequest>,
    ) -> Reply<proto::SetTypingResponse> {
        Ok(Response::new(self.answer_set_typing(call.into_inner()).await?))
    }

    async fn shared_rooms(
        &self,
        call: Call<proto::SharedRoomsRequest>,
    ) -> Reply<proto::SharedRoomsResponse> {
        Ok(Response::new(self.answer_shared_rooms(call.into_inner()).await?))
    }
}
