//! The step of the limits: a look that charges nobody.

use std::time::{Duration, Instant};

use mingle_client::ratelimit::Policy;
use mingle_proto::ratelimit::v1::{
    Charge, Limit, ListLimitsRequest, PeekRequest,
    rate_limit_service_client::RateLimitServiceClient,
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
            let known = policies(asked);
            steps.run(STEP, judge(way, peers.ratelimit_deadline(), &known)).await;
        }
        None if is_own => steps.skip(&[STEP], "no ratelimit of this process runs yet").await,
        None => steps.skip(&[STEP], "see the configuration").await,
    }
}

/// The limits that these roles charge to, as they know them.
fn policies(asked: Asked<'_>) -> Vec<Policy> {
    let (config, told) = (asked.config, &mut Problems::default());
    let mut all = Vec::new();
    for role in asked.roles {
        match role {
            Role::Gateway => {
                let gateway = config.section::<mingle_gateway::Config>(told);
                all.extend(gateway.into_iter().flat_map(|gateway| gateway.classes.policies()));
            }
            Role::Chat => {
                all.extend(config.section::<mingle_chat::Config>(told).map(|chat| chat.policy()));
            }
            Role::Matchmaking => {
                let matchmaking = config.section::<mingle_matchmaking::Config>(told);
                all.extend(matchmaking.map(|matchmaking| matchmaking.policy()));
            }
            Role::Presence | Role::Ratelimit | Role::Cache => {}
        }
    }
    all
}

async fn judge(way: Transport, deadline: Duration, known: &[Policy]) -> Found {
    let Peeked { limits, took, is_degraded } = match peek(way).await {
        Ok(peeked) => peeked,
        Err(status) if status.code() == Code::Unauthenticated => {
            let remedy = "set MINGLE_INTERNAL_TOKEN to the same text for all processes";
            return Found::warn(status.message(), remedy);
        }
        Err(status) => {
            return Found::warn(
                format!("ratelimit does not answer: {}", status.message()),
                "start it; until then each caller counts by itself, and nobody may guess tokens",
            );
        }
    };
    let (count, took_ms) = (limits.len(), 1e3 * took.as_secs_f64());
    let differences: Vec<_> = known.iter().filter_map(|own| differs(own, &limits)).collect();
    if is_degraded {
        Found::warn(
            format!("{count} limits, each process of ratelimit counts by itself"),
            "see Redis, as ratelimit reaches it",
        )
    } else if !differences.is_empty() {
        Found::warn(
            differences.join("; "),
            "set both to the same: what the caller knows decides while ratelimit does not answer",
        )
    } else if took > deadline {
        Found::warn(
            format!("ratelimit took {took_ms:.1} ms, callers wait {} ms", deadline.as_millis()),
            "see how busy ratelimit is, or raise peers.ratelimit_deadline_ms",
        )
    } else {
        Found::ok(format!("{count} limits, looked at within {took_ms:.1} ms; nobody was charged"))
    }
}

/// How a limit of the service is another than its caller knows it.
fn differs(own: &Policy, limits: &[Limit]) -> Option<String> {
    let Policy { limit: name, quota, window, .. } = own;
    let Some(there) = limits.iter().find(|limit| limit.name == *name) else {
        return Some(format!("ratelimit has no limit {name}"));
    };
    let window_ms = window.as_millis();
    let is_same = there.quota == *quota && u128::from(there.window_ms) == window_ms;
    (!is_same).then(|| {
        let Limit { quota: theirs, window_ms: their_window_ms, .. } = there;
        format!("{name} is {quota} in {window_ms} ms here, {theirs} in {their_window_ms} ms there")
    })
}

struct Peeked {
    limits: Vec<Limit>,
    took: Duration,
    is_degraded: bool,
}

/// Asks for the names first, which makes the connection too.
async fn peek(way: Transport) -> Result<Peeked, Status> {
    let mut client = RateLimitServiceClient::new(way);
    let limits = client.list_limits(patient(ListLimitsRequest {})).await?.into_inner().limits;
    let some = limits.iter().take(MOST).map(|limit| limit.name.clone()).collect();
    let charge = Charge { subject: SUBJECT.to_owned(), limits: some, cost: Some(1) };
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
