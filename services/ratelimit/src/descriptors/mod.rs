//! Limits of descriptors: what Envoy and its like ask about, in the YAML format of
//! [envoyproxy/ratelimit](https://github.com/envoyproxy/ratelimit#configuration).
//!
//! A request names a *domain* and descriptors, each a list of entries of key and
//! value. The domain's rules are a tree: entry by entry the one of the same value is
//! followed, else the first whose value has wildcards and matches, else the one without
//! a value. The rule that the last entry leads to is that of the descriptor. It counts
//! by all entries: each value has a count of its own.
//!
//! | key | what of it |
//! | --- | --- |
//! | `domain`, `descriptors`, `key`, `value`, `rate_limit`, `unit`, `requests_per_unit`, `unlimited`, `name`, `replaces`, `shadow_mode`, `quota_mode`, `share_threshold` | as there |
//! | `detailed_metric`, `value_to_metric`, `metadata` | read, and without effect: metrics are by rule |
//! | `unit_multiplier`, or `window` in place of `unit` | other windows: 15 times `minute`, or `15m` |
//! | `algorithm`, `burst`, `outage` | as in `[ratelimit.limits]`; sliding_window if not said |
//! | `all_or_nothing`, beside `domain` | what one descriptor denies is charged to none |

mod compile;
mod file;

pub(crate) use compile::files;
pub use compile::read;

use std::{fmt, path::PathBuf};

/// Why files of rules cannot be used: all that is wrong with them.
#[derive(Debug)]
pub struct Problems(Vec<Problem>);

/// One fault, and where it is.
#[derive(Debug)]
struct Problem {
    file: PathBuf,
    /// Line and column, from 1; `None` of a file as a whole.
    at: Option<(u64, u64)>,
    what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some((line, column)) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.what)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            let end = if at + 1 == self.0.len() { "" } else { "\n" };
            write!(f, "{problem}{end}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
