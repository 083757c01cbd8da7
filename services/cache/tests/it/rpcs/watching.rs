//! Watch: what changes, for who keeps values of their own.

use mingle_proto::cache::v1::{
    Namespaces, WatchRequest, WatchResponse, watch_request::Action, watch_response::Event,
};
use mingle_runtime::status::Described;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::stage::{Instance, entry, several};
use crate::world::SOON;

async fn watch(
    one: &Instance,
    names: &[&str],
) -> (mpsc::Sender<WatchRequest>, Streaming<WatchResponse>) {
    let (requests, receiver) = mpsc::channel(4);
    let namespaces = names.iter().map(|&name| name.into()).collect();
    let add = WatchRequest { action: Some(Action::Add(Namespaces { namespaces })) };
    requests.send(add).await.unwrap();
    let stream = one.client.clone().watch(ReceiverStream::new(receiver)).await.unwrap();
    (requests, stream.into_inner())
}

async fn next(stream: &mut Streaming<WatchResponse>) -> WatchResponse {
    timeout(SOON, stream.message()).await.unwrap().unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_in_their_order() {
    let (instances, _server) = several(2).await;
    let (_requests, mut stream) = watch(&instances[1], &["plain"]).await;
    let opened = next(&mut stream).await;
    assert!(opened.namespace == "plain" && matches!(opened.event, Some(Event::Opened(_))));
    let one = &instances[0];
    one.set_in("short", entry("foreign", "1")).await;
    one.set(entry("a", "1")).await;
    one.delete("b").await;
    one.invalidate("x").await;
    one.clear("plain").await;
    let mut told = Vec::new();
    while told.len() < 4 {
        let response = next(&mut stream).await;
        assert_eq!(response.namespace, "plain");
        // A bus that begins to listen may have missed something.
        told.extend(match response.event.unwrap() {
            Event::Changed(keys) => Some(keys.keys.concat()),
            Event::InvalidatedTag(tag) => Some(tag),
            Event::Cleared(_) => Some("all".to_owned()),
            Event::Gap(_) => None,
            Event::Opened(_) => panic!("it was opened already"),
        });
    }
    assert_eq!(told, ["a", "b", "x", "all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_missed_is_a_gap() {
    let (instances, server) = several(1).await;
    let (_requests, mut stream) = watch(&instances[0], &["plain", "short"]).await;
    server.kill();
    server.restart().await;
    let mut gaps = std::collections::HashSet::new();
    while gaps.len() < 2 {
        let response = next(&mut stream).await;
        if let Some(Event::Gap(_)) = response.event {
            gaps.insert(response.namespace);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_the_unknown_is_told() {
    let (instances, _server) = several(1).await;
    let (_requests, mut stream) = watch(&instances[0], &["plain", "unknown"]).await;
    let refused = timeout(SOON, stream.message()).await.unwrap().unwrap_err();
    let told = Described::from(&refused);
    assert_eq!((&*told.reason, &*told.field), ("UNKNOWN_NAMESPACE", "add.namespaces[1]"));
}
