//! What Upstash is over TCP: scripts lock their own keys there and nothing else.

use std::slice::from_ref;

use mingle_store::{
    ErrorKind,
    redis::{Call, Options, Redis, Script},
};
use mingle_testkit::Upstash;

use super::{PATIENT, connect_with, log::Log};

static ADD: Script = Script::new("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])");
static BESIDE: Script =
    Script::new("beside", "return redis.call('INCRBY', KEYS[1] .. ':beside', 1)").derives_keys();
/// What is not so of its keys.
static HIDDEN: Script =
    Script::new("hidden", "return redis.call('INCRBY', KEYS[1] .. ':hidden', 1)");

async fn connect() -> (&'static Upstash, Redis) {
    let (server, prefix) = Upstash::shared().await;
    let options = Options { timeout: PATIENT, prefix, ..Options::new(server.url()) };
    (server, connect_with(options).await)
}

#[tokio::test]
async fn scripts_lock_their_own_keys_but_those_that_make_others() {
    let (log, _guard) = Log::keep();
    let (server, redis) = connect().await;
    assert!(log.text().contains("locks=Keys"), "{}", log.text());
    let key = redis.key("n", "of");

    let before = server.runs_by_key();
    assert_eq!(redis.run::<i64>(&ADD, from_ref(&key), &[40.into()]).await.unwrap(), 40);
    assert_eq!(redis.run::<i64>(&ADD, from_ref(&key), &[2.into()]).await.unwrap(), 42);
    let call = |by: i64| Call { keys: vec![key.clone()], args: vec![by.into()] };
    let many: Vec<_> = redis.run_many::<i64>(&ADD, &[call(1), call(1)]).await.unwrap();
    assert_eq!(many.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [43, 44]);
    let after = server.runs_by_key();
    assert!(after >= before + 4, "{before}, {after}");

    assert_eq!(redis.run::<i64>(&BESIDE, from_ref(&key), &[]).await.unwrap(), 1);
    let refused = redis.run::<i64>(&HIDDEN, from_ref(&key), &[]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
}
