//! The lease of a node: one renewal keeps all its sessions.

/// How long what lives.
///
/// **Units**: milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// A node counts as alive this long after its last renewal.
    pub lease_ms: i64,
    /// A session that ended may return this long without anyone noticing.
    pub grace_ms: i64,
    /// Live sessions that one user may have.
    pub max_sessions_per_user: usize,
}

/// The lease of one start of a node, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The last proof of life.
    pub renewed_at: i64,
    /// When a newer start of the same node replaced this one.
    pub replaced_at: Option<i64>,
}

impl Lease {
    /// When the lease ends, or ended, unless renewed. Its sessions are void
    /// from then on; their grace runs.
    pub fn ends_at(&self, terms: &Terms) -> i64 {
        let lapses = self.renewed_at.saturating_add(terms.lease_ms);
        self.replaced_at.map_or(lapses, |replaced| lapses.min(replaced))
    }

    /// True while the lease holds.
    pub fn holds(&self, now: i64, terms: &Terms) -> bool {
        now < self.ends_at(terms)
    }

    /// True when the grace is over too: nothing of it can return.
    pub fn is_gone(&self, now: i64, terms: &Terms) -> bool {
        now >= self.ends_at(terms).saturating_add(terms.grace_ms)
    }

    /// True when a renewal may still move it on.
    pub fn is_renewable(&self, now: i64, terms: &Terms) -> bool {
        self.replaced_at.is_none() && !self.is_gone(now, terms)
    }
}
