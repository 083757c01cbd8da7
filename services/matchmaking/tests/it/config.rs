//! What the configuration accepts.

use mingle_matchmaking::Config;
use mingle_runtime::{Context, config::Section as _};

fn problems(overrides: &str) -> String {
    let ctx = Context::for_test(&[Config::DEFAULTS], overrides);
    ctx.config.read::<Config>().map(|_| String::new()).unwrap_or_else(|it| it.to_string())
}

#[test]
fn the_defaults_have_one_pool_of_twenty_one_buckets() {
    let ctx = Context::for_test(&[Config::DEFAULTS], "");
    let pools = ctx.config.read::<Config>().unwrap().pools();
    let buckets: Vec<_> = pools.values().map(|pool| (pool.name(), pool.buckets())).collect();
    assert_eq!(buckets, [("random-chat", 3 * 7)]);
}

#[test]
fn a_pool_of_an_adopter_needs_only_what_differs() {
    let text = "[matchmaking.pools.tandem.attributes]\nspeaks = ['de', 'en']";
    assert_eq!(problems(text), "");
    let ctx = Context::for_test(&[Config::DEFAULTS], text);
    let pools = ctx.config.read::<Config>().unwrap().pools();
    // de, en or nothing said; wanted are de, en, either, or anything at all.
    assert_eq!(pools["tandem"].buckets(), 3 * 4);
}

#[test]
fn too_many_combinations_and_other_mistakes_are_named_all_at_once() {
    let seen = problems(
        "[matchmaking]\nsweep_budget = 5000\n\
         [matchmaking.pools.crowded]\nticket_ttl_ms = 0\nrequired = ['height']\n\
         [matchmaking.pools.crowded.attributes]\n\
         colour = ['a', 'b', 'c', 'd', 'e', 'f']\nempty = []\ntwice = ['x', 'x']\n",
    );
    for key in [
        "matchmaking.sweep_budget",
        "matchmaking.pools.crowded.ticket_ttl_ms",
        "matchmaking.pools.crowded.required",
        "matchmaking.pools.crowded.attributes.empty",
        "matchmaking.pools.crowded.attributes.twice",
        "matchmaking.pools.crowded.attributes: more than 256",
    ] {
        assert!(seen.contains(key), "{key} in {seen}");
    }
    let unknown = problems("[matchmaking.pools.random-chat]\nmutal = false");
    assert!(unknown.contains("mutal"), "{unknown}");
}
