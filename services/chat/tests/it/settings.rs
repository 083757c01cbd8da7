//! The configuration: its defaults, and every problem at once.

use mingle_chat::Config;
use mingle_runtime::{Context, config::Section as _};

fn read(overrides: &str) -> Result<Config, String> {
    let ctx = Context::for_test(&[Config::DEFAULTS], overrides);
    ctx.config.read().map_err(|problems| problems.to_string())
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = read("").unwrap();
    assert_eq!((config.append_batch, config.max_members), (256, 1000));
    assert_eq!((config.pair_idle_ms, config.heads_ms), (2 * 3_600_000, 5000));
    assert_eq!(config.retention_ms(), 30 * 24 * 3_600_000);
}

#[test]
fn every_problem_is_told_by_its_key() {
    let wrong = "[chat]\nappend_batch = 0\npair_idle_ms = 0\nretention_days = 0\nsweep_ms = 1
        max_members = 1\nstream_rooms = 0\nstream_queue_messages = 0\nstream_queue_bytes = 1
        hold_ms = 0\nheads_ms = 1";
    let told = read(wrong).unwrap_err();
    for key in wrong.split_whitespace().filter(|word| word.contains('_')) {
        assert!(told.contains(&format!("chat.{key}: must be")), "{key} in {told}");
    }
    let wrong = "[chat.limit]\nquota = 0\nwindow_ms = 0";
    let told = read(wrong).unwrap_err();
    assert!(told.contains("chat.limit.quota: must be"), "{told}");
    assert!(told.contains("chat.limit.window_ms: must be"), "{told}");
    assert!(read("[chat.limit]\noutage = 'never'").unwrap_err().contains("outage"));
    assert!(read("[chat]\nappend_bach = 1").unwrap_err().contains("append_bach"));
}
