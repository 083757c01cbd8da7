//! A bare tonic server of one unary method: what generated code does, and nothing else.

use std::{
    convert::Infallible,
    marker::PhantomData,
    task::{Context, Poll},
};

use prost::Message;
use tonic::{
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

/// Answers `Q` by any method of the service.
struct Unary<S, Q>(S, PhantomData<fn(Q)>);

impl<S: Clone, Q> Clone for Unary<S, Q> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<S: NamedService, Q> NamedService for Unary<S, Q> {
    const NAME: &'static str = S::NAME;
}

impl<S, Q> Service<http::Request<Body>> for Unary<S, Q>
where
    S: UnaryService<Q, Response: Message + Default + 'static, Future: Send>,
    S: Clone + Send + 'static,
    Q: Message + Default + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async { Ok(Grpc::new(ProstCodec::default()).unary(service, request).await) })
    }
}

/// Serves until it is killed.
pub(super) async fn serve<S, Q>(service: S) -> anyhow::Result<()>
where
    S: UnaryService<Q, Response: Message + Default + 'static, Future: Send>,
    S: NamedService + Clone + Send + Sync + 'static,
    Q: Message + Default + 'static,
{
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?.with_nodelay(Some(true));
    super::say_ready(incoming.local_addr()?)?;
    let service = Unary(service, PhantomData);
    Ok(Server::builder().add_service(service).serve_with_incoming(incoming).await?)
}
