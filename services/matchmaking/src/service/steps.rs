//! What the log says of the sweep: that a step begins to fail, and that it works
//! again, with how often it failed meanwhile. Sweeps come each second; a line for
//! each would bury what else is told of an outage.

use std::collections::HashMap;

use mingle_store::Result;

/// The steps that fail now.
///
/// **Bounds**: one entry per step and pool.
#[derive(Default)]
pub(super) struct Steps(HashMap<(&'static str, String), u32>);

impl Steps {
    /// Takes the outcome of a step for `pool`, or for all when that is empty;
    /// answers what it brought.
    pub(super) fn report<T>(
        &mut self,
        step: &'static str,
        pool: &str,
        outcome: Result<T>,
    ) -> Option<T> {
        let key = (step, pool.to_owned());
        match outcome {
            Ok(brought) => {
                if let Some(failed) = self.0.remove(&key) {
                    tracing::info!(step, pool, failed, "a step of the sweep works again");
                }
                Some(brought)
            }
            Err(error) => {
                let failed = self.0.entry(key).or_default();
                *failed += 1;
                if *failed == 1 {
                    let next = "it is tried again each second";
                    tracing::warn!(step, pool, %error, next, "a step of the sweep fails");
                } else {
                    tracing::debug!(step, pool, failed, %error, "a step of the sweep still fails");
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mingle_store::{Error, ErrorKind};

    use super::Steps;

    #[test]
    fn a_step_is_remembered_for_as_long_as_it_fails() {
        let mut steps = Steps::default();
        let fails = || Err::<(), _>(Error::new(ErrorKind::Unavailable, "rows"));
        for failed in 1..=3 {
            assert_eq!(steps.report("rows", "", fails()), None);
            assert_eq!(steps.0.values().copied().collect::<Vec<_>>(), [failed]);
        }
        steps.report("rows", "other pool", Ok(()));
        assert_eq!(steps.0.len(), 1);
        assert_eq!(steps.report("rows", "", Ok(1)), Some(1));
        assert!(steps.0.is_empty());
    }
}
