//! What this process follows on behalf of its sockets: one stream to each
//! service, however many sockets, rooms, tickets and users there are.

mod lag;
pub(crate) mod link;
pub(crate) mod people;
pub(crate) mod rooms;
pub(crate) mod sessions;
pub(crate) mod sockets;
pub(crate) mod tickets;
