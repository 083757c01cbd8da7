//! Redis away: each process decides alone, and all count together again by
//! themselves.

mod after;
mod replies;
mod sides;
mod steps;
