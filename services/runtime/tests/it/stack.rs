use std::{sync::Arc, time::Duration};

use mingle_proto::{
    errors::v1::Reason,
    presence::v1::{
        self as pb, presence_service_client::PresenceServiceClient,
        presence_service_server::PresenceServiceServer,
    },
};
use mingle_runtime::{
    Context,
    grpc::{Config, Routes, Stack, Transport, degraded::DEGRADED},
    status::{Described, Kind, refuse},
};
use tokio::sync::Semaphore;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Answers `Count` when it gets a permit, and streams forever.
struct Service(Arc<Semaphore>);

type Watching = std::pin::Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

/// Implements the trait with the two RPCs that these tests call; the others
/// refuse. A macro, because the attribute must see every method.
macro_rules! service {
    ($($method:ident: $request:ident -> $response:ident),* $(,)?) => {
        #[tonic::async_trait]
        impl pb::presence_service_server::PresenceService for Service {
            type WatchStream = Watching;

            async fn count(
                &self,
                _: Request<pb::CountRequest>,
            ) -> Result<Response<pb::CountResponse>, Status> {
                let _permit = self.0.acquire().await;
                Ok(Response::new(pb::CountResponse { users: 1, sessions: 1 }))
            }

            async fn watch(
                &self,
                _: Request<Streaming<pb::WatchRequest>>,
            ) -> Result<Response<Watching>, Status> {
                Ok(Response::new(Box::pin(tokio_stream::pending())))
            }

            $(async fn $method(
                &self,
                _: Request<pb::$request>,
            ) -> Result<Response<pb::$response>, Status> {
                Err(refuse(Kind::NotFound, Reason::RouteNotFound, "not part of this test"))
            })*
        }
    };
}

service! {
    register_node: RegisterNodeRequest -> RegisterNodeResponse,
    renew_node: RenewNodeRequest -> RenewNodeResponse,
    register_sessions: RegisterSessionsRequest -> RegisterSessionsResponse,
    connect: ConnectRequest -> ConnectResponse,
    disconnect: DisconnectRequest -> DisconnectResponse,
    set_status: SetStatusRequest -> SetStatusResponse,
    get: GetRequest -> GetResponse,
    get_many: GetManyRequest -> GetManyResponse,
    list_nodes: ListNodesRequest -> ListNodesResponse,
}

struct Fixture {
    permits: Arc<Semaphore>,
    drain: CancellationToken,
    stack: Stack,
}

impl Fixture {
    fn new(overrides: &str) -> Self {
        let config: Config = Context::for_test(&[], overrides).config.read().unwrap();
        let drain = CancellationToken::new();
        let stack = Stack::new(&config, drain.clone());
        Self { permits: Arc::new(Semaphore::new(0)), drain, stack }
    }

    fn client(&self) -> PresenceServiceClient<Transport> {
        let server = PresenceServiceServer::new(Service(self.permits.clone()));
        PresenceServiceClient::new(Transport::in_process(&self.stack, Routes::new(server)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_and_at_the_cap() {
    let fixture = Fixture::new("[grpc]\nmax_deadline_ms = 20000");
    for (asked, expected) in [(Some(300), 300), (None, 10_000), (Some(90_000), 20_000)] {
        let mut request = Request::new(pb::CountRequest {});
        if let Some(ms) = asked {
            request.set_timeout(Duration::from_millis(ms));
        }
        let started = tokio::time::Instant::now();
        let status = fixture.client().count(request).await.unwrap_err();
        assert_eq!(Described::from(&status).reason, "DEADLINE");
        assert_eq!(started.elapsed().as_millis(), expected);
    }
}

#[tokio::test]
async fn beyond_its_bound_the_process_sheds_and_recovers() {
    let fixture = Fixture::new("[grpc]\nmax_in_flight = 2");
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let mut client = fixture.client();
        waiting.spawn(async move { client.count(pb::CountRequest {}).await });
    }
    let mut shed = 0;
    while shed < 8 {
        let refused = waiting.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(Described::from(&refused).reason, "OVERLOADED");
        shed += 1;
    }
    fixture.permits.add_permits(2);
    while let Some(served) = waiting.join_next().await {
        served.unwrap().unwrap();
    }
    fixture.client().count(pb::CountRequest {}).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn streams_end_with_age_and_with_drain_and_give_their_place_back() {
    let fixture = Fixture::new("[grpc]\nmax_streams = 1\nmax_stream_age_ms = 60000");
    let open = || async { fixture.client().watch(tokio_stream::pending()).await };
    let mut stream = open().await.unwrap().into_inner();
    assert_eq!(Described::from(&open().await.unwrap_err()).reason, "OVERLOADED");
    let started = tokio::time::Instant::now();
    let aged = stream.message().await.unwrap_err();
    assert_eq!(Described::from(&aged).kind, Kind::Unavailable);
    assert!((54..=66).contains(&started.elapsed().as_secs()));
    drop(stream);

    let mut stream = open().await.unwrap().into_inner();
    fixture.drain.cancel();
    let drained = stream.message().await.unwrap_err();
    assert_eq!(Described::from(&drained).reason, "DRAINING");
    assert!(Described::from(&drained).retry_after.is_some());
}

#[tokio::test]
async fn with_a_token_only_its_holders_are_let_in() {
    let fixture = Fixture::new("[grpc]\ninternal_token = \"0123456789abcdef\"");
    fixture.permits.add_permits(10);
    fixture.client().count(pb::CountRequest {}).await.unwrap();

    let routes = Routes::new(PresenceServiceServer::new(Service(fixture.permits.clone())));
    let guarded = tower::Layer::layer(&fixture.stack, routes);
    let mut stranger = PresenceServiceClient::new(guarded);
    let refused = stranger.count(pb::CountRequest {}).await.unwrap_err();
    assert_eq!(Described::from(&refused).kind, Kind::Unauthenticated);
}

#[tokio::test]
async fn an_absent_role_is_unavailable() {
    let mut client = PresenceServiceClient::new(Transport::absent("presence"));
    let status = client.count(pb::CountRequest {}).await.unwrap_err();
    let described = Described::from(&status);
    assert_eq!((described.kind, described.reason.as_str()), (Kind::Unavailable, "UNAVAILABLE"));
}

#[tokio::test]
async fn replies_are_marked_while_the_process_is_degraded() {
    let context = Context::for_test(&[], "");
    let mut fixture = Fixture::new("");
    fixture.stack = fixture.stack.marked(&context.health);
    fixture.permits.add_permits(10);
    let mark = async || {
        let reply = fixture.client().count(pb::CountRequest {}).await.unwrap();
        reply.metadata().get(DEGRADED).map(|mark| mark.to_str().unwrap().to_owned())
    };
    assert_eq!(mark().await, None);
    context.health.set_degraded("redis", true);
    context.health.set_degraded("index", true);
    assert_eq!(mark().await.as_deref(), Some("index,redis"));
    // A refusal too.
    let refused = fixture.client().get(pb::GetRequest::default()).await.unwrap_err();
    assert_eq!(refused.metadata().get(DEGRADED).unwrap(), "index,redis");
    context.health.set_degraded("redis", false);
    context.health.set_degraded("index", false);
    assert_eq!(mark().await, None);
}
