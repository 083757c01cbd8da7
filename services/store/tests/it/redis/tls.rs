//! Who may be whom.

use mingle_store::{
    ErrorKind,
    redis::{Options, Redis, Tls},
};
use mingle_testkit::{Certificates, Redis as Server, eventually};
use tokio_util::sync::CancellationToken;

use super::{SOON, connect_with, log::Log, small};

/// What the log says of a server that cannot be reached with these.
async fn refused(url: &str, tls: Tls) -> String {
    let (log, _guard) = Log::keep();
    let options = Options { tls, ..Options::new(url) };
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    eventually(SOON, "the log", async || log.text().contains("redis cannot be reached")).await;
    assert!(!redis.is_connected());
    let error = redis.query::<String>(&small()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    log.text()
}

#[tokio::test]
async fn only_the_given_authority_is_trusted() {
    let (certificates, others) = (Certificates::make(), Certificates::make());
    let server = Server::start_tls(&certificates, false).await;
    let url = server.url();
    let ca = Some(certificates.ca());
    let redis =
        connect_with(Options { tls: Tls { ca, ..Tls::default() }, ..Options::new(&url) }).await;
    assert_eq!(redis.query::<String>(&small()).await.unwrap(), "small");

    let wrong = Tls { ca: Some(others.ca()), ..Tls::default() };
    let text = refused(&url, wrong).await;
    assert!(text.contains("invalid peer certificate"), "{text}");
    let text = refused(&url, Tls::default()).await;
    assert!(text.contains("invalid peer certificate"), "{text}");

    let unverified = Tls { verify: false, ..Tls::default() };
    connect_with(Options { tls: unverified, ..Options::new(&url) }).await;
}

#[tokio::test]
async fn a_server_may_ask_for_our_certificate() {
    let certificates = Certificates::make();
    let server = Server::start_tls(&certificates, true).await;
    let url = server.url();
    let ca = Some(certificates.ca());
    let without = Tls { ca: ca.clone(), ..Tls::default() };
    refused(&url, without.clone()).await;
    let (cert, key) = (Some(certificates.cert()), Some(certificates.key()));
    let with = Tls { cert, key, ..without };
    connect_with(Options { tls: with, ..Options::new(&url) }).await;
}
