//! What the server refuses, and options that cannot be used.

use std::{
    error::Error as _,
    path::{Path, PathBuf},
    slice::from_ref,
};

use mingle_store::{
    ErrorKind, Result,
    redis::{Batch, Options, Redis, Script, Tls},
};
use mingle_testkit::{Redis as Server, eventually};
use tokio_util::sync::CancellationToken;

use super::{SOON, connect, connected, executed, log::Log, small};

static PUSH: Script = Script::new("push", "return redis.call('RPUSH', KEYS[1], 'x')");

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[tokio::test]
async fn faults_of_data_and_of_callers_are_not_transient() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let key = redis.key("r", "text");
    assert_eq!(server.cli(&["SET", &key, "text"]), "OK");
    let get = redis::cmd("GET").arg(&key).to_owned();
    let push = redis::cmd("RPUSH").arg(&key).arg("x").to_owned();
    assert_eq!(kind(redis.query::<i64>(&get).await), ErrorKind::Corrupt);
    assert_eq!(kind(redis.query::<i64>(&push).await), ErrorKind::Corrupt);
    assert_eq!(kind(redis.run::<i64>(&PUSH, from_ref(&key), &[]).await), ErrorKind::Corrupt);
    assert_eq!(kind(redis.query::<()>(&redis::cmd("NOSUCH")).await), ErrorKind::Unsupported);
    let mut batch = Batch::new();
    batch.ask("GET").arg(&key);
    batch.tell("RPUSH").arg(&key).arg("x");
    assert_eq!(kind(redis.pipeline::<()>(&batch).await), ErrorKind::Corrupt);
    assert_eq!(executed(&server, "info"), 2, "no connection was given up");
}

#[tokio::test]
async fn a_wrong_password_is_told_without_it() {
    let (log, _guard) = Log::keep();
    let server = Server::start_with(&[("requirepass", "right-secret")]).await;
    let url = server.url().replace("right-secret", "wrong-secret");
    let options = Options::new(url);
    assert!(!format!("{options:?}").contains("secret"));
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    eventually(SOON, "the log", async || log.text().contains("redis cannot be reached")).await;
    let error = redis.query::<String>(&small()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(log.text().contains("authentication failed"), "{}", log.text());

    assert_eq!(server.cli(&["CONFIG", "SET", "requirepass", "wrong-secret"]), "OK");
    connected(&redis).await;
    assert!(!log.text().contains("secret"), "{}", log.text());
    let told = log.text().matches("redis cannot be reached").count();
    assert_eq!(told, 1, "each trouble is told once: {}", log.text());
}

#[tokio::test]
async fn unusable_options_are_named() {
    let told = async |options: Options| {
        let error = Redis::start(options, CancellationToken::new()).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        error.source().unwrap().to_string()
    };
    let missing = Some(PathBuf::from("/nowhere/at.all"));
    for url in ["", "localhost", "http://localhost", "redis://:secret@host:no"] {
        let text = told(Options::new(url)).await;
        assert!(text.starts_with("redis url: ") && !text.contains("secret"), "{text}");
    }
    let with = |url: &str, tls: Tls| Options { tls, ..Options::new(url) };
    let tls = Tls { ca: missing.clone(), ..Tls::default() };
    assert_eq!(
        told(with("redis://localhost", tls.clone())).await,
        "redis tls.ca: needs a rediss:// url"
    );
    assert_eq!(
        told(with("rediss://localhost", tls)).await,
        "redis tls.ca: cannot read /nowhere/at.all"
    );
    let tls = Tls { cert: missing, ..Tls::default() };
    assert!(told(with("rediss://localhost", tls)).await.starts_with("redis tls.key: is missing"));
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let expected = format!("redis tls.ca: no CERTIFICATE in PEM in {}", other.display());
    let tls = Tls { ca: Some(other), ..Tls::default() };
    assert_eq!(told(with("rediss://localhost", tls)).await, expected);
}
