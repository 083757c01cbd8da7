//! `mingle-bench <what>`: measures a running Mingle, and beside each figure its
//! floor: the least that the same work costs on this machine, in the same run,
//! in alternating pairs.
//!
//! | what | figures | floor |
//! |---|---|---|
//! | `main` | strangers who come, meet, talk and go: latency of each step, CPU of a conversation | the same talk at a bare WebSocket server |
//! | `rpc` | server CPU per unary call, throughput, latency | a bare tonic server |
//! | `connections` | resident memory per idle greeted socket | a bare tokio-tungstenite server |
//! | `match` | latency from a join to `matched` at a rate of joins | one INSERT and fsync per join |
//! | `chat` | latency from a send to the other's `message` at a rate of sends | the same INSERT in group commit |
//! | `rooms` | deliveries per second and server CPU of each, in rooms of many | a bare WebSocket server that passes it on |
//! | `versus-socketio` | the same, order, loss, memory | Socket.IO with its Redis adapter: not a floor |
//! | `ratelimit` | decisions of one process over Redis: server CPU, throughput, latency, scripts | a bare tonic server |
//! | `ratelimit-outage` | checks of a million subjects at a rate while Redis is frozen: latency, memory | bare tonic calls |
//! | `versus-limiters` | the same decisions, CPU of each | throttlecrab-server and rate-limiter-flexible: not floors |
//! | `cache` | reads of one process from its memory and from Redis: server CPU, throughput, latency | a bare tonic server |
//! | `cache-history` | pages of rooms from chat by index and from the memory of the cache: server CPU, throughput, latency | a bare tonic server |
//! | `versus-caches` | the same reads, CPU of each | bentocache, and Redis itself: not floors |
//! | `pool` | calls of Redis per second through the slots of `mingle-store` | one bare connection |
//! | `shards` | calls of two servers of a Redis Cluster while the third is frozen | while all serve |
//! | `slow` | latency to those who read beside 500 sockets that do not | the same without these |
//! | `sends` | durable sends per second, with and without group append | bare commits, grouped and one by one |
//!
//! With `--processes`, `match`, `chat` and `sends` run over several processes on
//! Redis and PostgreSQL: the CPU time of each role is told beside a bare hop, and
//! two who talk are on different gateways.
//!
//! The load generator shares the machine with the server, so that throughput is
//! diluted by it on few cores; the figure to compare is the CPU time of the
//! server process per request. Latency under a rate is counted from the moment
//! at which a request was due, not from when the generator got round to it.

mod cached;
mod chat;
mod child;
mod cli;
mod connections;
mod crowd;
mod decisions;
mod floor;
mod history;
mod latency;
mod load;
mod main_job;
mod matching;
mod meters;
mod npm;
mod pace;
mod plan;
mod pool;
mod proc;
mod processes;
mod report;
mod rooms;
mod rpc;
mod sends;
mod settings;
mod shards;
mod sockets;
mod stalled;
mod stats;
mod system;
mod token;
mod versus;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
