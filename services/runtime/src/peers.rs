//! Where each role is reached.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mingle_proto::runtime::v1::{
    DescribeRequest, diagnostics_service_client::DiagnosticsServiceClient,
};
use parking_lot::RwLock;
use rand::Rng as _;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::{
    Role,
    config::{Problems, Secret, Section},
    grpc::{
        self, Transport,
        remote::{Address, Remote, Seen, look},
    },
    health::Health,
};

/// Nobody waits longer for a count that can be done without.
const MAX_DEADLINE_MS: u64 = 10_000;

/// Between an answer of a role and the next question how it is.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// A part of it: callers do not ask in step.
const SPREAD: std::ops::Range<f64> = 0.8..1.2;
/// For how long the answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// `[peers]`: where the instances of roles outside this process are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    matchmaking: Vec<String>,
    chat: Vec<String>,
    presence: Vec<String>,
    ratelimit: Vec<String>,
    cache: Vec<String>,
    gateway: Vec<String>,
    ratelimit_deadline_ms: u64,
}

impl Config {
    fn of(&self, role: Role) -> &[String] {
        match role {
            Role::Gateway => &self.gateway,
            Role::Matchmaking => &self.matchmaking,
            Role::Chat => &self.chat,
            Role::Presence => &self.presence,
            Role::Ratelimit => &self.ratelimit,
            Role::Cache => &self.cache,
        }
    }

    /// The addresses of a role; those that are none are left out.
    fn addresses(&self, role: Role) -> Vec<Address> {
        self.of(role).iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// The roles of other processes that `roles` call.
    pub fn called(roles: &[Role]) -> Vec<Role> {
        let calls = |role: &Role| roles.iter().any(|caller| caller.calls().contains(role));
        let others = Role::ALL.into_iter().filter(|role| !roles.contains(role));
        others.filter(calls).collect()
    }

    /// True where a role has an address.
    pub fn knows(&self, role: Role) -> bool {
        !self.of(role).is_empty()
    }

    /// Looks at every instance of `role` once, as a caller that presents `token`.
    pub async fn look(&self, role: Role, token: &Secret) -> Vec<Seen> {
        look(role, self.addresses(role), token).await
    }

    /// The way to `role`, for a caller that presents `token`; `None` where it has
    /// no address. Must be called where tasks can be spawned.
    pub fn way(&self, role: Role, token: &Secret) -> Option<Transport> {
        let addresses = self.addresses(role);
        if addresses.is_empty() {
            return None;
        }
        Some(Transport::remote(Remote::new(role.name(), addresses), token))
    }

    /// What a charge waits for ratelimit.
    pub fn ratelimit_deadline(&self) -> Duration {
        Duration::from_millis(self.ratelimit_deadline_ms)
    }

    /// Names each role that one of `roles` calls, that is not of this process
    /// and has no address.
    pub(crate) fn require(&self, roles: &[Role], problems: &mut Problems) {
        for role in Self::called(roles) {
            let caller = roles.iter().find(|caller| caller.calls().contains(&role));
            if let (Some(caller), []) = (caller, self.of(role)) {
                let variable = format!("MINGLE_PEERS__{}", role.name().to_uppercase());
                let why = format_args!("is missing: {caller} calls {role}; set {variable}");
                problems.add(&format!("peers.{role}"), why);
            }
        }
    }
}

impl Section for Config {
    const NAME: &'static str = "peers";
    const DEFAULTS: &'static str = grpc::Config::DEFAULTS;

    fn validate(&self, problems: &mut Problems) {
        for role in Role::ALL {
            for text in self.of(role) {
                if let Err(wrong) = text.parse::<Address>() {
                    problems.add(&format!("peers.{role}"), wrong);
                }
            }
        }
        let bounded = (1..=MAX_DEADLINE_MS).contains(&self.ratelimit_deadline_ms);
        problems.require(bounded, "peers.ratelimit_deadline_ms", "must be 1 to 10000");
    }
}

/// The transports to the roles that this process calls. Filled by the
/// composition root in the order of the call graph, which has no cycle: a role
/// is there before whoever calls it is bound.
#[derive(Clone)]
pub struct Peers {
    ways: Arc<RwLock<BTreeMap<Role, Transport>>>,
    ratelimit_deadline: Duration,
}

impl Peers {
    /// Knows the ways to roles in other processes; `health` shows those that
    /// answer degraded. Must be called where tasks
    /// can be spawned.
    pub(crate) fn remote(config: &Config, grpc: &grpc::Config, health: &Health) -> Self {
        let ratelimit_deadline = config.ratelimit_deadline();
        let peers = Self { ways: Arc::default(), ratelimit_deadline };
        for role in Role::ALL {
            if let Some(way) = config.way(role, &grpc.internal_token) {
                // Gateways are asked for figures, and called for nothing.
                let is_called = role != Role::Gateway;
                peers.set(role, if is_called { way.watched(role, health.clone()) } else { way });
            }
        }
        peers
    }

    /// Asks each role in another process how it is, again and again until `stop`,
    /// so that what this process shows of it does not depend on who calls.
    pub async fn ask(self, stop: CancellationToken) {
        let ways: Vec<_> =
            self.ways.read().values().filter(|way| way.is_watched()).cloned().collect();
        let asking: JoinSet<()> = ways.into_iter().map(ask).collect();
        stop.run_until_cancelled_owned(asking.join_all()).await;
    }

    /// How long whoever charges a limit waits for the answer before the limit's
    /// outage policy decides: one bound for all callers.
    pub fn ratelimit_deadline(&self) -> Duration {
        self.ratelimit_deadline
    }

    /// Sets the way to `role`.
    pub fn set(&self, role: Role, transport: Transport) {
        self.ways.write().insert(role, transport);
    }

    /// The way to `role`; one that answers UNAVAILABLE where none is known.
    pub fn get(&self, role: Role) -> Transport {
        self.ways.read().get(&role).cloned().unwrap_or_else(|| Transport::absent(role.name()))
    }
}

/// What the answer says is seen where each answer is, by the way's standing.
async fn ask(way: Transport) {
    let mut diagnostics = DiagnosticsServiceClient::new(way);
    loop {
        let pause = ASKED_EVERY.mul_f64(rand::rng().random_range(SPREAD));
        tokio::time::sleep(pause).await;
        let mut question = Request::new(DescribeRequest::default());
        question.set_timeout(PATIENCE);
        let _ = diagnostics.describe(question).await;
    }
}
