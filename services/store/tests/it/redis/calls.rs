//! Commands, pipelines, scripts.

use std::sync::Arc;

use mingle_store::{
    ErrorKind,
    clock::ManualClock,
    redis::{Call, Script},
};
use mingle_testkit::Redis as Server;

use super::{connect, connect_with};

static ADD: Script = Script::new(
    "add",
    "if #ARGV ~= 1 then return redis.error_reply('ERR arguments ' .. #ARGV) end
     return redis.call('INCRBY', KEYS[1], ARGV[1])",
);
static NOW: Script = Script::new("now", "return {now_us(), now_ms()}");

#[tokio::test]
async fn commands_pipelines_and_scripts_answer() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let key = redis.key("calls", "n");
    assert_eq!(key, "mingle:{calls}:n");

    redis.query::<()>(redis::cmd("SET").arg(&key).arg(40)).await.unwrap();
    let sum: i64 = redis.run(&ADD, &[key.clone()], &[2.into()]).await.unwrap();
    assert_eq!(sum, 42);
    let mut pipe = redis::pipe();
    pipe.cmd("GET").arg(&key).cmd("EXISTS").arg("nothing");
    assert_eq!(redis.pipeline::<(i64, bool)>(&pipe).await.unwrap(), (42, false));
    assert_eq!(server.cli(&["GET", &key]), "42");
}
