//! Who holds a session: compare-and-swap on its generation, and of two sockets that
//! ask for the same one whichever came later, in whatever order their claims are done:
//! the one before it may have been granted it and its welcome lost.

use std::cmp::Ordering;

/// The answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The claimant takes the session; whoever held it is superseded.
    Take,
    /// The claimant holds it already: a retry, answered like the first.
    Same,
    /// The session is at a newer generation, or at this one by a later socket.
    Held,
}

/// Decides the claim of `generation` by `connection` against what is stored:
/// the generation and the connection that hold the session.
pub fn claim(stored: Option<(u64, &str)>, generation: u64, connection: &str) -> Verdict {
    match stored {
        None => Verdict::Take,
        Some((held, _)) if generation > held => Verdict::Take,
        Some((held, holder)) if generation == held => match connection.cmp(holder) {
            Ordering::Greater => Verdict::Take,
            Ordering::Equal => Verdict::Same,
            Ordering::Less => Verdict::Held,
        },
        Some(_) => Verdict::Held,
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, claim};

    #[test]
    fn the_table() {
        assert_eq!(claim(None, 1, "a"), Verdict::Take);
        assert_eq!(claim(None, 7, "a"), Verdict::Take);
        assert_eq!(claim(Some((3, "a")), 4, "b"), Verdict::Take);
        assert_eq!(claim(Some((3, "a")), 9, "a"), Verdict::Take);
        assert_eq!(claim(Some((3, "a")), 3, "a"), Verdict::Same);
        assert_eq!(claim(Some((3, "a")), 3, "b"), Verdict::Take);
        assert_eq!(claim(Some((3, "b")), 3, "a"), Verdict::Held);
        assert_eq!(claim(Some((3, "a")), 2, "a"), Verdict::Held);
        assert_eq!(claim(Some((3, "a")), 2, "b"), Verdict::Held);
    }
}
