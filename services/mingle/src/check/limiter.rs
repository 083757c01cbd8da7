//! The step of the limits: a look that charges nobody.

use std::time::{Duration, Instant};

use mingle_proto::ratelimit::v1::{
    Charge, ListLimitsRequest, PeekRequest, rate_limit_service_client::RateLimitServiceClient,
};
use mingle_runtime::{
    Role,
    config::Problems,
    grpc::{
        self, Transport,
        remote::{Address, Remote},
    },
    peers,
};
use tonic::{Code, Request, Status};

use super::{Asked, Found, Steps, listeners::Beside};

const STEP: &str = "limits";
/// Nobody of this name can be charged: it is no user's and no address.
const SUBJECT: &str = "mingle/check";
/// Limits that one question takes.
const MOST: usize = 8;
/// How long each answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn check(steps: Steps, asked: Asked<'_>, beside: &Beside) {
    let told = &mut Problems::default();
    let peers = asked.config.section::<peers::Config>(told);
    let grpc = asked.config.section::<grpc::Config>(told);
    let (Some(peers), Some(grpc)) = (peers, grpc) else {
        return steps.skip(&[STEP], "see the configuration").await;
    };
    let is_own = asked.roles.contains(&Role::Ratelimit);
    let way = if is_own {
        let address = beside.grpc.and_then(|address| format!("http://{address}").parse().ok());
        address.map(|address: Address| {
            let remote = Remote::new(Role::Ratelimit.name(), vec![address]);
            Transport::remote(remote, &grpc.internal_token)
        })
    } else if peers::Config::called(asked.roles).contains(&Role::Ratelimit) {
        peers.way(Role::Ratelimit, &grpc.internal_token)
    } else {
        return steps.skip(&[STEP], "these roles limit nobody").await;
    };
    match way {
        Some(way) => {
            steps.run(STEP, judge(way, peers.ratelimit_deadline())).await;
        }
        None if is_own => steps.skip(&[STEP], "no ratelimit of this process runs yet").await,
        None => steps.skip(&[STEP], "see the configuration").await,
    }
}

async fn judge(way: Transport, deadline: Duration) -> Found {
    match peek(way).await {
        Ok(Peeked { limits, is_degraded: true, .. }) => Found::warn(
            format!("{limits} limits, each process of ratelimit counts by itself"),
            "see Redis, as ratelimit reaches it",
        ),
        Ok(Peeked { limits, took, .. }) => {
            let took_ms = 1e3 * took.as_secs_f64();
            let what = format!(
                "{limits} limits, looked at within {took_ms:.1} ms, nobody charged; callers wait {} ms",
                deadline.as_millis()
            );
            if took <= deadline {
                return Found::ok(what);
            }
            Found::warn(what, "see how busy ratelimit is, or raise peers.ratelimit_deadline_ms")
        }
        Err(status) if status.code() == Code::Unauthenticated => Found::warn(
            status.message(),
            "set MINGLE_INTERNAL_TOKEN to the same text for all processes",
        ),
        Err(status) => Found::warn(
            format!("ratelimit does not answer: {}", status.message()),
            "start it; until then each caller counts by itself, and nobody may guess tokens",
        ),
    }
}

struct Peeked {
    limits: usize,
    took: Duration,
    is_degraded: bool,
}

/// Asks for the names first, which makes the connection too.
async fn peek(way: Transport) -> Result<Peeked, Status> {
    let mut client = RateLimitServiceClient::new(way);
    let listed = client.list_limits(patient(ListLimitsRequest {})).await?.into_inner();
    let names: Vec<_> = listed.limits.into_iter().map(|limit| limit.name).collect();
    let limits = names.len();
    let some = names.into_iter().take(MOST).collect();
    let charge = Charge { subject: SUBJECT.to_owned(), limits: some, cost: 1 };
    let begin = Instant::now();
    let answer = client.peek(patient(PeekRequest { charge: Some(charge) })).await?;
    let is_degraded = answer.into_inner().degraded;
    Ok(Peeked { limits, took: begin.elapsed(), is_degraded })
}

fn patient<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}
