//! The RPCs: fields, several subjects, the configured limits.

use std::sync::Arc;

use mingle_proto::ratelimit::v1::{
    AcquireRequest, Algorithm, Charge, CheckEachRequest, CheckManyRequest, CheckRequest,
    CheckResponse, Decider, Descriptor, ExplainRequest, ListLimitsRequest, OutagePolicy,
    PeekRequest, RefundRequest, ReleaseRequest, ResetRequest, Source, SubjectCount,
    TopSubjectsRequest,
};
use mingle_runtime::status::{Described, Kind};
use mingle_store::clock::ManualClock;
use mingle_testkit::Redis as Server;

use crate::{
    through::serve,
    world::{START, connect},
};

fn charge(subject: &str, limits: &[&str], cost: u64) -> Charge {
    let limits = limits.iter().map(|limit| (*limit).to_owned()).collect();
    Charge { subject: subject.to_owned(), limits, cost: Some(cost) }
}

fn check(charge: Option<Charge>, id: &str) -> CheckRequest {
    CheckRequest { charge, request_id: id.to_owned(), ..CheckRequest::default() }
}

#[tokio::test]
async fn each_wrong_field_is_named() {
    let (mut client, _) = serve(Arc::new(ManualClock::at(START)), None).await;
    let three = || Some(charge("ann", &["three"], 1));
    let nine: Vec<String> = (0..9).map(|n| format!("limit{n}")).collect();
    let nine: Vec<&str> = nine.iter().map(String::as_str).collect();
    let long = "x".repeat(257);
    for (request, reason, field) in [
        (check(None, "a"), "REQUIRED", "charge"),
        (check(three(), ""), "REQUIRED", "request_id"),
        (check(three(), &long), "TOO_LONG", "request_id"),
        (check(Some(charge("", &["three"], 1)), "a"), "REQUIRED", "charge.subject"),
        (check(Some(charge(&long, &["three"], 1)), "a"), "TOO_LONG", "charge.subject"),
        (check(Some(charge("ann", &[], 1)), "a"), "REQUIRED", "charge.limits"),
        (check(Some(charge("ann", &nine, 1)), "a"), "TOO_LONG", "charge.limits"),
        (check(Some(charge("ann", &["three", "no"], 1)), "a"), "UNKNOWN_LIMIT", "charge.limits[1]"),
        (check(Some(charge("ann", &["ten", "jobs"], 1)), "a"), "MALFORMED", "charge.limits[1]"),
        (check(Some(charge("ann", &["ten", "ten"], 1)), "a"), "MALFORMED", "charge.limits[1]"),
        (check(Some(charge("ann", &["ten"], 1_000_001)), "a"), "MALFORMED", "charge.cost"),
        (check(Some(charge("ann", &["ten"], u64::MAX)), "a"), "MALFORMED", "charge.cost"),
        (check(Some(charge("a\nb", &["ten"], 1)), "a"), "MALFORMED", "charge.subject"),
        (check(three(), "a\u{7f}"), "MALFORMED", "request_id"),
    ] {
        let described = Described::from(&client.check(request).await.unwrap_err());
        assert_eq!(described.kind, Kind::Invalid, "{field}");
        assert_eq!((&*described.reason, &*described.field), (reason, field));
    }
    let refused = client.peek(PeekRequest { charge: Some(charge("ann", &["no"], 1)) }).await;
    assert_eq!(Described::from(&refused.unwrap_err()).reason, "UNKNOWN_LIMIT");
    let empty = RefundRequest { subject: "ann".to_owned(), ..Default::default() };
    assert_eq!(Described::from(&client.refund(empty).await.unwrap_err()).field, "charge_id");

    client.check(check(three(), "a")).await.unwrap();
    let reused = client.check(check(Some(charge("ann", &["three"], 2)), "a")).await.unwrap_err();
    let described = Described::from(&reused);
    assert_eq!((described.kind, &*described.reason), (Kind::Exists, "KEY_REUSED"));
    let unsaid = Charge { cost: None, ..charge("bob", &["three"], 0) };
    let one = client.check(check(Some(unsaid), "a")).await.unwrap().into_inner();
    assert_eq!(one.states[0].remaining, 2, "a cost that is not said is 1");
    let free = client.check(check(Some(charge("bob", &["three"], 0)), "b")).await.unwrap();
    let free = free.into_inner();
    assert_eq!((free.allowed, &*free.charge_id, free.states[0].remaining), (true, "", 2));
}

#[tokio::test]
async fn what_is_held_is_of_concurrency_and_told_until_when() {
    let (mut client, _) = serve(Arc::new(ManualClock::at(START)), None).await;
    let acquire = |subject: &str, limits: &[&str], id: &str| AcquireRequest {
        charge: Some(charge(subject, limits, 1)),
        request_id: id.to_owned(),
    };
    let held = client.acquire(acquire("ann", &["fleet", "jobs"], "a")).await.unwrap().into_inner();
    assert!(held.acquired && !held.degraded);
    assert_eq!((&*held.lease_id, held.expires_after_ms), ("a", 60_000), "the shorter of the two");
    let refund = RefundRequest {
        subject: "ann".to_owned(),
        charge_id: "a".to_owned(),
        ..Default::default()
    };
    assert!(client.refund(refund).await.unwrap().into_inner().refunded, "a lease is a charge");
    for (request, reason, field) in [
        (AcquireRequest::default(), "REQUIRED", "request_id"),
        (acquire("ann", &[], "a"), "REQUIRED", "charge.limits"),
        (acquire("ann", &["jobs", "three"], "a"), "MALFORMED", "charge.limits[1]"),
        (acquire("ann", &["no"], "a"), "UNKNOWN_LIMIT", "charge.limits[0]"),
        (acquire("", &["jobs"], "a"), "REQUIRED", "charge.subject"),
    ] {
        let described = Described::from(&client.acquire(request).await.unwrap_err());
        assert_eq!((&*described.reason, &*described.field), (reason, field));
    }
    let nothing = ReleaseRequest { subject: "ann".to_owned(), lease_id: String::new() };
    assert_eq!(Described::from(&client.release(nothing).await.unwrap_err()).field, "lease_id");
    let unknown = ReleaseRequest { subject: "ann".to_owned(), lease_id: "b".to_owned() };
    assert!(!client.release(unknown).await.unwrap().into_inner().released);
}

#[tokio::test]
async fn people_are_told_where_a_charge_is_counted_and_why_it_is_denied() {
    let server = Server::start().await;
    let clock = Arc::new(ManualClock::at(START));
    for redis in [None, Some(connect(&server).await.with_clock(clock.clone()))] {
        let is_shared = redis.is_some();
        let (mut client, _) = serve(clock.clone(), redis).await;
        let both = || Some(charge("ann", &["three", "paced"], 2));
        assert!(client.check(check(both(), "a")).await.unwrap().into_inner().allowed);
        let request = ExplainRequest { charge: both(), descriptor: None };
        let told = client.explain(request).await.unwrap().into_inner();
        assert!(!told.allowed && !told.degraded && !told.version.is_empty());
        assert_eq!(told.decider(), Decider::Count);
        let [three, paced] = &told.limits[..] else { panic!("{told:?}") };
        assert_eq!(three.words, "2 of 3 used in the last 1m; 2 fits in 1m");
        assert_eq!(paced.words, "2 of a burst of 4 left, one more each 6s; 2 fits");
        assert_eq!(three.limit.as_ref().map(|limit| limit.quota), Some(3));
        let source = if is_shared { Source::Redis } else { Source::Memory };
        assert_eq!((three.source(), paced.source()), (source, source));
        if is_shared {
            let key = &three.counter;
            assert!(key.starts_with("mingle:{rl:") && key.ends_with(":1:l:three"), "{key}");
            assert_eq!(server.cli(&["EXISTS", key]), "1");
        }
    }
    let (mut client, _) = serve(clock, None).await;
    for (request, reason, field) in [
        (ExplainRequest::default(), "REQUIRED", "charge"),
        (
            ExplainRequest { charge: Some(charge("ann", &["no"], 1)), descriptor: None },
            "UNKNOWN_LIMIT",
            "charge.limits[0]",
        ),
        (
            ExplainRequest { charge: None, descriptor: Some(Descriptor::default()) },
            "REQUIRED",
            "descriptor.domain",
        ),
    ] {
        let described = Described::from(&client.explain(request).await.unwrap_err());
        assert_eq!((&*described.reason, &*described.field), (reason, field));
    }
}

#[tokio::test]
async fn what_is_reset_is_named_or_all_of_it() {
    let (mut client, _) = serve(Arc::new(ManualClock::at(START)), None).await;
    let both = || Some(charge("ann", &["three", "ten"], 2));
    let reset = |subject: &str, limits: &[&str]| ResetRequest {
        subject: subject.to_owned(),
        limits: limits.iter().map(|limit| (*limit).to_owned()).collect(),
    };
    for (id, limits, left) in [("a", &["three"][..], [3, 8]), ("b", &[], [3, 10])] {
        assert!(client.check(check(both(), id)).await.unwrap().into_inner().allowed, "{id}");
        client.reset(reset("ann", limits)).await.unwrap();
        let peek = PeekRequest { charge: both() };
        let states = client.peek(peek).await.unwrap().into_inner().states;
        assert_eq!([states[0].remaining, states[1].remaining], left, "{id}");
    }
    let nine: Vec<String> = (0..9).map(|n| format!("limit{n}")).collect();
    let nine: Vec<&str> = nine.iter().map(String::as_str).collect();
    for (request, reason, field) in [
        (reset("", &["ten"]), "REQUIRED", "subject"),
        (reset("a\tb", &[]), "MALFORMED", "subject"),
        (reset("ann", &nine), "TOO_LONG", "limits"),
        (reset("ann", &["ten", "no"]), "UNKNOWN_LIMIT", "limits[1]"),
        (reset("ann", &["ten", "ten"]), "MALFORMED", "limits[1]"),
    ] {
        let described = Described::from(&client.reset(request).await.unwrap_err());
        assert_eq!((&*described.reason, &*described.field), (reason, field));
    }
}

/// What was only looked at is not given back with the rest: its id is another's.
#[tokio::test]
async fn a_denied_call_gives_back_what_it_took_and_no_more() {
    let (mut client, _) = serve(Arc::new(ManualClock::at(START)), None).await;
    client.check(check(Some(charge("room", &["ten"], 1)), "a")).await.unwrap();
    let denied = vec![charge("ann", &["three"], 4), charge("room", &["ten"], 0)];
    let reply = client.check_many(many(denied, "a")).await.unwrap().into_inner();
    assert!(!reply.allowed);
    let peek = PeekRequest { charge: Some(charge("room", &["ten"], 1)) };
    assert_eq!(client.peek(peek).await.unwrap().into_inner().states[0].remaining, 9);
}

fn many(charges: Vec<Charge>, id: &str) -> CheckManyRequest {
    CheckManyRequest { charges, request_id: id.to_owned() }
}

#[tokio::test]
async fn several_subjects_are_charged_all_or_none() {
    let (mut client, _) = serve(Arc::new(ManualClock::at(START)), None).await;
    let both = || vec![charge("ann", &["three"], 1), charge("room", &["ten"], 4)];
    for id in ["a", "a", "b"] {
        let reply = client.check_many(many(both(), id)).await.unwrap().into_inner();
        assert!(reply.allowed);
        assert!(reply.results.iter().all(|result| result.allowed && result.charge_id == id));
    }
    // The room has 2 left: whoever else allows gets theirs back.
    for id in ["c", "c", "d", "e"] {
        let reply = client.check_many(many(both(), id)).await.unwrap().into_inner();
        assert!(!reply.allowed);
        let [ann, room] = &reply.results[..] else { panic!("{reply:?}") };
        assert!(ann.allowed && ann.charge_id.is_empty());
        assert!(!room.allowed && room.retry_after_ms == 15 * 60_000);
    }
    let peek = PeekRequest { charge: Some(charge("ann", &["three"], 1)) };
    let left = client.peek(peek).await.unwrap().into_inner().states[0].remaining;
    assert_eq!(left, 1, "charged twice, the denied calls never");

    for (request, reason, field) in [
        (many(Vec::new(), "a"), "REQUIRED", "charges"),
        (many(vec![charge("a", &["ten"], 1); 17], "a"), "TOO_LONG", "charges"),
        (many(vec![charge("a", &["ten"], 1); 2], "a"), "MALFORMED", "charges[1].subject"),
        (many(vec![charge("a", &["no"], 1)], "a"), "UNKNOWN_LIMIT", "charges[0].limits[0]"),
        (many(vec![charge("a", &["jobs"], 1)], "a"), "MALFORMED", "charges[0].limits[0]"),
    ] {
        let described = Described::from(&client.check_many(request).await.unwrap_err());
        assert_eq!((&*described.reason, &*described.field), (reason, field));
    }
}

#[tokio::test]
async fn a_reused_id_among_several_charges_nobody() {
    let (mut client, _) = serve(Arc::new(ManualClock::at(START)), None).await;
    client.check(check(Some(charge("room", &["ten"], 1)), "a")).await.unwrap();
    let both = vec![charge("ann", &["three"], 1), charge("room", &["ten"], 2)];
    let refused = client.check_many(many(both, "a")).await.unwrap_err();
    assert_eq!(Described::from(&refused).reason, "KEY_REUSED");
    let peek = PeekRequest { charge: Some(charge("ann", &["three"], 1)) };
    assert_eq!(client.peek(peek).await.unwrap().into_inner().states[0].remaining, 3);
}

#[tokio::test]
async fn each_of_several_checks_is_for_itself() {
    let (mut client, _) = serve(Arc::new(ManualClock::at(START)), None).await;
    client.check(check(Some(charge("bob", &["three"], 1)), "used")).await.unwrap();
    let of = |subject, cost, id| check(Some(charge(subject, &["three"], cost)), id);
    let checks = vec![
        of("ann", 2, "a"),
        of("bob", 2, "used"),
        of("", 1, "b"),
        of("ann", 2, "c"),
        of("ann", 1, "d"),
        of("ann", 2, "a"),
        of("carl", 3, "e"),
    ];
    let reply = client.check_each(CheckEachRequest { checks }).await.unwrap().into_inner();
    let told = |response: CheckResponse| (response.allowed, response.states[0].remaining);
    let told: Vec<_> = reply.results.into_iter().map(|it| it.response.map(told)).collect();
    let expected = [
        Some((true, 1)),
        None,
        None,
        Some((false, 1)),
        Some((true, 0)),
        Some((true, 0)),
        Some((true, 0)),
    ];
    assert_eq!(told, expected);
    for (count, reason) in [(0, "REQUIRED"), (1_001, "TOO_LONG")] {
        let request = CheckEachRequest { checks: vec![of("ann", 1, "f"); count] };
        let described = Described::from(&client.check_each(request).await.unwrap_err());
        assert_eq!((&*described.reason, &*described.field), (reason, "checks"));
    }
}

#[tokio::test]
async fn what_is_charged_once_is_not_remembered() {
    let (mut client, _) = serve(Arc::new(ManualClock::at(START)), None).await;
    let once = CheckRequest { once: true, ..check(Some(charge("ann", &["three"], 1)), "a") };
    for left in [2, 1, 0] {
        let reply = client.check(once.clone()).await.unwrap().into_inner();
        assert_eq!((reply.allowed, &*reply.charge_id, reply.states[0].remaining), (true, "", left));
    }
    let (subject, charge_id) = ("ann".to_owned(), "a".to_owned());
    let refund = RefundRequest { subject, charge_id, unless_repeated: false };
    assert!(!client.refund(refund).await.unwrap().into_inner().refunded);
}

#[tokio::test]
async fn who_asks_most_and_who_is_denied_most_is_told() {
    let (mut client, _) = serve(Arc::new(ManualClock::at(START)), None).await;
    for (subject, times) in [("ann", 6), ("bob", 3), ("carl", 1)] {
        for n in 0..times {
            let charge = Some(charge(subject, &["three"], 1));
            client.check(check(charge, &n.to_string())).await.unwrap();
        }
    }
    let mut top = async |most| {
        let told = client.top_subjects(TopSubjectsRequest { most }).await?.into_inner();
        let counts = |all: Vec<SubjectCount>| {
            all.into_iter().map(|it| (it.subject, it.times - it.error)).collect::<Vec<_>>()
        };
        Ok::<_, tonic::Status>((counts(told.asked), counts(told.denied)))
    };
    let of = |told: &[(&str, u64)]| {
        told.iter().map(|(who, times)| ((*who).to_owned(), *times)).collect::<Vec<_>>()
    };
    assert_eq!(top(2).await.unwrap(), (of(&[("ann", 6), ("bob", 3)]), of(&[("ann", 3)])));
    assert_eq!(top(0).await.unwrap().0.len(), 3);
    let described = Described::from(&top(101).await.unwrap_err());
    assert_eq!((described.kind, &*described.field), (Kind::Invalid, "most"));
}

#[tokio::test]
async fn limits_are_listed_as_configured() {
    let (mut client, _) = serve(Arc::new(ManualClock::at(START)), None).await;
    let limits = client.list_limits(ListLimitsRequest {}).await.unwrap().into_inner().limits;
    let names: Vec<_> = limits.iter().map(|limit| &*limit.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    let named = |name: &str| limits.iter().find(|limit| limit.name == name).unwrap();
    let auth = named("auth");
    assert_eq!((auth.quota, auth.window_ms, auth.burst), (10, 900_000, 0));
    assert_eq!(auth.algorithm(), Algorithm::SlidingWindow);
    assert_eq!(auth.outage_policy(), OutagePolicy::Closed);
    let paced = named("paced");
    assert_eq!((paced.algorithm(), paced.burst), (Algorithm::Gcra, 4));
    assert!(named("watched").shadow);
}
