//! What a user shows: their sessions, their nodes' leases, and the time.

use super::{Life, Phase, Status, Terms};

/// One user's presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Who.
    pub user_id: String,
    /// What they show; `None` is offline, unless `unknown`.
    pub status: Option<Status>,
    /// True when nobody can tell now whether they are offline.
    pub unknown: bool,
    /// True when what is stored of them cannot be read, by any process of this
    /// version; then they are `unknown` until they claim a session anew.
    pub unreadable: bool,
    /// The last proof of life; `None` for a user never seen.
    pub last_seen: Option<i64>,
    /// Sessions that are live now.
    pub sessions: u32,
}

impl Presence {
    /// True when it may be known soon, or elsewhere, who is unknown here.
    pub fn is_in_doubt(&self) -> bool {
        self.unknown && !self.unreadable
    }
}

/// What the sessions of one user add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The most present status of the sessions that are live or in grace;
    /// `None` is offline. Those in grace count, so that a return makes no
    /// event.
    pub status: Option<Status>,
    /// The last proof of life of all sessions, the gone ones too.
    pub last_seen: Option<i64>,
    /// Sessions that are live.
    pub live: u32,
    /// The next moment at which a session that ended is gone, unless it returns
    /// or its node's lease is renewed.
    pub next_at: Option<i64>,
}

/// Adds up the sessions of one user. Their order does not matter.
pub fn shown(lives: impl IntoIterator<Item = Life>, now: i64, terms: &Terms) -> Shown {
    let mut shown = Shown::default();
    for life in lives {
        shown.last_seen = shown.last_seen.max(Some(life.seen_at()));
        let phase = life.phase(now, terms);
        if phase == Phase::Gone {
            continue;
        }
        shown.status = shown.status.max(Some(life.status));
        if phase == Phase::Live {
            shown.live += 1;
        } else {
            let gone_at = life.gone_at(terms);
            shown.next_at = Some(shown.next_at.map_or(gone_at, |next| next.min(gone_at)));
        }
    }
    shown
}
