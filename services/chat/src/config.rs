//! `[chat]`

use mingle_client::ratelimit::{Policy, Terms};
use mingle_runtime::config::{Problems, Section};
use serde::Deserialize;

use crate::service::LIMIT;

/// The settings of chat, as `config.default.toml` describes them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Wishes of one transaction at most.
    pub append_batch: usize,
    /// Silence that closes a pair room.
    pub pair_idle_ms: i64,
    /// How long events are kept.
    pub retention_days: i64,
    /// Between two looks for idle rooms and old events.
    pub sweep_ms: u64,
    /// Of one room.
    pub max_members: u32,
    /// Followed by one stream.
    pub stream_rooms: usize,
    /// Waiting for one stream.
    pub stream_queue_messages: usize,
    /// Waiting for one stream.
    pub stream_queue_bytes: usize,
    /// An event that came too early waits so long.
    pub hold_ms: u64,
    /// Between two comparisons with the database.
    pub heads_ms: u64,
    /// Of what one user says, while ratelimit does not answer.
    pub limit: Terms,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

impl Config {
    /// The limit that a message is charged to, as this process knows it.
    pub fn policy(&self) -> Policy {
        self.limit.of(LIMIT)
    }

    /// How long events are kept, in milliseconds.
    pub fn retention_ms(&self) -> i64 {
        self.retention_days.saturating_mul(DAY_MS)
    }
}

impl Section for Config {
    const NAME: &'static str = "chat";
    const DEFAULTS: &'static str = include_str!("../config.default.toml");

    fn validate(&self, problems: &mut Problems) {
        let mut within = |key: &str, holds: bool, why: &str| {
            problems.require(holds, &format!("chat.{key}"), why);
        };
        within("append_batch", (1..=256).contains(&self.append_batch), "must be 1 to 256");
        within("pair_idle_ms", self.pair_idle_ms >= 1000, "must be at least 1000");
        let days = (1..=36_500).contains(&self.retention_days);
        within("retention_days", days, "must be 1 to 36500");
        within("sweep_ms", (10..=86_400_000).contains(&self.sweep_ms), "must be 10 to 86400000");
        within("max_members", (2..=100_000).contains(&self.max_members), "must be 2 to 100000");
        let rooms = (1..=1_000_000).contains(&self.stream_rooms);
        within("stream_rooms", rooms, "must be 1 to 1000000");
        let messages = (1..=1_000_000).contains(&self.stream_queue_messages);
        within("stream_queue_messages", messages, "must be 1 to 1000000");
        let bytes = self.stream_queue_bytes >= 16 * 1024;
        within("stream_queue_bytes", bytes, "must be at least 16384, more than one event");
        within("hold_ms", (1..=10_000).contains(&self.hold_ms), "must be 1 to 10000");
        within("heads_ms", (10..=600_000).contains(&self.heads_ms), "must be 10 to 600000");
        for (key, why) in self.limit.faults() {
            problems.add(&format!("chat.limit.{key}"), why);
        }
    }
}
