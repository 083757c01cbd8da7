//! Many servers, each with some of the slots.
//!
//! Every second each of them is asked for all; of different answers the one of
//! the latest election (`cluster_current_epoch`) holds, and of a server that does not
//! see most of the others none does. An earlier one counts again when nobody has
//! told of the later for ten seconds. Whoever asks the wrong server is sent to the
//! right one, which is believed at once, for this slot.
//!
//! Each server has connections of its own: one that is away is away for its
//! slots. One that has got none for a minute is forgotten.

mod follow;
pub(crate) mod hash;
mod map;
mod member;
mod redirect;
mod view;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use redis::{Client, ConnectionInfo, ProtocolVersion, RedisError, RedisResult};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

pub(crate) use map::Owners;
pub(super) use member::Member;
pub(super) use redirect::Redirect;

pub(crate) use super::place::Address;

use super::{
    fault,
    fence::{Fence, Identity},
    manager::Of,
    node::Node,
    options::Terms,
    place::{Place, at},
    slot::FIRST,
};
use crate::Result;
use map::Map;

/// What one server may take for its answer.
const ANSWER: Duration = Duration::from_millis(500);
/// How to begin.
pub(super) struct Start {
    /// Whom to ask first.
    pub(super) seeds: Vec<Address>,
    /// How to speak to a server, with the address of another.
    pub(super) server: ConnectionInfo,
    pub(super) prefix: String,
    pub(super) terms: Terms,
    pub(super) stop: CancellationToken,
}

/// By address, and when each was of use last.
type Nodes = HashMap<Address, (Arc<Node>, Instant)>;

/// See the module.
pub(crate) struct Cluster {
    me: Weak<Self>,
    start: Start,
    fence: Arc<Fence>,
    /// What the fence has compared, by field.
    passed: Mutex<HashMap<String, Identity>>,
    /// Whose turn it is to ask the fence.
    turn: tokio::sync::Mutex<()>,
    map: watch::Sender<Map>,
    /// The epoch that is followed, and when it was told of last.
    held: Mutex<Option<(u64, Instant)>>,
    /// Those of the map and guests. Locked from before one begins to connect until the
    /// map says what it has.
    nodes: Mutex<Nodes>,
    wake: Notify,
    /// Why nobody tells of the slots, as the log was told.
    trouble: Mutex<Option<RedisError>>,
}

impl Cluster {
    /// Asks until `stop`, or until it is dropped.
    pub(super) fn start(start: Start) -> Arc<Self> {
        let name = format!("the cluster of {}", start.server.addr());
        let fence = Arc::new(Fence::new(&start.prefix, name));
        let stop = start.stop.clone();
        let cluster = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            start,
            fence,
            passed: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            map: watch::Sender::default(),
            held: Mutex::default(),
            nodes: Mutex::default(),
            wake: Notify::new(),
            trouble: Mutex::default(),
        });
        let following = follow::follow(cluster.me.clone());
        tokio::spawn(async move { stop.run_until_cancelled(following).await });
        cluster
    }

    pub(super) fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Waits for who has which slot and for the first attempts at them, or a second.
    pub(super) async fn begun(&self) {
        let beginning = async {
            // It ends with the cluster, which is borrowed here.
            let _ = self.map.subscribe().wait_for(Map::is_whole).await;
            for (_, node) in self.nodes_of_map() {
                node.begun().await;
            }
        };
        // Without them the process begins all the same.
        let _ = timeout(FIRST, beginning).await;
    }

    /// The node of this slot; any, when there is none.
    ///
    /// **Errors**: Unavailable, when none is known to have it.
    pub(super) fn node(&self, slot: Option<u16>) -> Result<Arc<Node>> {
        let map = self.map.borrow();
        let any = || {
            let nodes = || map.nodes().iter().map(|(_, node)| node);
            nodes().find(|node| node.commands().is_live()).or_else(|| nodes().next())
        };
        let node = slot.map_or_else(any, |slot| map.node(slot));
        node.cloned().ok_or_else(fault::away)
    }

    /// A slot has moved there.
    pub(super) fn moved(&self, slot: u16, to: &Address) -> Arc<Node> {
        let mut nodes = self.nodes.lock();
        let node = self.node_at(&mut nodes, to);
        self.map.send_if_modified(|map| {
            let is_new = !map.has(to, slot);
            if is_new {
                *map = map.with(slot, to, &node);
            }
            is_new
        });
        self.wake.notify_one();
        node
    }

    /// The node at an address.
    pub(super) fn at(&self, address: &Address) -> Arc<Node> {
        self.node_at(&mut self.nodes.lock(), address)
    }

    fn node_at(&self, nodes: &mut Nodes, address: &Address) -> Arc<Node> {
        let now = Instant::now();
        let (node, used) =
            nodes.entry(address.clone()).or_insert_with(|| (self.connect(address), now));
        *used = now;
        node.clone()
    }

    pub(super) fn is_live(&self) -> bool {
        let map = self.map.borrow();
        map.is_whole() && map.nodes().iter().all(|(_, node)| node.commands().is_live())
    }

    /// Waits until each slot has a server with a connection. Cancel safe.
    pub(super) async fn live(&self) {
        let mut changes = self.map.subscribe();
        loop {
            // It ends with the cluster, which is borrowed here.
            let _ = changes.wait_for(Map::is_whole).await;
            for (_, node) in self.nodes_of_map() {
                tokio::select! {
                    () = node.commands().live() => {}
                    _ = changes.changed() => {}
                }
            }
            if self.is_live() {
                return;
            }
        }
    }

    /// A client of a server that answers.
    pub(super) async fn find(&self) -> RedisResult<Client> {
        let live = |(_, node): &&(Address, Arc<Node>)| node.commands().is_live();
        let known = {
            let map = self.map.borrow();
            map.nodes().iter().find(live).map(|(address, _)| address.clone())
        };
        if let Some(address) = known {
            return self.client(&address);
        }
        let mut failed = None;
        for address in &self.start.seeds {
            let client = self.client(address)?;
            match timeout(ANSWER, client.get_multiplexed_async_connection()).await {
                Ok(Ok(_)) => return Ok(client),
                Ok(Err(error)) => failed = Some(error),
                Err(_) => {}
            }
        }
        Err(failed.unwrap_or_else(fault::silent))
    }

    /// A client of each server that has slots, as far as they are known.
    pub(super) fn clients(&self) -> RedisResult<Vec<Client>> {
        self.nodes_of_map().iter().map(|(address, _)| self.client(address)).collect()
    }

    /// A client for a connection that listens: by RESP3, which tells what was asked
    /// and what was published apart.
    pub(crate) fn listener(&self, address: &Address) -> RedisResult<Client> {
        let info = self.client(address)?.get_connection_info().clone();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Client::open(info.set_redis_settings(settings))
    }

    /// Who has which slot, now and later.
    pub(crate) fn owners(&self) -> Owners {
        Owners(self.map.subscribe())
    }

    /// Looks anew at who has which slot.
    pub(crate) fn look_anew(&self) {
        self.wake.notify_one();
    }

    fn client(&self, address: &Address) -> RedisResult<Client> {
        let server = &self.start.server;
        Client::open(server.clone().set_addr(at(server.addr(), address)))
    }

    fn connect(&self, address: &Address) -> Arc<Node> {
        let Start { server, terms, stop, .. } = &self.start;
        let place = Place::Member(server.clone().set_addr(at(server.addr(), address)));
        let of = Of::Cluster(self.me.clone(), address.clone());
        Arc::new(Node::start(place.into(), of, *terms, stop))
    }

    fn nodes_of_map(&self) -> Vec<(Address, Arc<Node>)> {
        self.map.borrow().nodes().to_vec()
    }
}
