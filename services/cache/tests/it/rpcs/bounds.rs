//! Requests that are wrong, each by its field and its reason.

use mingle_proto::cache::v1::{
    DeleteManyRequest, Entry, FillRequest, GetManyRequest, GetRequest, SetManyRequest, SetRequest,
    TagLink,
};
use mingle_runtime::status::{Described, Kind};
use tonic::{Code, Status};

use super::stage::{alone, entry, get, tagged};

fn assert_told(refused: Status, reason: &str, field: &str) {
    let told = Described::from(&refused);
    assert_eq!((told.kind, &*told.reason, &*told.field), (Kind::Invalid, reason, field));
}

#[tokio::test]
async fn each_wrong_field_of_a_get_is_named() {
    let mut client = alone().await.client;
    let long = |n: usize| "x".repeat(n);
    let of = |change: &dyn Fn(&mut GetRequest)| {
        let mut request = get("plain", "a");
        change(&mut request);
        request
    };
    let tags = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>();
    let link = |tag: &str, carries: &[&str]| TagLink {
        tag: tag.into(),
        carries: carries.iter().map(|&it| it.into()).collect(),
    };
    for (request, reason, field) in [
        (get("", "a"), "REQUIRED", "namespace"),
        (get("unknown", "a"), "UNKNOWN_NAMESPACE", "namespace"),
        (get("plain", ""), "REQUIRED", "key"),
        (get("plain", &long(513)), "TOO_LONG", "key"),
        (get("plain", &long(2_048)), "TOO_LONG", "key"),
        (get("plain", "a\u{0}b"), "MALFORMED", "key"),
        (get("plain", "a\nb"), "MALFORMED", "key"),
        (of(&|it| it.tags = tags(65)), "TOO_LONG", "tags"),
        (of(&|it| it.tags = vec![long(129)]), "TOO_LONG", "tags[0]"),
        (of(&|it| it.tags = vec!["a".into(), String::new()]), "REQUIRED", "tags[1]"),
        (of(&|it| it.links = vec![link("a", &[])]), "REQUIRED", "links[0].carries"),
        (of(&|it| it.links = vec![link("", &["b"])]), "REQUIRED", "links[0].tag"),
        (
            of(&|it| {
                it.tags = vec!["a".into()];
                it.links = vec![link("a", &["b"]), link("b", &["c"]), link("c", &["a"])];
            }),
            "MALFORMED",
            "links",
        ),
        (
            of(&|it| {
                it.tags = tags(64);
                it.links = vec![link("1", &["one more"])];
            }),
            "TOO_LONG",
            "tags",
        ),
        (of(&|it| it.wait_ms = 30_001), "TOO_LONG", "wait_ms"),
        (of(&|it| it.mode = 7), "MALFORMED", "mode"),
    ] {
        assert_told(client.get(request).await.unwrap_err(), reason, field);
    }
    let fits = of(&|it| {
        it.key = long(512);
        it.tags = tags(64);
    });
    assert!(client.get(fits).await.is_ok());
}

#[tokio::test]
async fn each_wrong_field_of_an_entry_is_named() {
    let one = alone().await;
    let mut client = one.client.clone();
    let of = |change: &dyn Fn(&mut Entry)| {
        let mut entry = entry("a", "1");
        change(&mut entry);
        entry
    };
    let year_ms = 366 * 86_400_000_u64;
    for (entry, reason, field) in [
        (of(&|it| it.key.clear()), "REQUIRED", "entry.key"),
        (of(&|it| it.value = None), "REQUIRED", "entry.value"),
        (of(&|it| it.value.as_mut().unwrap().absent = true), "MALFORMED", "entry.value.data"),
        (
            of(&|it| it.value.as_mut().unwrap().data = vec![0; 1024 * 1024 + 1]),
            "TOO_LONG",
            "entry.value.data",
        ),
        (
            of(&|it| it.value.as_mut().unwrap().data = vec![0; 2 * 1024 * 1024]),
            "TOO_LONG",
            "entry.value.data",
        ),
        (
            of(&|it| it.value.as_mut().unwrap().content_type = "x".repeat(129)),
            "TOO_LONG",
            "entry.value.content_type",
        ),
        (of(&|it| it.soft_ttl_ms = Some(0)), "MALFORMED", "entry.soft_ttl_ms"),
        (of(&|it| it.hard_ttl_ms = Some(0)), "MALFORMED", "entry.hard_ttl_ms"),
        (of(&|it| it.hard_ttl_ms = Some(100 * year_ms)), "TOO_LONG", "entry.hard_ttl_ms"),
        (of(&|it| it.soft_ttl_ms = Some(u64::MAX)), "TOO_LONG", "entry.soft_ttl_ms"),
        (
            of(&|it| (it.soft_ttl_ms, it.hard_ttl_ms) = (Some(3_000), Some(2_000))),
            "TOO_LONG",
            "entry.soft_ttl_ms",
        ),
        (of(&|it| it.tags = vec![String::new()]), "REQUIRED", "entry.tags[0]"),
        (of(&|it| it.links = vec![TagLink::default()]), "REQUIRED", "entry.links[0].carries"),
    ] {
        let request =
            SetRequest { namespace: "plain".into(), entry: Some(entry), ..SetRequest::default() };
        assert_told(client.set(request).await.unwrap_err(), reason, field);
    }
    let nothing = SetRequest { namespace: "plain".into(), ..SetRequest::default() };
    assert_told(client.set(nothing).await.unwrap_err(), "REQUIRED", "entry");
    let unnamed = SetRequest {
        namespace: "plain".into(),
        entry: Some(entry("a", "1")),
        if_version: Some(0),
        ..SetRequest::default()
    };
    assert_told(client.set(unnamed).await.unwrap_err(), "REQUIRED", "request_id");
}

#[tokio::test]
async fn too_many_and_twice_are_named() {
    let mut client = alone().await.client;
    let keys = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>();
    let twice = [keys(3), vec!["1".into()]].concat();
    for (keys, reason, field) in [
        (Vec::new(), "REQUIRED", "keys"),
        (keys(1_001), "TOO_LONG", "keys"),
        (twice, "MALFORMED", "keys[3]"),
        (vec!["a".into(), String::new()], "REQUIRED", "keys[1]"),
    ] {
        let namespace = "plain".to_owned();
        let get = GetManyRequest {
            namespace: namespace.clone(),
            keys: keys.clone(),
            ..GetManyRequest::default()
        };
        assert_told(client.get_many(get).await.unwrap_err(), reason, field);
        let delete = DeleteManyRequest { namespace, keys };
        assert_told(client.delete_many(delete).await.unwrap_err(), reason, field);
    }
    let most = GetManyRequest {
        namespace: "plain".into(),
        keys: keys(1_000),
        without_lease: true,
        ..GetManyRequest::default()
    };
    assert_eq!(client.get_many(most).await.unwrap().into_inner().results.len(), 1_000);
}

#[tokio::test]
async fn a_lease_is_of_its_key() {
    let one = alone().await;
    let mut client = one.client.clone();
    let lease = one.get(get("plain", "a")).await.lease.unwrap().token;
    let fill = |key: &str, lease: &str| FillRequest {
        namespace: "plain".into(),
        entry: Some(tagged(key, "1", &[])),
        lease: lease.into(),
        load_failed: false,
    };
    for (request, reason) in [
        (fill("b", &lease), "MALFORMED"),
        (fill("a", ""), "REQUIRED"),
        (fill("a", "lease"), "MALFORMED"),
        (fill("a", &"é".repeat(20)), "MALFORMED"),
        (FillRequest { namespace: "short".into(), ..fill("a", &lease) }, "MALFORMED"),
    ] {
        assert_told(client.fill(request).await.unwrap_err(), reason, "lease");
    }
    let failed = FillRequest { load_failed: true, ..fill("a", &lease) };
    assert_told(client.fill(failed).await.unwrap_err(), "MALFORMED", "entry.value");
    assert!(client.fill(fill("a", &lease)).await.is_ok());
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused_by_the_transport() {
    let mut client = alone().await.client;
    let entries = (0..5).map(|n| entry(&n.to_string(), &"x".repeat(900_000))).collect();
    let request = SetManyRequest { namespace: "plain".into(), entries };
    assert_eq!(client.set_many(request).await.unwrap_err().code(), Code::OutOfRange);
}
