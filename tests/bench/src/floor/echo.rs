//! A bare tonic server: what its generated code does for a unary method, and
//! nothing else. Any method answers the user it was asked about.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use mingle_proto::presence::v1::{GetRequest, GetResponse, Presence, Status as UserStatus};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

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

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async { Ok(Grpc::new(ProstCodec::default()).unary(Echo, request).await) })
    }
}

/// Serves until it is killed.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?.with_nodelay(Some(true));
    super::say_ready(incoming.local_addr()?)?;
    Ok(Server::builder().add_service(Echo).serve_with_incoming(incoming).await?)
}
