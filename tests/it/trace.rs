//! One message, one trace: over two gateways and two chat processes, as a
//! collector that is not ours received it.
//!
//! Without the traceparent in what chat announces (`Board::put_up`), or only in
//! what of it crosses the bus, this fails: a delivery is missing in the trace.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use mingle_client::ws::{
    Client, Encoding,
    proto::{ClientFrame, Message, PresenceWatch, Sent, client_frame, server_frame::Kind},
};
use mingle_testkit::{Collector, Deployment, Mingle, Span, eventually};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    http,
    world::{SECRET, SOON, greet, token},
};

/// Rooms until each of the two chat processes took a message; each room prefers
/// one of them.
const ROOMS: usize = 40;
/// Nobody's business but theirs who are in the room.
const BODY: &str = "between you and me 7d41f0";
const SERVICE: &str = "service.name";
const INSTANCE: &str = "service.instance.id";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_is_one_trace_from_the_senders_frame_to_both_gateways() {
    let collector = Collector::start().await;
    let mut deployment = Deployment::plan()
        .env("MINGLE_JWT_SECRET", SECRET)
        .env("MINGLE_SESSION_SECRET", SECRET)
        .env("MINGLE_PROCESS__LOG", "debug")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        // A charge that is late is not one that is traced.
        .env("MINGLE_PEERS__RATELIMIT_DEADLINE_MS", "1000")
        .start()
        .await;
    let gateways = deployment.gateways();
    let urls: Vec<_> = gateways.iter().map(|at| format!("ws://{at}/ws")).collect();
    let mut ann = greet(&urls[0], "ann", Encoding::Json, None).await.unwrap();
    let mut bob = greet(&urls[1], "bob", Encoding::Proto, None).await.unwrap();

    // Each gateway follows its rooms at one chat process: by the end a message
    // was taken by the other one and crossed the bus.
    let mut takers = BTreeSet::new();
    for number in 0..ROOMS {
        let sent = say(gateways[0], &mut ann, &mut bob, number).await;
        takers.insert(assert_trace(&collector, &sent.trace_id).await);
        if takers.len() == 2 {
            break;
        }
    }
    assert_eq!(takers.len(), 2, "both chat processes took messages");
    assert_http(&collector).await;
    assert_continued(&collector, &urls[0]).await;
    assert_private(&collector, &deployment);
    deployment.kill9("chat", 0);
    deployment.kill9("chat", 1);
    assert_failure(&collector, gateways[0]).await;
}

/// In a room of its own Ann says something that both hear.
async fn say(gateway: SocketAddr, ann: &mut Client, bob: &mut Client, number: usize) -> Sent {
    let body = json!({"kind": "CHANNEL", "name": format!("room {number}")});
    let made = http::post(gateway, "/api/rooms", &token("ann"), &body).await.ok();
    let room = made["roomId"].as_str().unwrap();
    ann.room_join(room, None).await.unwrap();
    bob.room_join(room, None).await.unwrap();
    let sent = ann.send(room, "k", BODY).await.unwrap();
    for listener in [ann, bob] {
        assert_eq!(hear(listener).await.trace_id, sent.trace_id);
    }
    sent
}

async fn hear(client: &mut Client) -> Message {
    let message = client.event_where(|event| match event {
        Kind::Message(message) => Some(message.clone()),
        _ => None,
    });
    tokio::time::timeout(SOON, message).await.expect("a message in time").unwrap()
}

/// The way of one message is whole; returns which chat process took it.
async fn assert_trace(collector: &Collector, trace: &str) -> String {
    assert_eq!(trace.len(), 32, "{trace:?}");
    let what = "the collector to have frame, charge, call, append, commit and two deliveries";
    let (spans, commit, all) = eventually(SOON, what, async || {
        let all = collector.spans();
        let spans: Vec<_> = all.iter().filter(|span| span.trace == trace).cloned().collect();
        let append = spans.iter().find(|span| span.name == "chat.append")?;
        let (_, commit) = append.links.first()?;
        let commit = all.iter().find(|span| span.id == *commit)?.clone();
        let delivered = spans.iter().filter(|span| span.name == "chat.deliver").count();
        let charged =
            spans.iter().find(|it| it.name == "ratelimit.Check" && it.kind == "SERVER")?;
        let whole = delivered >= 2
            && spans.iter().any(|span| span.name == "send")
            && spans.iter().any(|span| span.parent == charged.id);
        whole.then_some((spans, commit, all))
    })
    .await;
    let frame = one(&spans, "send", "INTERNAL");
    let call = one(&spans, "chat.Send", "CLIENT");
    let served = one(&spans, "chat.Send", "SERVER");
    let append = one(&spans, "chat.append", "INTERNAL");
    assert_eq!(frame.parent, "", "the frame is where it begins: {frame:#?}");
    assert_child(call, frame);
    assert_child(served, call);
    assert_child(append, served);
    assert_eq!(served.attributes["rpc.grpc.status_code"], "0");
    assert_eq!(served.attributes["rpc.service"], "mingle.chat.v1.ChatService");

    // What the call cost elsewhere: a script of the limiter, statements of the log.
    let charged = one(&spans, "ratelimit.Check", "SERVER");
    let scripts = spans.iter().filter(|span| span.name.starts_with("redis.script "));
    let scripts: Vec<_> = scripts.collect();
    assert!(scripts.iter().any(|script| script.parent == charged.id), "{scripts:#?}");
    let in_commit = all.iter().filter(|span| span.parent == commit.id);
    let in_commit: BTreeSet<_> = in_commit.map(|span| span.name.as_str()).collect();
    for statement in ["sql begin", "sql chat.rooms", "sql chat.put", "sql commit"] {
        assert!(in_commit.contains(statement), "{statement} in {in_commit:?}");
    }

    // The commit is shared with other messages: it is of no trace of theirs.
    assert_eq!(append.links, [(commit.trace.clone(), commit.id.clone())]);
    assert_eq!((commit.name.as_str(), commit.parent.as_str()), ("chat.commit", ""));
    assert_ne!(commit.trace, trace);
    assert_eq!(commit.resource[INSTANCE], served.resource[INSTANCE]);

    let deliveries: Vec<_> = spans.iter().filter(|span| span.name == "chat.deliver").collect();
    assert_eq!(deliveries.len(), 2, "one on each gateway: {deliveries:#?}");
    for delivery in &deliveries {
        assert_child(delivery, served);
        assert_eq!((delivery.kind.as_str(), of(delivery)), ("CONSUMER", "mingle-gateway"));
    }
    let told: BTreeSet<_> = deliveries.iter().map(|span| span.resource[INSTANCE].clone()).collect();
    assert!(told.len() == 2 && told.contains(&frame.resource[INSTANCE]), "{told:?}");
    assert_eq!((of(frame), of(call)), ("mingle-gateway", "mingle-gateway"));
    assert_eq!((of(served), of(append)), ("mingle-chat", "mingle-chat"));
    served.resource[INSTANCE].clone()
}

/// A frame that names a trace is a part of it.
async fn assert_continued(collector: &Collector, url: &str) {
    let (trace, caller) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let mut ann = greet(url, "ann", Encoding::Json, None).await.unwrap();
    let kind = Some(client_frame::Kind::PresenceWatch(PresenceWatch::default()));
    let traceparent = format!("00-{trace}-{caller}-01");
    ann.socket().send_frame(&ClientFrame { id: 99, kind, traceparent }).await.unwrap();
    let frame = eventually(SOON, "the frame to be exported", async || {
        collector.spans().into_iter().find(|span| span.trace == trace && span.parent == caller)
    })
    .await;
    assert_eq!((frame.name.as_str(), of(&frame)), ("presenceWatch", "mingle-gateway"));
}

/// What people say is neither logged nor exported, however much is.
fn assert_private(collector: &Collector, deployment: &Deployment) {
    let logs: Vec<_> = deployment.running().map(|(role, process)| (role, process.log())).collect();
    assert!(logs.iter().any(|(_, log)| log.contains("DEBUG")), "so much is logged");
    for (what, text) in logs.into_iter().chain([("collector", collector.text())]) {
        let line = text.lines().find(|line| line.contains(BODY));
        assert_eq!(line, None, "{what}");
    }
}

/// A request over HTTP is the root of its call.
async fn assert_http(collector: &Collector) {
    let (root, call) = eventually(SOON, "the request for the room to be exported", async || {
        let spans = collector.spans();
        let root = spans.iter().find(|span| span.name == "POST /api/rooms")?;
        let mut calls = spans.iter().filter(|span| span.name == "chat.CreateRoom");
        let call = calls.find(|span| span.kind == "CLIENT")?;
        Some((root.clone(), call.clone()))
    })
    .await;
    assert_child(&call, &root);
    assert_eq!((root.kind.as_str(), of(&root)), ("SERVER", "mingle-gateway"));
    assert_eq!(root.attributes["http.response.status_code"], "200");
}

/// A call that fails is an error in the trace that the caller began.
async fn assert_failure(collector: &Collector, gateway: SocketAddr) {
    let (trace, caller) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let token = token("ann");
    let request = format!(
        "GET /api/rooms HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\ntraceparent: 00-{trace}-{caller}-01\r\n\r\n"
    );
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");

    let spans = eventually(SOON, "request and call to be exported", async || {
        let spans = collector.spans().into_iter().filter(|span| span.trace == trace);
        let spans: Vec<_> = spans.collect();
        spans.iter().any(|span| span.name == "GET /api/rooms").then_some(spans)
    })
    .await;
    let root = one(&spans, "GET /api/rooms", "SERVER");
    assert_eq!(root.parent, caller);
    assert_eq!(root.attributes["http.response.status_code"], "503");
    let call = one(&spans, "chat.ListRooms", "CLIENT");
    assert_child(call, root);
    assert_eq!((call.status.as_str(), &*call.attributes["rpc.grpc.status_code"]), ("ERROR", "14"));
}

fn of(span: &Span) -> &str {
    &span.resource[SERVICE]
}

#[track_caller]
fn one<'a>(spans: &'a [Span], name: &str, kind: &str) -> &'a Span {
    let found: Vec<_> =
        spans.iter().filter(|span| span.name == name && span.kind == kind).collect();
    assert_eq!(found.len(), 1, "{name} {kind} in {spans:#?}");
    found[0]
}

#[track_caller]
fn assert_child(child: &Span, parent: &Span) {
    assert_eq!(child.trace, parent.trace, "{child:#?} {parent:#?}");
    assert_eq!(child.parent, parent.id, "{child:#?} {parent:#?}");
}

/// The last spans leave although the next batch is far away.
#[tokio::test]
async fn spans_leave_before_the_process_does() {
    let collector = Collector::start().await;
    let mut mingle = Mingle::builder()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        .start()
        .await;
    http::post(mingle.http_addr(), "/api/dev/token", "", &json!({"userId": "ann"})).await.ok();
    assert_eq!(mingle.sigterm(SOON).await.code(), Some(0));
    let root = eventually(Duration::from_secs(20), "the collector to have it", async || {
        collector.spans().into_iter().find(|span| span.name == "POST /api/dev/token")
    })
    .await;
    assert_eq!(of(&root), "mingle");
    assert_eq!(root.resource["deployment.environment.name"], "test");
    assert!(root.resource[INSTANCE].starts_with("mingle-"), "{root:?}");
}

#[tokio::test]
async fn what_cannot_be_exported_to_is_named_at_the_start() {
    for (variable, value, why) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "http://"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf", "grpc"),
    ] {
        let finished = Mingle::builder()
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
            .env(variable, value)
            .run_to_end(SOON)
            .await;
        assert!(!finished.status.success(), "{}", finished.log);
        let line = finished.log.lines().find(|line| line.contains(variable));
        assert!(line.is_some_and(|line| line.contains(why)), "{}", finished.log);
    }
}
