//! When the rows could not be read, and which leases that excuses.

/// The outages that one process saw.
#[derive(Default)]
pub(super) struct Outages {
    /// When the rows were last read.
    read: Option<i64>,
    is_away: bool,
    /// The last outage: its begin and its end.
    last: Option<(i64, i64)>,
}

impl Outages {
    /// The rows cannot be read.
    pub(super) fn begun(&mut self) {
        self.is_away = true;
    }

    /// The rows were read at `now`. The first time it is not known since when
    /// they were not.
    pub(super) fn over(&mut self, now: i64) {
        let begin = match self.read {
            None => Some(i64::MIN),
            Some(read) => self.is_away.then_some(read),
        };
        if let Some(begin) = begin {
            self.last = Some((begin, now));
        }
        (self.read, self.is_away) = (Some(now), false);
    }

    /// By when a lease must have ended to be over at `now`. Nobody can renew one
    /// while the rows are away: after that, whoever asks for a ticket now and then
    /// has the time of a lease to do so again.
    pub(super) fn leases(&self, now: i64, lease_ms: i64) -> i64 {
        match self.last {
            Some((begin, end)) if now < end + lease_ms => begin,
            _ => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Outages;

    const LEASE: i64 = 30;

    #[test]
    fn leases_that_ended_in_an_outage_are_spared_for_the_time_of_one() {
        let mut outages = Outages::default();
        outages.over(100);
        assert_eq!(outages.leases(129, LEASE), i64::MIN, "what was before the start is not known");
        assert_eq!(outages.leases(130, LEASE), 130);
        outages.over(200);
        outages.begun();
        outages.begun();
        outages.over(300);
        outages.over(301);
        assert_eq!(outages.leases(329, LEASE), 200, "what ended before the outage is over");
        assert_eq!(outages.leases(330, LEASE), 330);
    }
}
