//! Redis away: each process decides alone, and all count together again by
//! themselves.

mod replies;
mod sides;
mod steps;
