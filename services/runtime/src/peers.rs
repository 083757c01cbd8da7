//! Where each role is reached.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;

use crate::{Role, grpc::Transport};

/// The transports to the roles that this process calls. Filled by the
/// composition root in the order of the call graph, which has no cycle: a role
/// is there before whoever calls it is bound.
#[derive(Clone, Default)]
pub struct Peers(Arc<RwLock<BTreeMap<Role, Transport>>>);

impl Peers {
    /// Sets the way to `role`.
    pub fn set(&self, role: Role, transport: Transport) {
        self.0.write().insert(role, transport);
    }

    /// The way to `role`; one that answers UNAVAILABLE where none is known.
    pub fn get(&self, role: Role) -> Transport {
        self.0.read().get(&role).cloned().unwrap_or_else(|| Transport::absent(role.name()))
    }
}
