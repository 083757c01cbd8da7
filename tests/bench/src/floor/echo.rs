//! A bare tonic server: what its generated code does for a unary method, and
//! nothing else. Any method answers the user it was asked about.

use std::future::{Ready, ready};

use mingle_proto::presence::v1::{GetRequest, GetResponse, Presence, Status as UserStatus};
use tonic::{
    Request, Response, Status,
    server::{NamedService, UnaryService},
};

use super::unary;

#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "mingle.presence.v1.PresenceService";
}

impl UnaryService<GetRequest> for Echo {
    type Response = GetResponse;
    type Future = Ready<Result<Response<GetResponse>, Status>>;

    fn call(&mut self, request: Request<GetRequest>) -> Self::Future {
        let user_id = request.into_inner().user_id;
        let status = UserStatus::Offline.into();
        let presence = Presence { user_id, status, ..Presence::default() };
        ready(Ok(Response::new(GetResponse { presence: Some(presence) })))
    }
}

/// Serves until it is killed.
pub(crate) async fn serve() -> anyhow::Result<()> {
    unary::serve(Echo).await
}
