//! Which rule a descriptor meets, and how many calls of it are admitted.

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use mingle_testkit::Redis as Server;

use super::{ask, descriptor, open, request};
use crate::world::connect;

/// No rule is for it.
const FREE: Option<(u32, i32)> = None;
/// Its rule says that it is not limited: nothing is told of a limit.
const UNLIMITED: Option<(u32, i32)> = None;

type Case = (&'static [(&'static str, &'static str)], Option<(u32, i32)>, u32);

/// Entries; requests per unit and Envoy's unit; how many of 6 calls are admitted.
const CASES: [Case; 32] = [
    (&[("remote_address", "1.1.1.1")], Some((3, 2)), 3),
    (&[("remote_address", "2.2.2.2")], Some((3, 2)), 3),
    (&[("remote_address", "")], Some((3, 2)), 3),
    (&[("remote_address", "10.0.0.1")], Some((1, 1)), 1),
    (&[("remote_address", "10.0.0.2")], FREE, 6),
    (&[("remote_address", "1.1.1.1"), ("user", "ann")], FREE, 6),
    (&[("remote_addres", "1.1.1.1")], FREE, 6),
    (&[("status", "404")], Some((2, 3)), 2),
    (&[("status", "500")], FREE, 6),
    (&[("path", "/files/a")], Some((2, 2)), 2),
    (&[("path", "/files/b")], Some((2, 2)), 2),
    (&[("path", "/files/")], Some((2, 2)), 2),
    (&[("path", "/files")], FREE, 6),
    (&[("path", "/files/readme")], UNLIMITED, 6),
    (&[("path", "/shared/a/raw")], Some((2, 2)), 2),
    (&[("path", "/shared/b/raw")], Some((2, 2)), 0),
    (&[("path", "/shared/raw")], FREE, 6),
    (&[("tenant", "acme")], FREE, 6),
    (&[("tenant", "acme"), ("user", "ann")], Some((2, 2)), 2),
    (&[("tenant", "acme"), ("user", "bob")], Some((2, 2)), 2),
    (&[("tenant", "other"), ("user", "ann")], Some((2, 2)), 2),
    (&[("user", "ann"), ("tenant", "acme")], FREE, 6),
    (&[("tenant", "acme"), ("user", "vip")], Some((5, 2)), 5),
    (&[("tenant", "acme"), ("user", "ann"), ("path", "/login")], Some((1, 0)), 1),
    (&[("tenant", "acme"), ("user", "vip"), ("path", "/login")], FREE, 6),
    (&[("tenant", "acme"), ("user", "ann"), ("path", "/logout")], FREE, 6),
    (&[("watched", "x")], Some((1, 2)), 6),
    (&[("blocked", "x")], Some((0, 4)), 0),
    (&[("paced", "x")], Some((10, 0)), 2),
    (&[("fixed", "x")], Some((2, 7)), 2),
    (&[("large", "x")], Some((1_000_000_000, 6)), 6),
    (&[], FREE, 6),
];

#[tokio::test]
async fn each_descriptor_meets_its_rule() {
    each(None).await;
    let server = Server::start().await;
    each(Some(connect(&server).await)).await;
}

async fn each(redis: Option<mingle_store::redis::Redis>) {
    let (client, _) = open(redis).await;
    for (entries, limit, admitted) in CASES {
        let mut seen = 0;
        for _ in 0..6 {
            let reply = ask(&client, request("edge", vec![descriptor(entries)])).await;
            let [status] = &reply.statuses[..] else { panic!("{entries:?}: {reply:?}") };
            assert_eq!(status.code, reply.overall_code, "{entries:?}");
            let told = status.current_limit.as_ref();
            let told = told.map(|limit| (limit.requests_per_unit, limit.unit));
            assert_eq!(told, limit, "{entries:?}");
            seen += u32::from(reply.overall_code() == Code::Ok);
        }
        assert_eq!(seen, admitted, "{entries:?}");
    }
}

/// Of the same entries each domain has its own, and none of one that is not there.
#[tokio::test]
async fn domains_know_nothing_of_each_other() {
    let (client, _) = open(None).await;
    for (domain, told) in [("edge", true), ("other", false), ("EDGE", false)] {
        let entries = descriptor(&[("remote_address", "1.1.1.1")]);
        let reply = ask(&client, request(domain, vec![entries])).await;
        assert_eq!(reply.overall_code(), Code::Ok);
        assert_eq!(reply.statuses[0].current_limit.is_some(), told, "{domain}");
    }
}
