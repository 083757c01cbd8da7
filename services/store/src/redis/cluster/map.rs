//! Which node has which slot.

use std::sync::Arc;

use tokio::sync::watch;

use super::{hash::SLOTS, view::View};
use crate::redis::{node::Node, place::Address};

/// A slot that nobody has.
const NONE: u16 = u16::MAX;

/// See the module. Replaced as a whole, never changed.
#[derive(Clone, Default)]
pub(super) struct Map {
    /// By slot, an index of `nodes`; empty before the first view.
    owners: Vec<u16>,
    nodes: Vec<(Address, Arc<Node>)>,
    /// Servers that have no slots, to be asked when none of the others answers.
    pub(super) replicas: Vec<Address>,
}

impl Map {
    /// What a view says, and what was so `before` where it knows no name.
    pub(super) fn new(
        view: &View,
        before: &Self,
        mut node: impl FnMut(&Address) -> Arc<Node>,
    ) -> Self {
        let mut map = Self {
            owners: vec![NONE; usize::from(SLOTS)],
            nodes: Vec::new(),
            replicas: view.replicas.clone(),
        };
        for (first, last, address) in &view.ranges {
            if let Some(address) = address {
                let at = map.index(address, &mut node);
                map.owners[usize::from(*first)..=usize::from(*last)].fill(at);
                continue;
            }
            for slot in *first..=*last {
                if let Some((owner, _)) = before.owner(slot) {
                    map.owners[usize::from(slot)] = map.index(owner, &mut node);
                }
            }
        }
        map
    }

    /// True when it says the same.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        let addresses =
            |map: &Self| -> Vec<_> { map.nodes.iter().map(|(of, _)| of.clone()).collect() };
        self.owners == other.owners
            && self.replicas == other.replicas
            && addresses(self) == addresses(other)
    }

    /// The same, but for one slot.
    pub(super) fn with(&self, slot: u16, address: &Address, node: &Arc<Node>) -> Self {
        let mut map = self.clone();
        let at = map.index(address, &mut |_| node.clone());
        if let Some(owner) = map.owners.get_mut(usize::from(slot)) {
            *owner = at;
        }
        map
    }

    pub(super) fn node(&self, slot: u16) -> Option<&Arc<Node>> {
        self.owner(slot).map(|(_, node)| node)
    }

    pub(super) fn nodes(&self) -> &[(Address, Arc<Node>)] {
        &self.nodes
    }

    /// True when somebody has each slot.
    pub(super) fn is_whole(&self) -> bool {
        !self.owners.is_empty() && !self.owners.contains(&NONE)
    }

    /// True when it has the slot.
    pub(super) fn has(&self, address: &Address, slot: u16) -> bool {
        self.owner(slot).is_some_and(|(owner, _)| owner == address)
    }

    /// True when it has any.
    pub(super) fn has_any(&self, address: &Address) -> bool {
        let at = self.nodes.iter().position(|(of, _)| of == address);
        let at = at.and_then(|at| u16::try_from(at).ok());
        at.is_some_and(|at| self.owners.contains(&at))
    }

    fn owner(&self, slot: u16) -> Option<&(Address, Arc<Node>)> {
        self.nodes.get(usize::from(*self.owners.get(usize::from(slot))?))
    }

    fn index(&mut self, address: &Address, node: &mut impl FnMut(&Address) -> Arc<Node>) -> u16 {
        let at = self.nodes.iter().position(|(of, _)| of == address).unwrap_or_else(|| {
            self.nodes.push((address.clone(), node(address)));
            self.nodes.len() - 1
        });
        // Each has a slot at least, of which there are fewer than 2^16.
        u16::try_from(at).unwrap_or(NONE)
    }
}

/// Who has which slot, for whoever listens there.
#[derive(Clone)]
pub(crate) struct Owners(pub(super) watch::Receiver<Map>);

impl Owners {
    /// Who has it: `None` while nobody does.
    pub(crate) fn of(&self, slot: u16) -> Option<Address> {
        self.0.borrow().owner(slot).map(|(address, _)| address.clone())
    }

    /// Waits until that may have changed. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody asks any more.
            std::future::pending::<()>().await;
        }
    }
}
