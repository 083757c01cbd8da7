//! Every process is asked how it is, for at most a second.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use mingle_proto::{
    cache::v1 as ca,
    matchmaking::v1::{self as mm, matchmaking_service_client::MatchmakingServiceClient},
    presence::v1::{self as pr, presence_service_client::PresenceServiceClient},
    runtime::v1::DescribeResponse,
};
use mingle_runtime::{
    Context, Role,
    grpc::remote::{Instance, Silence},
    states::States,
};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tonic::Request;

use super::caches;
use crate::Now;

/// How long one process is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Processes that are asked; further ones are not, which is told.
const MOST: usize = 256;

/// What was found.
#[derive(Default)]
pub(crate) struct Survey {
    /// When, in milliseconds since 1970.
    pub(super) at_ms: i64,
    /// This gateway is ready.
    pub(super) is_ready: bool,
    /// The roles that are not well.
    pub(super) states: States,
    /// Every process, by its first role.
    pub(super) nodes: Vec<Node>,
    /// Who is online.
    pub(super) online: Option<pr::CountResponse>,
    /// The pools.
    pub(super) pools: Vec<mm::PoolSummary>,
    /// What each process of the cache says of each of its namespaces.
    pub(super) caches: Vec<ca::NamespaceStats>,
    /// What nobody could tell.
    pub(super) unknown: Vec<&'static str>,
}

/// A process.
pub(super) struct Node {
    /// As it says itself, or said when it last answered.
    pub(super) id: String,
    pub(super) roles: Vec<String>,
    pub(super) build: String,
    /// Where it was asked; empty of this process, and of one that was not.
    pub(super) address: String,
    pub(super) seen: Seen,
}

/// What it said.
pub(super) enum Seen {
    /// All of it.
    Up(Box<DescribeResponse>),
    /// Nothing.
    Not(Silence),
    /// It was not asked: presence knows of it, and nobody where it is.
    Unasked,
}

impl Seen {
    /// As operators read it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Up(_) => "up",
            Self::Not(silence) => silence.name(),
            Self::Unasked => "unasked",
        }
    }
}

impl Node {
    /// What it said, if it did.
    pub(super) fn said(&self) -> Option<&DescribeResponse> {
        match &self.seen {
            Seen::Up(said) => Some(said),
            Seen::Not(_) | Seen::Unasked => None,
        }
    }

    pub(super) fn up(said: DescribeResponse, address: String) -> Self {
        let (id, roles, build) = (said.node_id.clone(), said.roles.clone(), said.build.clone());
        Self { id, roles, build, address, seen: Seen::Up(Box::new(said)) }
    }
}

/// Who was at an address when it last answered: its id, roles and build. Of
/// addresses that are asked still.
pub(super) type Known = HashMap<String, (String, Vec<String>, String)>;

type Answer = Result<DescribeResponse, Silence>;

/// Asks everybody.
pub(super) async fn look(ctx: Context, now: Now, known: Arc<Mutex<Known>>) -> Survey {
    let (asked, left_out) = instances(&ctx);
    let addresses: BTreeMap<String, BTreeSet<Role>> = roles_by_address(&asked);
    let (own, answers, online, pools, (caches, knows_caches), gateways) = tokio::join!(
        ctx.diagnostics.describe_with_figures(),
        ask(asked),
        count(&ctx),
        pools(&ctx),
        caches::look(&ctx),
        gateways(&ctx),
    );
    let mut nodes = merge(own, answers, &addresses, &mut known.lock());
    let unasked = unasked(gateways.as_deref().unwrap_or_default(), &nodes);
    // What those have is missing in every sum.
    let knows_gateways = gateways.is_some() && unasked.is_empty();
    nodes.extend(unasked);
    nodes.sort_by_key(|node| (rank(node), node.id.clone(), node.address.clone()));
    let unknown = [
        (online.is_none(), "online"),
        (pools.is_none(), "pools"),
        (!knows_caches, "caches"),
        (!knows_gateways, "gateways"),
        (left_out, "nodes"),
    ];
    let states = ctx.diagnostics.by_role(&ctx.health.degraded().borrow());
    Survey {
        at_ms: now(),
        is_ready: ctx.health.is_ready(),
        states,
        nodes,
        online,
        pools: pools.unwrap_or_default(),
        caches,
        unknown: unknown.into_iter().filter_map(|(is_so, what)| is_so.then_some(what)).collect(),
    }
}

/// Whom to ask, and whether there are more than may be.
fn instances(ctx: &Context) -> (Vec<(Role, Instance)>, bool) {
    let of = |role: Role| {
        ctx.peers.get(role).instances().into_iter().map(move |instance| (role, instance))
    };
    let mut all: Vec<_> = Role::ALL.into_iter().flat_map(of).collect();
    let left_out = all.len() > MOST;
    all.truncate(MOST);
    (all, left_out)
}

fn roles_by_address(asked: &[(Role, Instance)]) -> BTreeMap<String, BTreeSet<Role>> {
    let mut roles = BTreeMap::<_, BTreeSet<_>>::new();
    for (role, instance) in asked {
        roles.entry(instance.address().to_owned()).or_default().insert(*role);
    }
    roles
}

/// An answer of each address, in no order.
async fn ask(asked: Vec<(Role, Instance)>) -> Vec<(String, Answer)> {
    let instances: HashMap<String, Instance> =
        asked.into_iter().map(|(_, instance)| (instance.address().to_owned(), instance)).collect();
    let ask = |(address, instance): (String, Instance)| async move {
        (address, instance.describe(PATIENCE).await)
    };
    instances.into_iter().map(ask).collect::<JoinSet<_>>().join_all().await
}

/// This process and those that were asked, each once.
fn merge(
    own: DescribeResponse,
    answers: Vec<(String, Answer)>,
    addresses: &BTreeMap<String, BTreeSet<Role>>,
    known: &mut Known,
) -> Vec<Node> {
    known.retain(|address, _| addresses.contains_key(address));
    let mut nodes = vec![Node::up(own, String::new())];
    let mut silent = Vec::new();
    for (address, answer) in answers {
        match answer {
            Ok(said) => {
                let node = Node::up(said, address.clone());
                known.insert(address, (node.id.clone(), node.roles.clone(), node.build.clone()));
                if nodes.iter().all(|other| other.id != node.id) {
                    nodes.push(node);
                }
            }
            Err(silence) => silent.push((address, silence)),
        }
    }
    for (address, silence) in silent {
        let asked_of = addresses.get(&address).into_iter().flatten();
        let asked_of = || asked_of.map(ToString::to_string).collect();
        let (id, roles, build) = known
            .get(&address)
            .cloned()
            .unwrap_or_else(|| (String::new(), asked_of(), String::new()));
        // Who answers elsewhere is there.
        if id.is_empty() || nodes.iter().all(|other| other.id != id) {
            nodes.push(Node { id, roles, build, address, seen: Seen::Not(silence) });
        }
    }
    nodes
}

/// The gateways that presence knows beside those.
fn unasked(gateways: &[pr::Node], nodes: &[Node]) -> Vec<Node> {
    let is_new = |gateway: &&pr::Node| nodes.iter().all(|node| node.id != gateway.node_id);
    let node = |gateway: &pr::Node| Node {
        id: gateway.node_id.clone(),
        roles: vec![Role::Gateway.to_string()],
        build: gateway.version.clone(),
        address: String::new(),
        seen: Seen::Unasked,
    };
    gateways.iter().filter(is_new).take(MOST).map(node).collect()
}

/// Its first role, in the order of the call graph.
fn rank(node: &Node) -> Option<Role> {
    node.roles.iter().filter_map(|role| role.parse().ok()).min()
}

pub(super) fn bounded<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

async fn count(ctx: &Context) -> Option<pr::CountResponse> {
    let mut presence = PresenceServiceClient::new(ctx.peers.get(Role::Presence));
    Some(presence.count(bounded(pr::CountRequest {})).await.ok()?.into_inner())
}

async fn gateways(ctx: &Context) -> Option<Vec<pr::Node>> {
    let mut presence = PresenceServiceClient::new(ctx.peers.get(Role::Presence));
    let nodes =
        presence.list_nodes(bounded(pr::ListNodesRequest {})).await.ok()?.into_inner().nodes;
    Some(nodes.into_iter().filter(|node| node.role == Role::Gateway.name()).collect())
}

async fn pools(ctx: &Context) -> Option<Vec<mm::PoolSummary>> {
    let mut matchmaking = MatchmakingServiceClient::new(ctx.peers.get(Role::Matchmaking));
    Some(matchmaking.list_pools(bounded(mm::ListPoolsRequest {})).await.ok()?.into_inner().pools)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(id: &str, roles: &[&str]) -> DescribeResponse {
        let roles = roles.iter().map(ToString::to_string).collect();
        DescribeResponse { node_id: id.to_owned(), roles, ..Default::default() }
    }

    fn told(nodes: &[Node]) -> Vec<(&str, String, &str)> {
        nodes.iter().map(|node| (&*node.id, node.roles.join(","), node.seen.name())).collect()
    }

    #[test]
    fn each_process_is_there_once_and_keeps_its_name_when_it_is_silent() {
        let roles = |roles: &[Role]| roles.iter().copied().collect::<BTreeSet<_>>();
        let addresses = BTreeMap::from([
            ("a:1".to_owned(), roles(&[Role::Chat, Role::Presence])),
            ("b:1".to_owned(), roles(&[Role::Chat])),
            ("c:1".to_owned(), roles(&[Role::Gateway])),
        ]);
        let own = || said("own", &["gateway"]);
        let mut known = Known::from([("gone:1".to_owned(), Default::default())]);
        let up = vec![
            ("a:1".to_owned(), Ok(said("one", &["chat", "presence"]))),
            ("b:1".to_owned(), Err(Silence::Unreachable)),
            ("c:1".to_owned(), Ok(own())),
        ];
        let nodes = merge(own(), up, &addresses, &mut known);
        assert_eq!(
            told(&nodes),
            [
                ("own", "gateway".to_owned(), "up"),
                ("one", "chat,presence".to_owned(), "up"),
                ("", "chat".to_owned(), "unreachable"),
            ]
        );
        assert!(!known.contains_key("gone:1"));
        let frozen = vec![("a:1".to_owned(), Err(Silence::Silent))];
        let nodes = merge(own(), frozen, &addresses, &mut known);
        assert_eq!(told(&nodes)[1], ("one", "chat,presence".to_owned(), "silent"));

        let gateway = |id: &str| pr::Node { node_id: id.to_owned(), ..Default::default() };
        let others = unasked(&[gateway("own"), gateway("other")], &nodes);
        assert_eq!(told(&others), [("other", "gateway".to_owned(), "unasked")]);
    }
}
