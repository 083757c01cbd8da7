//! What is told of several descriptors, of hits, and of what is wrong.

use std::sync::Arc;

use envoy_types::pb::{
    envoy::{
        extensions::common::ratelimit::v3::{
            RateLimitDescriptor, rate_limit_descriptor::RateLimitOverride,
        },
        service::ratelimit::v3::{RateLimitRequest, RateLimitResponse, rate_limit_response::Code},
    },
    google::protobuf::UInt64Value,
};
use mingle_proto::ratelimit::v1::{
    Descriptor, DescriptorEntry, ExplainRequest, rate_limit_service_client::RateLimitServiceClient,
};
use mingle_runtime::status::{Described, Kind};
use mingle_store::clock::ManualClock;

use super::{Client, ask, descriptor, open, request, rules};
use crate::{through::serve_by, world::START};

fn with_hits(entries: &[(&str, &str)], hits: u64) -> RateLimitDescriptor {
    let hits_addend = Some(UInt64Value { value: hits });
    RateLimitDescriptor { hits_addend, ..descriptor(entries) }
}

/// Code and what remains, by descriptor.
fn told(reply: &RateLimitResponse) -> Vec<(Code, u32)> {
    reply.statuses.iter().map(|status| (status.code(), status.limit_remaining)).collect()
}

async fn one(client: &Client, descriptor: RateLimitDescriptor) -> (Code, u32) {
    let reply = ask(client, request("edge", vec![descriptor])).await;
    assert_eq!(reply.statuses.len(), 1);
    told(&reply)[0]
}

#[tokio::test]
async fn each_descriptor_is_charged_for_itself() {
    let (client, _) = open(None).await;
    let both = || vec![descriptor(&[("remote_address", "a")]), descriptor(&[("path", "/files/a")])];
    for (first, second, overall) in [
        ((Code::Ok, 2), (Code::Ok, 1), Code::Ok),
        ((Code::Ok, 1), (Code::Ok, 0), Code::Ok),
        ((Code::Ok, 0), (Code::OverLimit, 0), Code::OverLimit),
        ((Code::OverLimit, 0), (Code::OverLimit, 0), Code::OverLimit),
    ] {
        let reply = ask(&client, request("edge", both())).await;
        assert_eq!((told(&reply), reply.overall_code()), (vec![first, second], overall));
    }
}

#[tokio::test]
async fn all_or_nothing_charges_none_when_one_denies() {
    let (client, clock) = open(None).await;
    let both = || vec![descriptor(&[("user", "ann")]), descriptor(&[("room", "a")])];
    let first = ask(&client, request("whole", both())).await;
    assert_eq!(told(&first), [(Code::Ok, 2), (Code::Ok, 0)]);
    for _ in 0..5 {
        let denied = ask(&client, request("whole", both())).await;
        assert_eq!(denied.overall_code(), Code::OverLimit);
        assert_eq!(denied.statuses[1].code(), Code::OverLimit);
    }
    let left = vec![with_hits(&[("user", "ann")], 0)];
    assert_eq!(told(&ask(&client, request("whole", left)).await), [(Code::Ok, 2)]);
    clock.advance(60_000);
    let again = ask(&client, request("whole", both())).await;
    assert_eq!(told(&again), [(Code::Ok, 2), (Code::Ok, 0)]);
}

/// Nothing is given back of what is let through, and all of what is not, for whatever
/// reason.
#[tokio::test]
async fn all_or_nothing_is_judged_as_the_reply_says() {
    let (client, _) = open(None).await;
    let quotas = || vec![descriptor(&[("quota", "one")]), descriptor(&[("quota", "two")])];
    for (left, overall) in [(2, Code::Ok), (1, Code::Ok), (0, Code::Ok), (0, Code::OverLimit)] {
        let reply = ask(&client, request("whole", quotas())).await;
        assert_eq!((told(&reply)[1].1, reply.overall_code()), (left, overall));
    }
    ask(&client, request("whole", vec![descriptor(&[("room", "b")])])).await;
    let look = || vec![descriptor(&[("user", "bob")]), with_hits(&[("room", "b")], 0)];
    for _ in 0..5 {
        assert_eq!(ask(&client, request("whole", look())).await.overall_code(), Code::OverLimit);
    }
    let left = vec![with_hits(&[("user", "bob")], 0)];
    assert_eq!(told(&ask(&client, request("whole", left)).await), [(Code::Ok, 3)]);
}

#[tokio::test]
async fn hits_are_of_the_request_or_of_the_descriptor_and_none_is_a_look() {
    let (client, _) = open(None).await;
    let entries = [("remote_address", "hits")];
    assert_eq!(one(&client, with_hits(&entries, 0)).await, (Code::Ok, 3));
    let of_all = RateLimitRequest { hits_addend: 2, ..request("edge", vec![descriptor(&entries)]) };
    assert_eq!(told(&ask(&client, of_all).await), [(Code::Ok, 1)]);
    let other =
        RateLimitRequest { hits_addend: 1, ..request("edge", vec![with_hits(&entries, 2)]) };
    assert_eq!(told(&ask(&client, other).await), [(Code::OverLimit, 1)], "its own go first");
    assert_eq!(one(&client, with_hits(&entries, u64::MAX)).await, (Code::OverLimit, 1));
    assert_eq!(one(&client, descriptor(&entries)).await, (Code::Ok, 0), "what is denied is free");
    assert_eq!(one(&client, with_hits(&entries, 0)).await, (Code::OverLimit, 0), "a look");
}

#[tokio::test]
async fn what_a_rule_replaces_is_not_counted() {
    let (client, _) = open(None).await;
    let all = || descriptor(&[("tenant", "acme"), ("plan", "free")]);
    let vip = || descriptor(&[("tenant", "acme"), ("user", "vip")]);
    for left in [4, 3, 2] {
        let reply = ask(&client, request("edge", vec![all(), vip()])).await;
        assert_eq!(told(&reply), [(Code::Ok, 0), (Code::Ok, left)]);
        assert!(reply.statuses[0].current_limit.is_none());
    }
    assert_eq!(one(&client, all()).await, (Code::Ok, 0), "the first of it");
    assert_eq!(one(&client, all()).await, (Code::OverLimit, 0));
}

#[tokio::test]
async fn quotas_deny_when_all_of_them_do() {
    let (client, _) = open(None).await;
    let both = || vec![descriptor(&[("quota", "one")]), descriptor(&[("quota", "two")])];
    for (codes, overall) in [
        ([Code::Ok, Code::Ok], Code::Ok),
        ([Code::OverLimit, Code::Ok], Code::Ok),
        ([Code::OverLimit, Code::OverLimit], Code::OverLimit),
    ] {
        let reply = ask(&client, request("edge", both())).await;
        let told: Vec<_> = told(&reply).into_iter().map(|(code, _)| code).collect();
        assert_eq!((&told[..], reply.overall_code()), (&codes[..], overall));
    }
}

#[tokio::test]
async fn a_limit_that_the_descriptor_brings_goes_over_the_rule() {
    let (client, _) = open(None).await;
    let brings = |entries, requests_per_unit, unit| {
        let limit = Some(RateLimitOverride { requests_per_unit, unit });
        RateLimitDescriptor { limit, ..descriptor(entries) }
    };
    let entries = &[("remote_address", "brings")];
    assert_eq!(one(&client, brings(entries, 2, 1)).await, (Code::Ok, 1));
    assert_eq!(one(&client, brings(entries, 2, 1)).await, (Code::Ok, 0));
    assert_eq!(one(&client, brings(entries, 2, 1)).await, (Code::OverLimit, 0));
    assert_eq!(one(&client, descriptor(entries)).await, (Code::Ok, 2), "the rule by itself");
    assert_eq!(one(&client, brings(entries, 2, 3)).await, (Code::Ok, 1), "each unit has its own");
    assert_eq!(one(&client, brings(entries, 2, 1)).await, (Code::OverLimit, 0));
    let unknown = &[("of_no_rule", "x")];
    assert_eq!(one(&client, brings(unknown, 1, 4)).await, (Code::Ok, 0));
    let elsewhere = request("elsewhere", vec![brings(unknown, 1, 4)]);
    assert!(ask(&client, elsewhere).await.statuses[0].current_limit.is_none());
}

/// As draft-ietf-httpapi-ratelimit-headers says, of the rule that is nearest to its end.
#[tokio::test]
async fn clients_are_told_when_to_come_again() {
    let (client, clock) = open(None).await;
    let headers = async |descriptors: Vec<RateLimitDescriptor>| {
        let reply = ask(&client, request("edge", descriptors)).await;
        let headers = reply.response_headers_to_add.into_iter();
        headers.map(|it| format!("{}: {}", it.key, it.value)).collect::<Vec<_>>()
    };
    let both = || vec![descriptor(&[("remote_address", "a")]), descriptor(&[("fixed", "a")])];
    let policy = "ratelimit-policy: \"edge.fixed\";q=2;w=604800".to_owned();
    assert_eq!(headers(both()).await[0], policy);
    headers(both()).await;
    clock.advance(1_500);
    let denied = headers(both()).await;
    let [of, left, after] = &denied[..] else { panic!("{denied:?}") };
    assert_eq!(*of, policy);
    let seconds = after.strip_prefix("retry-after: ").unwrap();
    assert_eq!(*left, format!("ratelimit: \"edge.fixed\";r=0;t={seconds}"));
    assert!((1..=604_800).contains(&seconds.parse().unwrap()));
    assert!(headers(vec![descriptor(&[("watched", "a")])]).await.is_empty(), "nobody is denied");
    assert!(headers(vec![descriptor(&[("nothing", "a")])]).await.is_empty());
    let user = vec![descriptor(&[("tenant", "t"), ("user", "u")])];
    assert_eq!(headers(user).await[0], "ratelimit-policy: \"by_user\";q=2;w=60");
}

#[tokio::test]
async fn each_wrong_field_is_named() {
    let (client, _) = open(None).await;
    let of = |descriptor: RateLimitDescriptor| request("edge", vec![descriptor]);
    let plain = || descriptor(&[("remote_address", "a")]);
    let limit = Some(RateLimitOverride { requests_per_unit: 1, unit: 0 });
    for (request, reason, field) in [
        (request("", vec![plain()]), "REQUIRED", "domain"),
        (request("edge", Vec::new()), "REQUIRED", "descriptors"),
        (request("edge", vec![plain(); 1_001]), "TOO_LONG", "descriptors"),
        (of(descriptor(&[("a", "b"); 65])), "TOO_LONG", "descriptors[0].entries"),
        (of(RateLimitDescriptor { limit, ..plain() }), "MALFORMED", "descriptors[0].limit.unit"),
        (
            of(RateLimitDescriptor { is_negative_hits: true, ..plain() }),
            "MALFORMED",
            "descriptors[0].is_negative_hits",
        ),
    ] {
        let refused = client.clone().should_rate_limit(request).await.unwrap_err();
        let described = Described::from(&refused);
        assert_eq!(described.kind, Kind::Invalid, "{field}");
        assert_eq!((&*described.reason, &*described.field), (reason, field));
    }
}

/// The rule of a descriptor, by the other service of the same process.
#[tokio::test]
async fn people_are_told_which_rule_a_descriptor_meets() {
    let keys = format!("descriptors = {:?}", rules());
    let (transport, _) = serve_by(Arc::new(ManualClock::at(START)), None, &keys).await;
    let mut client = RateLimitServiceClient::new(transport);
    let mut explain = async |entries: &[(&str, &str)]| {
        let entry = |(key, value): &(&str, &str)| DescriptorEntry {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        let entries = entries.iter().map(entry).collect();
        let descriptor = Some(Descriptor { domain: "edge".to_owned(), entries, hits: Some(3) });
        client.explain(ExplainRequest { charge: None, descriptor }).await.unwrap().into_inner()
    };
    let told = explain(&[("tenant", "acme"), ("user", "ann")]).await;
    assert!(!told.allowed);
    assert_eq!(told.limits[0].limit.as_ref().unwrap().name, "edge.tenant.user");
    assert_eq!(told.limits[0].words, "0 of 2 used in the last 1m; 3 never fits");
    for free in [[("path", "/files/readme")], [("status", "200")]] {
        let told = explain(&free).await;
        assert_eq!((told.allowed, told.limits.len()), (true, 0), "{free:?}");
    }
}
