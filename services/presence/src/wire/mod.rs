//! The protocol: every rule of its fields, and the way to the domain and back.

mod fields;
mod reply;
mod request;

pub(crate) use reply::{presence, superseded};
pub(crate) use request::{
    Action, Claims, Ending, Registration, Renewal, Socket, Target, user, users,
};
