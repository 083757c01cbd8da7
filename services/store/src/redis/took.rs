//! How long the server takes to answer.

use std::{sync::OnceLock, time::Duration};

use metrics::Histogram;

/// Of what is asked under one name. Looked up once: to name it costs more than to record.
#[derive(Debug)]
pub(super) struct Took {
    name: &'static str,
    recorder: OnceLock<Histogram>,
}

impl Took {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, recorder: OnceLock::new() }
    }

    pub(super) fn record(&self, time: Duration) {
        let recorder = || metrics::histogram!("mingle_redis_seconds", "script" => self.name);
        self.recorder.get_or_init(recorder).record(time);
    }
}
