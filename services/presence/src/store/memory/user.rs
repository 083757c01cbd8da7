//! A user and the look that is planned.

use std::sync::Arc;

use super::nodes::Incarnation;
use crate::domain::{Holder, Lease, User};

/// Stands for "no look planned".
const NEVER: i64 = i64::MAX;

impl Holder for Arc<Incarnation> {
    fn node_id(&self) -> &str {
        &self.node_id
    }

    fn lease(&self) -> Lease {
        Incarnation::lease(self)
    }

    fn is(&self, other: &Self) -> bool {
        Self::ptr_eq(self, other)
    }

    fn count(&self, sockets: i64) {
        Incarnation::count(self, sockets);
    }
}

/// One user.
pub(super) struct Kept {
    pub(super) user: User<Arc<Incarnation>>,
    /// The entry of the due queue that counts.
    look_at: i64,
}

impl Kept {
    pub(super) const fn new() -> Self {
        Self { user: User::new(), look_at: NEVER }
    }

    /// Plans a look at `at`; false when an earlier one is planned.
    pub(super) fn plan(&mut self, at: i64) -> bool {
        let sooner = at < self.look_at;
        if sooner {
            self.look_at = at;
        }
        sooner
    }

    /// True when the look planned at `at` is the one that counts.
    pub(super) fn looked(&mut self, at: i64) -> bool {
        let counts = self.look_at == at;
        if counts {
            self.look_at = NEVER;
        }
        counts
    }
}
