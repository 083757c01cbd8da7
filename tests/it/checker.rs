//! A checker of histories, as Jepsen's is: clients keep their own journals of
//! what they asked, were answered and heard; afterwards these are compared with
//! the rows, with History over HTTP and with each other.
//!
//! The verdict is a pure function of journals and rows; `planted` shows that it
//! finds what it looks for.

mod audit;
mod connection;
mod heard;
mod hearing;
mod journal;
mod matches;
mod messages;
mod pace;
mod person;
mod phase;
mod planted;
mod presence;
mod seeker;
mod speaker;
mod speech;
mod stranger;
mod verdict;
mod waits;

pub(crate) use audit::{histories, presences};
pub(crate) use journal::{Journal, What};
pub(crate) use matches::check as check_matches;
pub(crate) use person::{Person, Tally};
pub(crate) use phase::{Crowd, Phase};
pub(crate) use seeker::seek;
pub(crate) use speaker::speak;
pub(crate) use stranger::{Manner, live};
pub(crate) use verdict::{Verdict, Violation, check};
pub(crate) use waits::{Figures, figures};
