//! A start waits for a server that is away.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{Error, Result};

/// Between two tries.
const BACK_OFF: Duration = Duration::from_secs(1);

/// How long a start still waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience(Instant);

impl Patience {
    /// For so long from now on.
    pub fn of(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }

    /// Waits until what failed is worth another try; the failure is told.
    ///
    /// **Errors**: `error` itself when it will not pass, or no time is left.
    pub async fn outlast(self, error: Error, tell: impl Fn(&Error)) -> Result<()> {
        if !error.is_transient() {
            return Err(error);
        }
        tell(&error);
        if Instant::now() + BACK_OFF >= self.0 {
            return Err(error);
        }
        sleep(BACK_OFF).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use tokio::time::Instant;

    use super::Patience;
    use crate::{Error, ErrorKind};

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_outlasted_and_what_stays_is_not() {
        let (begun, told) = (Instant::now(), Cell::new(0));
        let patience = Patience::of(Duration::from_secs(3));
        let fails = async |kind| {
            patience.outlast(Error::new(kind, "rows"), |_| told.set(told.get() + 1)).await
        };
        assert!(fails(ErrorKind::Unsupported).await.is_err());
        assert_eq!((told.get(), begun.elapsed()), (0, Duration::ZERO));
        assert!(fails(ErrorKind::Unavailable).await.is_ok());
        assert!(fails(ErrorKind::Timeout).await.is_ok());
        assert!(fails(ErrorKind::Unavailable).await.is_err(), "there is no time for another try");
        assert_eq!((told.get(), begun.elapsed()), (3, Duration::from_secs(2)));
    }
}
