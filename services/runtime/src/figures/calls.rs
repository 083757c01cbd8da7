//! The calls of the last minutes, by kind and name.

use std::collections::BTreeMap;

use mingle_proto::runtime::v1 as pb;
use tonic::Code;

use crate::{
    grpc::{
        calls::{RPC_SECONDS, RPCS},
        trace::is_failure,
    },
    telemetry::Lately,
};

/// Names that are told; further ones, the rarest, are not.
const MOST: usize = 256;
/// Who asks how a process is would be most of what it answers when it is idle.
const DIAGNOSTICS: &str = "DiagnosticsService";

type Named = BTreeMap<(pb::CallKind, String), pb::Calls>;

/// What was recorded, as it is told.
pub(super) fn of(recent: &[Lately]) -> Vec<pb::Calls> {
    let mut named = Named::new();
    for lately in recent {
        match lately.name.as_str() {
            RPCS | RPC_SECONDS => rpc(&mut named, lately),
            "mingle_redis_seconds" => {
                timed(&mut named, (pb::CallKind::Redis, lately.label("script")), lately);
            }
            "mingle_redis_failures_total" => {
                *entry(&mut named, (pb::CallKind::Redis, "")).failures.get_or_insert(0) +=
                    lately.count;
            }
            "mingle_database_begin_seconds" => {
                timed(&mut named, (pb::CallKind::Database, "begin"), lately);
            }
            "mingle_database_commit_seconds" => {
                timed(&mut named, (pb::CallKind::Database, "commit"), lately);
            }
            _ => {}
        }
    }
    let mut calls: Vec<_> = named.into_values().collect();
    calls.sort_by_key(|calls| std::cmp::Reverse(calls.count));
    calls.truncate(MOST);
    calls
}

fn rpc(named: &mut Named, lately: &Lately) {
    let (service, method) = (lately.label("service"), lately.label("method"));
    if service == DIAGNOSTICS {
        return;
    }
    let name = format!("{service}/{method}");
    if lately.name == RPC_SECONDS {
        return timed(named, (pb::CallKind::Rpc, &name), lately);
    }
    let code = Code::from_bytes(lately.label("code").as_bytes());
    let calls = entry(named, (pb::CallKind::Rpc, &name));
    let of = |is_it: bool| if is_it { lately.count } else { 0 };
    *calls.failures.get_or_insert(0) += of(is_failure(code));
    *calls.succeeded.get_or_insert(0) += of(code == Code::Ok);
}

fn timed(named: &mut Named, of: (pb::CallKind, &str), lately: &Lately) {
    let calls = entry(named, of);
    calls.count = lately.count;
    let bucket = |(most_us, count): &(u64, u64)| pb::Bucket { most_us: *most_us, count: *count };
    calls.buckets = lately.buckets.iter().map(bucket).collect();
}

fn entry<'a>(named: &'a mut Named, (kind, name): (pb::CallKind, &str)) -> &'a mut pb::Calls {
    let new = || pb::Calls { kind: kind.into(), name: name.to_owned(), ..Default::default() };
    named.entry((kind, name.to_owned())).or_insert_with(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lately(name: &str, labels: &[(&str, &str)], count: u64) -> Lately {
        let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
        let buckets = if name.ends_with("_seconds") { vec![(100, count)] } else { Vec::new() };
        Lately { name: name.to_owned(), labels: labels.collect(), count, buckets }
    }

    #[test]
    fn failures_are_those_of_the_server_and_answers_are_none() {
        let send = [("service", "ChatService"), ("method", "Send")];
        let coded = |code, count| {
            let labels = [send[0], send[1], ("code", code)];
            lately(RPCS, &labels, count)
        };
        let told = of(&[
            coded("0", 90),
            coded("5", 4),
            coded("14", 3),
            coded("4", 2),
            coded("13", 1),
            lately(RPC_SECONDS, &send, 100),
            lately(RPC_SECONDS, &[("service", DIAGNOSTICS), ("method", "Describe")], 500),
            lately("mingle_redis_seconds", &[("script", "append")], 7),
            lately("mingle_redis_failures_total", &[("kind", "timeout")], 2),
            lately("mingle_redis_failures_total", &[("kind", "unavailable")], 1),
        ]);
        let seen =
            |calls: &pb::Calls| (calls.kind(), calls.name.clone(), calls.count, calls.failures);
        assert_eq!(
            told.iter().map(seen).collect::<Vec<_>>(),
            [
                (pb::CallKind::Rpc, "ChatService/Send".to_owned(), 100, Some(6)),
                (pb::CallKind::Redis, "append".to_owned(), 7, None),
                (pb::CallKind::Redis, String::new(), 0, Some(3)),
            ]
        );
        assert_eq!(told[0].succeeded, Some(90));
        assert_eq!(told[0].buckets, [pb::Bucket { most_us: 100, count: 100 }]);
    }
}
