//! Which server has which keys: one has them all, or each of a cluster some.

use std::{ops::Deref, sync::Arc};

use super::{
    cluster::{Cluster, Redirect},
    fault,
    node::Node,
    place::Place,
};
use crate::Result;

/// See the module.
pub(super) enum Servers {
    /// The same one for all.
    One(Box<Node>, Arc<Place>),
    /// One for each slot.
    Cluster(Arc<Cluster>),
}

/// One of them. Of the one that has all no count of references is kept: every
/// call of every thread would write to it.
pub(super) enum Server<'a> {
    Only(&'a Node),
    Member(Arc<Node>),
}

impl Deref for Server<'_> {
    type Target = Node;

    fn deref(&self) -> &Node {
        match self {
            Self::Only(node) => node,
            Self::Member(node) => node,
        }
    }
}

/// Whom to ask, and how.
pub(super) struct Way<'a> {
    pub(super) server: Server<'a>,
    /// It is about to get the slot, and answers whoever says to know that.
    pub(super) asking: bool,
}

impl Way<'_> {
    pub(super) fn is(&self, other: &Self) -> bool {
        std::ptr::eq(&*self.server, &*other.server) && self.asking == other.asking
    }
}

impl Servers {
    /// To the server that has this slot; any, when there is none.
    pub(super) fn way(&self, slot: impl FnOnce() -> Option<u16>) -> Result<Way<'_>> {
        let server = match self {
            Self::One(node, _) => Server::Only(node),
            Self::Cluster(cluster) => Server::Member(cluster.node(slot())?),
        };
        Ok(Way { server, asking: false })
    }

    /// The way on, of who asked for this slot and was sent elsewhere.
    pub(super) fn follow(
        &self,
        redirect: &Redirect,
        slot: impl FnOnce() -> Option<u16>,
    ) -> Result<Way<'_>> {
        match self {
            // It has become part of a cluster, and is given up with the next connection.
            Self::One(..) => Err(fault::away()),
            Self::Cluster(cluster) => match redirect {
                Redirect::Moved(slot, to) => {
                    Ok(Way { server: Server::Member(cluster.moved(*slot, to)), asking: false })
                }
                Redirect::Ask(to) => {
                    Ok(Way { server: Server::Member(cluster.at(to)), asking: true })
                }
                Redirect::Again => self.way(slot),
            },
        }
    }

    /// True when every key can be asked for.
    pub(super) fn are_live(&self) -> bool {
        match self {
            Self::One(node, _) => node.commands().is_live(),
            Self::Cluster(cluster) => cluster.is_live(),
        }
    }

    /// Waits until every key can be asked for. Cancel safe.
    pub(super) async fn live(&self) {
        match self {
            Self::One(node, _) => node.commands().live().await,
            Self::Cluster(cluster) => cluster.live().await,
        }
    }
}
