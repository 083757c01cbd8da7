//! What nobody counts, and is looked at each time that metrics are asked for.

use parking_lot::Mutex;

static OBSERVED: Mutex<Vec<Show>> = Mutex::new(Vec::new());

type Show = Box<dyn Fn() -> bool + Send>;

/// Shows something as metrics, for as long as `show` answers true. It must not
/// wait, nor observe something else.
pub fn observe(show: impl Fn() -> bool + Send + 'static) {
    OBSERVED.lock().push(Box::new(show));
}

/// Shows how much waits in `lane`, for as long as `backlog` knows.
pub fn observe_lane(lane: &'static str, backlog: impl Fn() -> Option<usize> + Send + 'static) {
    let gauge = metrics::gauge!("mingle_lane_waiting", "lane" => lane);
    observe(move || {
        let waiting = backlog().map(|waiting| u32::try_from(waiting).unwrap_or(u32::MAX));
        waiting.map(|waiting| gauge.set(waiting)).is_some()
    });
}

pub(super) fn look() {
    OBSERVED.lock().retain(|show| show());
}
