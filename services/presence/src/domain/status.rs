//! What a session shows.

/// What a session shows. Ordered by presence: of several sessions of one user
/// the greatest counts, `Online > Busy > Away`. Whoever is busy is at a
/// device; whoever is away may not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Connected, not attending.
    Away,
    /// Attending, not to be disturbed.
    Busy,
    /// Here.
    Online,
}
