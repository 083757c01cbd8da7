//! Chat and presence as far as matchmaking calls them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use mingle_proto::{
    chat::v1::{chat_service_server::ChatService, *},
    presence::v1::{self as presence, presence_service_server::PresenceService},
};
use parking_lot::Mutex;
use tokio_stream::Empty;
use tonic::{Request, Response, Status, Streaming};

/// How chat behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As it should.
    #[default]
    Well,
    /// It answers UNAVAILABLE and does nothing.
    Away,
    /// It makes the room, and its answer is lost.
    Forgetful,
}

/// Chat that only makes rooms, one per external id.
#[derive(Clone, Default)]
pub(crate) struct Chat(Arc<Rooms>);

#[derive(Default)]
struct Rooms {
    made: Mutex<BTreeMap<String, Vec<String>>>,
    mood: Mutex<Mood>,
    failed: AtomicUsize,
}

impl Chat {
    pub(crate) fn set(&self, mood: Mood) {
        *self.0.mood.lock() = mood;
    }

    /// The members of each room, by external id.
    pub(crate) fn rooms(&self) -> BTreeMap<String, Vec<String>> {
        self.0.made.lock().clone()
    }

    pub(crate) fn failed(&self) -> usize {
        self.0.failed.load(Ordering::SeqCst)
    }

    fn create(&self, request: CreateRoomRequest) -> Result<Response<CreateRoomResponse>, Status> {
        assert_eq!(request.kind(), RoomKind::Pair);
        assert_eq!(request.member_ids.len(), 2);
        let mood = *self.0.mood.lock();
        if mood != Mood::Away {
            let mut made = self.0.made.lock();
            let members =
                made.entry(request.external_id.clone()).or_insert(request.member_ids.clone());
            assert_eq!(*members, request.member_ids, "the same key stands for the same room");
        }
        if mood != Mood::Well {
            self.0.failed.fetch_add(1, Ordering::SeqCst);
            return Err(Status::unavailable("away"));
        }
        let room_id = format!("room-{}", request.external_id);
        let room = Room { room_id, kind: RoomKind::Pair.into(), ..Room::default() };
        Ok(Response::new(CreateRoomResponse { room: Some(room), created: true }))
    }
}

macro_rules! chat {
    ($($method:ident($request:ty) -> $response:ty;)*) => {
        #[tonic::async_trait]
        impl ChatService for Chat {
            async fn create_room(
                &self,
                request: Request<CreateRoomRequest>,
            ) -> Result<Response<CreateRoomResponse>, Status> {
                self.create(request.into_inner())
            }
            $(async fn $method(&self, _: Request<$request>) -> Result<Response<$response>, Status> {
                Err(Status::unimplemented("not called by matchmaking"))
            })*
            type SubscribeStream = Empty<Result<SubscribeResponse, Status>>;
            async fn subscribe(
                &self,
                _: Request<Streaming<SubscribeRequest>>,
            ) -> Result<Response<Self::SubscribeStream>, Status> {
                Err(Status::unimplemented("not called by matchmaking"))
            }
        }
    };
}

chat! {
    get_room(GetRoomRequest) -> GetRoomResponse;
    list_rooms(ListRoomsRequest) -> ListRoomsResponse;
    close_room(CloseRoomRequest) -> CloseRoomResponse;
    join(JoinRequest) -> JoinResponse;
    leave(LeaveRequest) -> LeaveResponse;
    list_members(ListMembersRequest) -> ListMembersResponse;
    send(SendRequest) -> SendResponse;
    edit(EditRequest) -> EditResponse;
    delete(DeleteRequest) -> DeleteResponse;
    history(HistoryRequest) -> HistoryResponse;
    replay(ReplayRequest) -> ReplayResponse;
    mark_read(MarkReadRequest) -> MarkReadResponse;
    set_typing(SetTypingRequest) -> SetTypingResponse;
    shared_rooms(SharedRoomsRequest) -> SharedRoomsResponse;
}

/// Presence that answers what it was told; everyone else is online.
#[derive(Clone, Default)]
pub(crate) struct Presence(Arc<People>);

#[derive(Default)]
struct People {
    shown: Mutex<HashMap<String, presence::Status>>,
    away: Mutex<bool>,
    hangs: Mutex<bool>,
    asked: Mutex<Vec<String>>,
}

impl Presence {
    pub(crate) fn set(&self, user: &str, status: presence::Status) {
        self.0.shown.lock().insert(user.to_owned(), status);
    }

    pub(crate) fn set_away(&self, away: bool) {
        *self.0.away.lock() = away;
    }

    /// Whoever asks is not answered.
    pub(crate) fn set_hangs(&self, hangs: bool) {
        *self.0.hangs.lock() = hangs;
    }

    /// Who was asked for so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.0.asked.lock().clone()
    }

    fn read(
        &self,
        request: presence::GetManyRequest,
    ) -> Result<Response<presence::GetManyResponse>, Status> {
        if *self.0.away.lock() {
            return Err(Status::unavailable("away"));
        }
        assert!(request.user_ids.len() <= 1_000);
        self.0.asked.lock().extend(request.user_ids.iter().cloned());
        let shown = self.0.shown.lock();
        let read = |user_id: String| {
            let status = shown.get(&user_id).copied().unwrap_or(presence::Status::Online);
            presence::Presence { user_id, status: status.into(), ..Default::default() }
        };
        let presences = request.user_ids.into_iter().map(read).collect();
        Ok(Response::new(presence::GetManyResponse { presences }))
    }
}

macro_rules! presence {
    ($($method:ident($request:ident) -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl PresenceService for Presence {
            async fn get_many(
                &self,
                request: Request<presence::GetManyRequest>,
            ) -> Result<Response<presence::GetManyResponse>, Status> {
                let request = request.into_inner();
                let hangs = *self.0.hangs.lock();
                if hangs {
                    self.0.asked.lock().extend(request.user_ids.iter().cloned());
                    std::future::pending::<()>().await;
                }
                self.read(request)
            }
            $(async fn $method(
                &self,
                _: Request<presence::$request>,
            ) -> Result<Response<presence::$response>, Status> {
                Err(Status::unimplemented("not called by matchmaking"))
            })*
            type WatchStream = Empty<Result<presence::WatchResponse, Status>>;
            async fn watch(
                &self,
                _: Request<Streaming<presence::WatchRequest>>,
            ) -> Result<Response<Self::WatchStream>, Status> {
                Err(Status::unimplemented("not called by matchmaking"))
            }
        }
    };
}

presence! {
    register_node(RegisterNodeRequest) -> RegisterNodeResponse;
    renew_node(RenewNodeRequest) -> RenewNodeResponse;
    register_sessions(RegisterSessionsRequest) -> RegisterSessionsResponse;
    connect(ConnectRequest) -> ConnectResponse;
    disconnect(DisconnectRequest) -> DisconnectResponse;
    set_status(SetStatusRequest) -> SetStatusResponse;
    get(GetRequest) -> GetResponse;
    count(CountRequest) -> CountResponse;
    list_nodes(ListNodesRequest) -> ListNodesResponse;
}
