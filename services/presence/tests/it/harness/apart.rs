//! The role's background work, apart from the test's.

use std::time::Duration;

use tokio::{
    runtime::{Builder, Runtime},
    task::{block_in_place, yield_now},
};

/// A runtime whose time stands still and in which nothing runs unless told to,
/// so that the role sweeps when the test says so and never in between.
pub(crate) struct Apart(Option<Runtime>);

impl Apart {
    pub(crate) fn new() -> Self {
        let mut builder = Builder::new_current_thread();
        Self(Some(builder.enable_time().start_paused(true).build().unwrap()))
    }

    /// Runs `work` to its end, and once whatever it began.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = self.0.as_ref().expect("taken only by drop");
        block_in_place(|| {
            runtime.block_on(async {
                let result = work.await;
                yield_now().await;
                result
            })
        })
    }

    /// Lets `span` pass, and what is due by its end happen. Idle, this time
    /// jumps: it is not waited for.
    pub(crate) fn pass(&self, span: Duration) {
        self.run(async { drop(tokio::time::timeout(span, std::future::pending::<()>()).await) });
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waits for nothing, which a test's runtime does not allow.
            runtime.shutdown_background();
        }
    }
}
