//! Calls of instances in other processes, over real sockets.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use mingle_proto::runtime::v1::{
    DescribeRequest, DescribeResponse,
    diagnostics_service_client::DiagnosticsServiceClient,
    diagnostics_service_server::{DiagnosticsService, DiagnosticsServiceServer},
};
use mingle_runtime::{
    config::Secret,
    grpc::{
        Transport,
        degraded::DEGRADED,
        remote::{AFFINITY, Remote},
    },
    status::{Described, Kind},
};
use mingle_testkit::{Fault, Proxy, eventually};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tokio_stream::{Pending, StreamExt as _, pending};
use tonic::{
    Code, Request, Response, Status,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

pub(super) type Client = DiagnosticsServiceClient<Transport>;

/// Tells its address, or that it is unavailable; and whether it is well.
#[derive(Clone)]
pub(super) struct Service {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    /// Whether it was asked if it is well, and streams that were opened.
    pub(super) questions: Arc<AtomicUsize>,
    pub(super) streams: Arc<AtomicUsize>,
    pub(super) unavailable: Arc<AtomicBool>,
    pub(super) silent: Arc<AtomicBool>,
    /// By its own word.
    pub(super) ill: Arc<AtomicBool>,
    degraded: Arc<AtomicBool>,
}

#[tonic::async_trait]
impl DiagnosticsService for Service {
    async fn describe(
        &self,
        _: Request<DescribeRequest>,
    ) -> Result<Response<DescribeResponse>, Status> {
        self.calls.fetch_add(1, SeqCst);
        if self.silent.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.unavailable.load(SeqCst) {
            return Err(Status::unavailable("as told"));
        }
        let node_id = self.address.to_string();
        let mut answer = Response::new(DescribeResponse { node_id, ..Default::default() });
        if self.degraded.load(SeqCst) {
            answer.metadata_mut().insert(DEGRADED, "redis".parse().unwrap());
        }
        Ok(answer)
    }
}

#[tonic::async_trait]
impl Health for Service {
    type WatchStream = Pending<Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.questions.fetch_add(1, SeqCst);
        if self.silent.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        let is_ill = self.ill.load(SeqCst);
        let status = if is_ill { ServingStatus::NotServing } else { ServingStatus::Serving };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.streams.fetch_add(1, SeqCst);
        Ok(Response::new(pending()))
    }
}

/// A server on threads of its own; dropped, it is gone with its connections,
/// as in a crash.
pub(super) struct Instance {
    pub(super) service: Service,
    runtime: Option<Runtime>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Instance {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (calls, questions, streams) = Default::default();
        let (unavailable, silent, ill, degraded) = Default::default();
        let service =
            Service { address, calls, questions, streams, unavailable, silent, ill, degraded };
        let router = Server::builder()
            .add_service(DiagnosticsServiceServer::new(service.clone()))
            .add_service(HealthServer::new(service.clone()));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = listener.into_std().unwrap();
        runtime.spawn(async move {
            let incoming = TcpIncoming::from(TcpListener::from_std(listener).unwrap());
            router.serve_with_incoming(incoming).await.unwrap();
        });
        Self { service, runtime: Some(runtime) }
    }

    pub(super) fn calls(&self) -> usize {
        self.service.calls.load(SeqCst)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.service.address
    }
}

pub(super) fn way(addresses: &[String]) -> Transport {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let remote = Remote::new("test", addresses);
    Transport::remote(remote, &Secret::new(""))
}

fn client(addresses: &[String]) -> Client {
    Client::new(way(addresses))
}

pub(super) fn to(instances: &[&Instance]) -> Client {
    let addresses: Vec<_> = instances.iter().map(|it| format!("http://{}", it.address())).collect();
    client(&addresses)
}

pub(super) async fn ask(client: &Client, about: Option<&str>) -> Result<String, Code> {
    ask_within(client, about, Duration::from_millis(500)).await
}

async fn ask_within(
    client: &Client,
    about: Option<&str>,
    timeout: Duration,
) -> Result<String, Code> {
    let mut request = Request::new(DescribeRequest::default());
    request.set_timeout(timeout);
    if let Some(about) = about {
        request.metadata_mut().insert(AFFINITY, about.parse().unwrap());
    }
    let answer = client.clone().describe(request).await;
    answer.map(|answer| answer.into_inner().node_id).map_err(|status| status.code())
}

/// A port that refuses, as nobody listens.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn an_instance_that_is_away_costs_no_call() {
    let alive = Instance::start().await;
    let client = client(&[nowhere().await, format!("http://{}", alive.address())]);
    for _ in 0..20 {
        assert_eq!(ask(&client, None).await, Ok(alive.address().to_string()));
    }
    assert_eq!(alive.calls(), 20);
}

/// As INTERNAL, which its connection says, it would be a failure for good: a reader
/// who asks again finds what is there, a writer what became of it.
#[tokio::test]
async fn an_answer_that_breaks_off_is_unavailable() {
    const BEGUN: usize = 60_000;
    let answer = async || {
        let mut begun = vec![0, 0, 1, 0, 0];
        begun.resize(BEGUN, 0);
        let begun = Ok::<_, io::Error>(Bytes::from(begun));
        let body = axum::body::Body::from_stream(tokio_stream::iter([begun]).chain(pending()));
        ([("content-type", "application/grpc")], body)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::to(listener.local_addr().unwrap()).await;
    let routes = Routes::from(axum::Router::new().fallback(answer));
    let server = Server::builder().add_routes(routes);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let client = client(&[format!("http://{}", proxy.address())]);
    let asked = client.clone();
    let asked =
        tokio::spawn(async move { asked.clone().describe(DescribeRequest::default()).await });
    eventually(Duration::from_secs(60), "most of the answer to be there", async || {
        (proxy.traffic().to_client >= BEGUN as u64).then_some(())
    })
    .await;
    proxy.set(Fault::Cut);
    let refused = asked.await.unwrap().unwrap_err();
    assert!(refused.message().starts_with("the answer broke off"), "{refused:?}");
    let described = Described::from(&refused);
    assert_eq!((described.kind, &*described.reason), (Kind::Unavailable, "UNAVAILABLE"));
    assert!(described.retry_after > Some(Duration::ZERO), "{described:?}");
}

#[tokio::test]
async fn without_any_instance_calls_are_unavailable() {
    let client = client(&[nowhere().await, nowhere().await]);
    for _ in 0..5 {
        assert_eq!(ask(&client, None).await, Err(Code::Unavailable));
    }
}

#[tokio::test]
async fn an_instance_that_breaks_under_load_costs_no_call() {
    let (stays, dies) = (Instance::start().await, Instance::start().await);
    let client = to(&[&stays, &dies]);
    let mut dies = Some(dies);
    let mut answered = BTreeMap::new();
    for at in 0..60 {
        if at == 30 {
            dies = None;
        }
        *answered.entry(ask(&client, None).await.unwrap()).or_insert(0) += 1;
    }
    assert!(dies.is_none());
    assert_eq!(answered.len(), 2, "both were asked: {answered:?}");
}

#[tokio::test]
async fn who_says_unavailable_is_asked_three_times_and_then_left_alone() {
    let (well, ill) = (Instance::start().await, Instance::start().await);
    ill.service.unavailable.store(true, SeqCst);
    let client = to(&[&well, &ill]);
    for _ in 0..40 {
        assert_eq!(ask(&client, None).await, Ok(well.address().to_string()));
    }
    assert_eq!((well.calls(), ill.calls()), (40, 3));
}

#[tokio::test]
async fn who_is_degraded_is_passed_over_by_calls_that_prefer_nobody() {
    let (well, ill) = (Instance::start().await, Instance::start().await);
    ill.service.degraded.store(true, SeqCst);
    let client = to(&[&well, &ill]);
    let mut answered = Vec::new();
    for _ in 0..20 {
        answered.push(ask(&client, None).await.unwrap());
    }
    // In turn until it says so; then for as long as this takes.
    let by_ill = answered.iter().filter(|it| **it == ill.address().to_string()).count();
    assert!((1..5).contains(&by_ill), "{answered:?}");
    let mut preferred = Vec::new();
    for room in 0..20 {
        preferred.push(ask(&client, Some(&format!("room {room}"))).await.unwrap());
    }
    assert!(preferred.contains(&ill.address().to_string()), "{preferred:?}");
    // Where all are degraded, all are asked.
    well.service.degraded.store(true, SeqCst);
    let before = (well.calls(), ill.calls());
    for _ in 0..20 {
        ask(&client, None).await.unwrap();
    }
    assert!(well.calls() - before.0 >= 5 && ill.calls() - before.1 >= 5);
}

#[tokio::test]
async fn retries_are_a_bounded_share_of_the_calls() {
    let (one, two) = (Instance::start().await, Instance::start().await);
    one.service.unavailable.store(true, SeqCst);
    two.service.unavailable.store(true, SeqCst);
    let client = to(&[&one, &two]);
    for _ in 0..1000 {
        assert_eq!(ask(&client, None).await, Err(Code::Unavailable));
    }
    let attempts = one.calls() + two.calls();
    // A fifth of the calls, and ten a second over ten seconds.
    assert!((1200..=1310).contains(&attempts), "{attempts} attempts of 1000 calls");
}

#[tokio::test]
async fn calls_about_one_thing_prefer_one_instance() {
    let mut instances = Vec::new();
    for _ in 0..3 {
        instances.push(Instance::start().await);
    }
    let client = to(&instances.iter().collect::<Vec<_>>());
    let mut homes = BTreeMap::new();
    for room in 0..60 {
        let room = format!("room-{room}");
        let home = ask(&client, Some(&room)).await.unwrap();
        assert_eq!(ask(&client, Some(&room)).await.unwrap(), home);
        homes.insert(room, home);
    }
    for instance in &instances {
        let home = instance.address().to_string();
        let rooms = homes.values().filter(|it| **it == home).count();
        assert!(rooms >= 5, "{rooms} of 60 rooms at one of three");
    }
    let gone = instances.pop().unwrap().address().to_string();
    for (room, home) in &homes {
        let now = ask(&client, Some(room)).await.unwrap();
        assert!(now == *home || *home == gone, "{room} moved from {home} to {now}");
        assert_ne!(now, gone);
    }
}

#[tokio::test]
async fn a_silent_instance_is_left_alone_after_three_calls() {
    let well = Instance::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    // Accepts, as a frozen process's kernel does, and says nothing.
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((socket, _)) = silent.accept().await {
            kept.push(socket);
        }
    });
    let client = client(&[address, format!("http://{}", well.address())]);
    let mut lost = 0;
    for _ in 0..30 {
        match ask(&client, None).await {
            Ok(home) => assert_eq!(home, well.address().to_string()),
            Err(code) => {
                assert_eq!(code, Code::DeadlineExceeded);
                lost += 1;
            }
        }
    }
    assert!((1..=3).contains(&lost), "{lost} calls lost to the silent instance");
}

/// A host that is gone, or a process that stands still, with its connection open.
#[tokio::test]
async fn a_connection_that_falls_silent_costs_no_call_that_waits_as_usual() {
    const USUAL: Duration = Duration::from_secs(10);
    let [one, other] = [Instance::start().await, Instance::start().await];
    let proxy = Proxy::to(one.address()).await;
    let client =
        client(&[format!("http://{}", proxy.address()), format!("http://{}", other.address())]);
    let mut rooms = (0..).map(|room| format!("room-{room}"));
    let room = loop {
        let room = rooms.next().unwrap();
        if ask(&client, Some(&room)).await == Ok(one.address().to_string()) {
            break room;
        }
    };
    proxy.set(Fault::Silent);
    assert_eq!(ask_within(&client, Some(&room), USUAL).await, Ok(other.address().to_string()));
}

#[tokio::test]
async fn who_does_not_wait_for_the_answer_says_nothing_about_the_instance() {
    let [one, other] = [Instance::start().await, Instance::start().await];
    let client = to(&[&one, &other]);
    let preferred = ask(&client, Some("a")).await.unwrap();
    let instance = if preferred == one.address().to_string() { &one } else { &other };
    instance.service.silent.store(true, SeqCst);
    let before = instance.calls();
    for _ in 0..6 {
        let patient = ask_within(&client, Some("a"), Duration::from_secs(60));
        let left = tokio::time::timeout(Duration::from_millis(100), patient).await;
        assert!(left.is_err(), "{left:?}");
    }
    assert_eq!(instance.calls(), before + 6);
    instance.service.silent.store(false, SeqCst);
    assert_eq!(ask(&client, Some("a")).await.unwrap(), preferred);
}

#[tokio::test]
async fn a_name_stands_for_its_addresses() {
    let instance = Instance::start().await;
    let client = client(&[format!("dns:///localhost:{}", instance.address().port())]);
    let answer =
        mingle_testkit::eventually(Duration::from_secs(30), "the name resolved", async || {
            ask(&client, None).await.ok()
        });
    assert_eq!(answer.await, instance.address().to_string());
}
