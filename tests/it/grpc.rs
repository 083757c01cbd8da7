//! The gRPC port as internal services and operators use it.

use std::{future::poll_fn, path::Path, process::Stdio};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body as _;
use mingle_proto::{
    chat::v1::{self as chat, chat_service_client::ChatServiceClient},
    runtime::v1::{DescribeRequest, diagnostics_service_client::DiagnosticsServiceClient},
};
use mingle_testkit::Mingle;
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, body::Body, codegen::Service as _, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{
    v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    v1alpha::{
        self, server_reflection_request::MessageRequest as AlphaRequest,
        server_reflection_response::MessageResponse as AlphaResponse,
    },
};
use tonic_types::StatusExt as _;

/// What a whole process serves; nothing else is listed.
const SERVICES: [&str; 8] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "mingle.cache.v1.CacheService",
    "mingle.chat.v1.ChatService",
    "mingle.matchmaking.v1.MatchmakingService",
    "mingle.presence.v1.PresenceService",
    "mingle.ratelimit.v1.RateLimitService",
    "mingle.runtime.v1.DiagnosticsService",
];

async fn connect(mingle: &Mingle) -> Channel {
    let address = format!("http://{}", mingle.grpc_addr());
    Channel::from_shared(address).unwrap().connect().await.unwrap()
}

async fn reflect(channel: &Channel, request: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let requests = tokio_stream::once(request);
    let mut client = ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap().message_response.unwrap()
}

async fn services(channel: &Channel) -> Vec<String> {
    match reflect(channel, MessageRequest::ListServices(String::new())).await {
        MessageResponse::ListServicesResponse(listed) => {
            let mut names: Vec<_> =
                listed.service.into_iter().map(|service| service.name).collect();
            names.sort();
            names
        }
        other => panic!("{other:?}"),
    }
}

async fn health(channel: &Channel, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel.clone()).check(request).await;
    Ok(answer.map_err(|status| status.code())?.into_inner().status())
}

#[tokio::test]
async fn reflection_lists_what_is_served_and_describes_it() {
    let mingle = Mingle::start().await;
    let channel = connect(&mingle).await;
    assert_eq!(services(&channel).await, SERVICES);
    for service in SERVICES {
        let symbol = MessageRequest::FileContainingSymbol(service.to_owned());
        match reflect(&channel, symbol).await {
            MessageResponse::FileDescriptorResponse(files) => {
                assert!(!files.file_descriptor_proto.is_empty(), "{service}");
            }
            other => panic!("{service}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn reflection_answers_older_tools() {
    let mingle = Mingle::start().await;
    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(connect(&mingle).await);
    let list = AlphaRequest::ListServices(String::new());
    let symbols = SERVICES.map(|service| AlphaRequest::FileContainingSymbol(service.to_owned()));
    let asked = std::iter::once(list).chain(symbols).map(|request| {
        v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(request) }
    });
    let requests = tokio_stream::iter(asked);
    let answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap().message_response).collect().await;
    let is_described =
        |it: &&Option<_>| matches!(it, Some(AlphaResponse::FileDescriptorResponse(_)));
    assert_eq!(answers.iter().filter(is_described).count(), SERVICES.len(), "{answers:?}");
}

/// Clients over gRPC's C core take a failure that ends later for a broken stream.
#[tokio::test]
async fn a_failure_ends_with_its_headers() {
    let mingle = Mingle::start().await;
    let mut channel = connect(&mingle).await;
    // A message of no bytes, behind its prefix of five.
    let message = Bytes::from_static(&[0; 5]);
    for method in ["Get", "Warm"] {
        let path = format!("http://{}/mingle.cache.v1.CacheService/{method}", mingle.grpc_addr());
        let request = http::Request::post(path).header("content-type", "application/grpc");
        let request = request
            .header("te", "trailers")
            .body(Body::new(Full::new(message.clone()).map_err(|never| match never {})));
        poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
        let response = channel.call(request.unwrap()).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "3", "{method}");
        assert!(response.body().is_end_stream(), "{method}");
    }
}

#[tokio::test]
async fn health_answers_for_the_process_and_for_each_service() {
    let mingle = Mingle::start().await;
    let channel = connect(&mingle).await;
    assert_eq!(health(&channel, "").await, Ok(ServingStatus::Serving));
    for service in SERVICES.iter().filter(|service| service.starts_with("mingle.")) {
        assert_eq!(health(&channel, service).await, Ok(ServingStatus::Serving), "{service}");
    }
    for service in ["mingle.nothing.v1.NothingService", "no.such.Service"] {
        assert_eq!(health(&channel, service).await, Err(Code::NotFound), "{service}");
    }
}

#[tokio::test]
async fn a_process_describes_itself() {
    let mingle = Mingle::start().await;
    let mut client = DiagnosticsServiceClient::new(connect(&mingle).await);
    let process = client.describe(DescribeRequest::default()).await.unwrap().into_inner();
    assert!(!process.build.is_empty() && !process.node_id.is_empty());
    let mut roles = process.roles;
    roles.sort();
    assert_eq!(roles, ["cache", "chat", "gateway", "matchmaking", "presence", "ratelimit"]);
    assert!(process.started_at.is_some());
    assert!(process.degraded.is_empty(), "{:?}", process.degraded);
    assert!(
        process.backends.iter().all(|backend| backend.healthy == Some(true)),
        "{:?}",
        process.backends
    );
    let database = process.backends.iter().find(|backend| backend.name == "database").unwrap();
    assert_eq!(database.kind, "sqlite");
    assert!(Path::new(&database.detail).starts_with(mingle.data_dir()), "{database:?}");
}

#[tokio::test]
async fn a_bad_request_names_reason_and_field() {
    let mingle = Mingle::start().await;
    let mut client = ChatServiceClient::new(connect(&mingle).await);
    let room = chat::CreateRoomRequest {
        actor: "ann".to_owned(),
        kind: chat::RoomKind::Channel.into(),
        ..Default::default()
    };
    let made = client.create_room(room).await.unwrap().into_inner().room.unwrap();
    let good = chat::SendRequest {
        actor: "ann".to_owned(),
        room_id: made.room_id,
        client_msg_id: "m1".to_owned(),
        body: "hello".to_owned(),
        ..Default::default()
    };
    client.send(good.clone()).await.unwrap();
    let long = "x".repeat(8 * 1024 + 1);
    let missing = "00000000-0000-7000-8000-000000000000".to_owned();
    let invalid = Code::InvalidArgument;
    for (request, code, reason, field) in [
        (chat::SendRequest { body: String::new(), ..good.clone() }, invalid, "REQUIRED", "body"),
        (chat::SendRequest { body: long, ..good.clone() }, invalid, "TOO_LONG", "body"),
        (chat::SendRequest { actor: String::new(), ..good.clone() }, invalid, "REQUIRED", "actor"),
        (
            chat::SendRequest { client_msg_id: "x".repeat(65), ..good.clone() },
            invalid,
            "TOO_LONG",
            "client_msg_id",
        ),
        (
            chat::SendRequest { body: "other".to_owned(), ..good.clone() },
            Code::AlreadyExists,
            "KEY_REUSED",
            "client_msg_id",
        ),
        (
            chat::SendRequest { room_id: missing, ..good.clone() },
            Code::NotFound,
            "ROOM_NOT_FOUND",
            "room_id",
        ),
    ] {
        let status = client.send(request).await.unwrap_err();
        let info = status.get_details_error_info().unwrap();
        assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{status}");
        assert_eq!(info.domain, "mingle");
        let named =
            status.get_details_bad_request().map(|bad| bad.field_violations[0].field.clone());
        assert_eq!(named.unwrap_or_default(), field, "{status}");
    }
}

#[tokio::test]
async fn with_an_internal_token_only_health_and_reflection_are_open() {
    let token = "a token of internal services";
    let mingle = Mingle::builder().env("MINGLE_INTERNAL_TOKEN", token).start().await;
    let channel = connect(&mingle).await;
    assert_eq!(health(&channel, "").await, Ok(ServingStatus::Serving));
    assert_eq!(services(&channel).await, SERVICES);

    let mut client = DiagnosticsServiceClient::new(channel);
    let describe = |authorization: &str| {
        let mut request = Request::new(DescribeRequest::default());
        if !authorization.is_empty() {
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        }
        request
    };
    for wrong in ["", "Bearer", "Bearer ", "Bearer a token", token] {
        let status = client.describe(describe(wrong)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{wrong}: {status}");
        assert_eq!(status.get_details_error_info().unwrap().reason, "TOKEN_INVALID");
    }
    client.describe(describe(&format!("Bearer {token}"))).await.unwrap();
}

/// What the README tells an operator to type works, word for word but for the
/// port.
#[tokio::test]
async fn the_call_in_the_readme_runs_as_written() {
    let root = Path::new(".").canonicalize().unwrap();
    let root = root.parent().unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let calls: Vec<_> = blocks.filter(|block| block.starts_with("buf curl")).collect();
    assert_eq!(calls.len(), 1, "the README has one buf curl call");
    let tools = root.join("tests/browser/node_modules/.bin");
    assert!(tools.join("buf").exists(), "npm ci --prefix tests/browser installs buf");

    let mingle = Mingle::start().await;
    assert!(calls[0].contains("127.0.0.1:50051"), "{}", calls[0]);
    let call = calls[0].replace("127.0.0.1:50051", &mingle.grpc_addr().to_string());
    let output = tokio::process::Command::new("sh")
        .args(["-c", &format!("PATH=\"$0:$PATH\"\n{call}")])
        .arg(&tools)
        .current_dir(mingle.data_dir())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["created"], true, "{answer}");
    assert_eq!(answer["room"]["kind"], "ROOM_KIND_CHANNEL");
}
