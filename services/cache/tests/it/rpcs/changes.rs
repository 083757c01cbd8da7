//! What is replaced, deleted and voided.

use mingle_proto::cache::v1::{
    Applied, DeleteManyRequest, Entry, FillOutcome, GetManyRequest, GetRequest, Outcome,
    SetManyRequest, SetOutcome, SetRequest, TagLink, TouchRequest, Value, WarmRequest,
};
use mingle_testkit::eventually;

use super::stage::{Instance, alone, entry, get, several, tagged, text};
use crate::world::SOON;

macro_rules! both {
    ($($body:ident),* $(,)?) => {
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $body() {
                let one = super::alone().await;
                super::$body(one.clone(), one).await;
            })*
        }

        mod by_two_processes {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $body() {
                let (instances, _server) = super::several(2).await;
                super::$body(instances[0].clone(), instances[1].clone()).await;
            })*
        }
    };
}

both!(
    what_is_acknowledged_is_read_through,
    a_change_reaches_the_memory_of_others,
    a_tag_voids_what_carries_it,
    tags_carry_tags,
    invalidated_between_load_and_fill,
    a_namespace_is_cleared,
    in_place_of_a_version,
    absence,
    many_at_once,
    warmed_where_nothing_is,
    touched,
);

async fn what_is_acknowledged_is_read_through(one: Instance, other: Instance) {
    for n in 0..100 {
        let text = n.to_string();
        assert_eq!(one.set(entry("a", &text)).await.outcome(), SetOutcome::Stored);
        assert_eq!(other.read_through("a").await, (Outcome::Hit, text));
        assert_eq!(other.delete("a").await, Applied::Done);
        assert_eq!(one.read_through("a").await.0, Outcome::Miss);
    }
}

async fn a_change_reaches_the_memory_of_others(one: Instance, other: Instance) {
    one.set(entry("a", "0")).await;
    for n in 1..30 {
        eventually(SOON, "it is read", async || {
            other.read("a").await == (Outcome::Hit, (n - 1).to_string())
        })
        .await;
        one.set(entry("a", &n.to_string())).await;
    }
    one.delete("a").await;
    eventually(SOON, "it is gone", async || other.read("a").await.0 == Outcome::Miss).await;
}

async fn a_tag_voids_what_carries_it(one: Instance, other: Instance) {
    one.set(tagged("a", "1", &["x", "y"])).await;
    one.set(tagged("b", "1", &["y"])).await;
    one.set(entry("c", "1")).await;
    for key in ["a", "b", "c"] {
        assert_eq!(other.read(key).await.0, Outcome::Hit);
    }
    assert_eq!(one.invalidate("x").await, Applied::Done);
    assert_eq!(other.read_through("a").await.0, Outcome::Miss);
    assert_eq!(other.read_through("b").await.0, Outcome::Hit);
    one.invalidate("y").await;
    assert_eq!(other.read_through("b").await.0, Outcome::Miss);
    assert_eq!(other.read_through("c").await.0, Outcome::Hit);
    eventually(SOON, "memory", async || other.read("b").await.0 == Outcome::Miss).await;
    one.set(tagged("a", "2", &["x", "y"])).await;
    assert_eq!(other.read_through("a").await, (Outcome::Hit, "2".to_owned()));
    let load = other.get(get("plain", "b")).await;
    assert_eq!(load.outcome(), Outcome::MissLoad, "what is void is loaded");
}

async fn tags_carry_tags(one: Instance, other: Instance) {
    let link =
        |tag: &str, carries: &str| TagLink { tag: tag.into(), carries: vec![carries.into()] };
    let links = vec![link("asset:9", "creator:1"), link("creator:1", "project:3")];
    for (tag, is_void) in
        [("asset:9", true), ("creator:1", true), ("project:3", true), ("other", false)]
    {
        let entry = Entry { links: links.clone(), ..tagged("a", "1", &["asset:9"]) };
        one.set(entry).await;
        one.invalidate(tag).await;
        let expected = if is_void { Outcome::Miss } else { Outcome::Hit };
        assert_eq!(other.read_through("a").await.0, expected, "{tag}");
    }
}

async fn invalidated_between_load_and_fill(one: Instance, other: Instance) {
    let leased = || GetRequest { tags: vec!["x".into()], ..get("plain", "a") };
    let load = one.get(leased()).await;
    other.invalidate("x").await;
    assert_eq!(one.fill("plain", tagged("a", "old", &["x"]), &load).await, FillOutcome::Rejected);
    assert_eq!(other.read_through("a").await.0, Outcome::Miss);
    let load = one.get(leased()).await;
    other.clear("plain").await;
    assert_eq!(one.fill("plain", tagged("a", "old", &["x"]), &load).await, FillOutcome::Rejected);
    let load = one.get(leased()).await;
    let more = tagged("a", "x", &["x", "uncaptured"]);
    assert_eq!(one.fill("plain", more, &load).await, FillOutcome::Rejected);
    let stats = one.stats("plain").await;
    let counted = (stats.rejected_fills, stats.stored_bytes, stats.kept_bytes);
    assert_eq!(counted, (3, 0, 0), "what is refused is not kept");
    let load = one.get(leased()).await;
    assert_eq!(other.fill("plain", tagged("a", "new", &["x"]), &load).await, FillOutcome::Stored);
    assert_eq!(one.read_through("a").await, (Outcome::Hit, "new".to_owned()));
}

async fn a_namespace_is_cleared(one: Instance, other: Instance) {
    for n in 0..20 {
        one.set(entry(&n.to_string(), "1")).await;
        one.set_in("short", entry(&n.to_string(), "1")).await;
    }
    assert_eq!(other.clear("plain").await, Applied::Done);
    for n in 0..20 {
        assert_eq!(one.read_through(&n.to_string()).await.0, Outcome::Miss);
        assert_eq!(one.get(get("short", &n.to_string())).await.outcome(), Outcome::Hit);
    }
    assert_eq!(other.clear("").await, Applied::Done);
    let read = GetRequest { mode: 1, without_lease: true, ..get("short", "1") };
    assert_eq!(one.get(read).await.outcome(), Outcome::Miss);
}

async fn in_place_of_a_version(one: Instance, other: Instance) {
    let set = async |text: &str, of, id: &str| {
        let request = SetRequest {
            namespace: "plain".into(),
            entry: Some(tagged("a", text, &["x"])),
            if_version: Some(of),
            request_id: id.into(),
        };
        let set = one.client.clone().set(request).await.unwrap().into_inner();
        (set.outcome(), set.version)
    };
    let (stored, first) = set("1", 0, "first").await;
    assert_eq!(stored, SetOutcome::Stored);
    assert_eq!(set("1", 0, "first").await, (SetOutcome::Stored, first), "the same attempt again");
    assert_eq!(set("x", 0, "other").await, (SetOutcome::Conflict, 0));
    assert_eq!(set("x", 0, "first").await, (SetOutcome::Conflict, 0), "other content");
    let read = other.get(GetRequest { mode: 1, ..get("plain", "a") }).await;
    assert_eq!((text(&read), read.version), ("1", first));
    let (_, second) = set("2", first, "second").await;
    assert_eq!(set("x", first, "late").await, (SetOutcome::Conflict, 0));
    other.invalidate("x").await;
    assert_eq!(set("x", second, "third").await, (SetOutcome::Conflict, 0), "it is void");
    assert_eq!(set("3", 0, "fourth").await.0, SetOutcome::Stored, "what is void is nothing");
    assert_eq!(other.read_through("a").await.1, "3");
    let stats = one.stats("plain").await;
    // The same attempt again is what is there already, and stored once more.
    assert_eq!(stats.stored_bytes, 4, "what is refused is not stored");
}

async fn absence(one: Instance, other: Instance) {
    let absent = |key: &str| {
        let value = Value { absent: true, ..Value::default() };
        Entry { value: Some(value), ..entry(key, "") }
    };
    let load = one.get(get("absent", "a")).await;
    assert_eq!(one.fill("absent", absent("a"), &load).await, FillOutcome::Stored);
    let read = other.get(get("absent", "a")).await;
    assert!(read.outcome() == Outcome::Hit && read.value.unwrap().absent);
    one.set(entry("a", "1")).await;
    one.delete("a").await;
    let load = one.get(get("plain", "a")).await;
    assert_eq!(one.fill("plain", absent("a"), &load).await, FillOutcome::Ended, "not kept here");
    assert_eq!(other.get(get("plain", "a")).await.outcome(), Outcome::MissLoad);
}

async fn many_at_once(mut one: Instance, mut other: Instance) {
    let keys: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    let entries = keys.iter().map(|key| tagged(key, key, &["all"])).collect();
    let set = SetManyRequest { namespace: "plain".into(), entries };
    assert!(!one.client.set_many(set).await.unwrap().into_inner().degraded);
    let asked = [&keys[..], &["none".to_owned()]].concat();
    let request = GetManyRequest { namespace: "plain".into(), keys: asked, ..Default::default() };
    for _ in 0..2 {
        let read = other.client.get_many(request.clone()).await.unwrap().into_inner().results;
        assert_eq!(read.len(), 501);
        for (read, key) in read.iter().zip(&keys) {
            assert_eq!((read.outcome(), text(read)), (Outcome::Hit, &**key));
        }
    }
    let request = DeleteManyRequest { namespace: "plain".into(), keys: keys.clone() };
    let deleted = one.client.delete_many(request).await.unwrap().into_inner();
    assert_eq!(deleted.applied(), Applied::Done);
    assert_eq!(other.read_through("7").await.0, Outcome::Miss);
    let large = "x".repeat(300_000);
    for n in 0..5 {
        one.set(entry(&n.to_string(), &large)).await;
    }
    let keys = (0..5).map(|n| n.to_string()).collect();
    let request = GetManyRequest { namespace: "plain".into(), keys, ..Default::default() };
    let read = other.client.get_many(request).await.unwrap().into_inner().results;
    let outcomes: Vec<_> = read.iter().map(|read| read.outcome()).collect();
    let (hit, deferred) = (Outcome::Hit, Outcome::Deferred);
    assert_eq!(outcomes, [hit, hit, hit, deferred, deferred]);
}

async fn warmed_where_nothing_is(mut one: Instance, other: Instance) {
    one.set(entry("1", "newer")).await;
    one.set(tagged("2", "void", &["x"])).await;
    one.invalidate("x").await;
    let warm = |n: usize| {
        let (namespace, entry) = ("plain".to_owned(), Some(entry(&n.to_string(), "warm")));
        WarmRequest { namespace, entry }
    };
    let stream = futures::stream::iter((0..700).map(warm));
    let told = one.client.warm(stream).await.unwrap().into_inner();
    assert_eq!((told.stored, told.kept), (699, 1));
    assert_eq!(other.read_through("1").await.1, "newer");
    for key in ["0", "2", "699"] {
        assert_eq!(other.read_through(key).await.1, "warm");
    }
}

async fn touched(mut one: Instance, other: Instance) {
    let touch = |key: &str| TouchRequest { namespace: "brief".into(), key: key.into() };
    one.set_in("brief", entry("a", "1")).await;
    eventually(SOON, "it is stale", async || {
        let read = other.get(GetRequest { without_lease: true, ..get("brief", "a") }).await;
        read.outcome() == Outcome::Stale
    })
    .await;
    assert!(one.client.touch(touch("a")).await.unwrap().into_inner().touched);
    let read = other.get(GetRequest { mode: 1, without_lease: true, ..get("brief", "a") }).await;
    assert_eq!(read.outcome(), Outcome::Hit);
    assert!(!one.client.touch(touch("never")).await.unwrap().into_inner().touched);
}
