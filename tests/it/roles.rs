//! Starts that must be refused, each saying why; and what a production
//! process does not offer.

use std::time::Duration;

use mingle_testkit::{Builder, Finished, Mingle};
use serde_json::json;

use crate::{
    http,
    world::{SECRET, World, token},
};

/// A start that is refused has no work to do.
const REFUSAL: Duration = Duration::from_secs(60);

async fn refused(builder: Builder, code: i32, words: &[&str]) -> Finished {
    let finished = builder.run_to_end(REFUSAL).await;
    let log = &finished.log;
    assert_eq!(finished.status.code(), Some(code), "{log}");
    for word in words {
        assert!(log.contains(word), "{word} is not in: {log}");
    }
    assert!(!log.contains("panicked"), "{log}");
    finished
}

#[tokio::test]
async fn some_of_the_roles_without_backends_are_refused_by_name() {
    for roles in [&["chat"][..], &["gateway", "matchmaking"], &["presence"]] {
        let serve = Mingle::builder().arg("serve");
        let builder = roles.iter().fold(serve, |builder, role| builder.arg(role));
        refused(builder, 2, &["REDIS_URL", "DATABASE_URL"]).await;
    }
    let one = Mingle::builder().arg("serve").arg("chat").env("REDIS_URL", "redis://127.0.0.1:1");
    refused(one, 2, &["DATABASE_URL"]).await;
    let alone = refused(Mingle::builder().arg("serve").arg("ratelimit"), 2, &["REDIS_URL"]).await;
    assert!(!alone.log.contains("DATABASE_URL"), "it keeps no rows: {}", alone.log);
}

#[tokio::test]
async fn a_role_that_is_none_is_refused() {
    refused(Mingle::builder().arg("serve").arg("cat"), 2, &["cat"]).await;
}

#[tokio::test]
async fn a_second_process_on_a_data_folder_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Mingle::builder().data_dir(folder.path()).start().await;
    let path = folder.path().to_str().unwrap();
    refused(Mingle::builder().data_dir(folder.path()), 1, &[path, "process"]).await;
    // The first one did not notice.
    http::get(first.http_addr(), "/api/health", "").await.ok();
    first.kill9();
    // A killed process leaves no lock behind.
    Mingle::builder().data_dir(folder.path()).start().await;
}

#[tokio::test]
async fn wrong_configuration_is_named_all_at_once() {
    let env = Mingle::builder()
        .env("MINGLE_GATEWAY__LISTN", "127.0.0.1:0")
        .env("MINGLE_CHAT__MAX_MEMBERS", "many");
    refused(env, 2, &["listn", "max_members"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mingle.toml");
    std::fs::write(&file, "[gateway.limits]\nframe_bites = 1\n").unwrap();
    refused(Mingle::builder().arg("--config").arg(file), 2, &["frame_bites"]).await;
    refused(Mingle::builder().arg("--config").arg("/nowhere.toml"), 2, &["/nowhere.toml"]).await;
    let section = Mingle::builder().env("MINGLE_GATEWEY__LISTEN", "127.0.0.1:0");
    refused(section, 2, &["gatewey"]).await;
    let mode = Mingle::builder().env("MINGLE_ENV", "staging");
    refused(mode, 2, &["MINGLE_ENV", "staging"]).await;
}

#[tokio::test]
async fn production_has_no_default_secrets() {
    let builder = || Mingle::builder().env("MINGLE_ENV", "production");
    let names = ["MINGLE_JWT_SECRET", "MINGLE_SESSION_SECRET"];
    refused(builder(), 2, &names).await;
    refused(builder().env(names[0], SECRET), 2, &names[1..]).await;
    let short = builder().env(names[0], "hunter2").env(names[1], SECRET);
    let finished = refused(short, 2, &["jwt_secret"]).await;
    assert!(!finished.log.contains("hunter2"), "a secret is in the log: {}", finished.log);
    let replit = Mingle::builder().env("REPLIT_DEPLOYMENT", "1");
    refused(replit, 2, &names).await;
}

/// Whether tokens are handed out to anybody.
async fn hands_out_tokens(mingle: &Mingle) -> bool {
    let mut addr = mingle.http_addr();
    if addr.ip().is_unspecified() {
        addr.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let answer = http::post(addr, "/api/dev/token", "", &json!({"userId": "ann"})).await;
    if answer.status == 200 {
        return true;
    }
    let (status, code, reason, _) = answer.problem();
    assert_eq!((status, code, reason), (404, "NOT_FOUND", "ROUTE_NOT_FOUND"));
    // Who has a token is served all the same.
    http::get(addr, "/api/rooms", &token("ann")).await.ok();
    false
}

#[tokio::test]
async fn tokens_are_handed_out_in_development_on_this_machine_only() {
    let production =
        World::builder().env("MINGLE_ENV", "production").env("MINGLE_SESSION_SECRET", SECRET);
    assert!(!hands_out_tokens(&production.start().await).await);
    let anywhere = || World::builder().env("MINGLE_GATEWAY__LISTEN", "0.0.0.0:0");
    assert!(!hands_out_tokens(&anywhere().start().await).await);
    let told = anywhere().env("MINGLE_GATEWAY__DEV_TOKENS_BEYOND_LOOPBACK", "true");
    assert!(hands_out_tokens(&told.start().await).await);
    assert!(hands_out_tokens(World::start().await.mingle()).await);
}
