//! Who may be whom.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use mingle_store::{
    ErrorKind,
    redis::{Options, Redis, Tls},
};
use mingle_testkit::{Redis as Server, eventually, free_port};
use tokio_util::sync::CancellationToken;

use super::{SOON, connect_with, log::Log, small};

/// Files of an authority and of one that it signed for 127.0.0.1.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn make() -> Self {
        let certificates = Self { folder: tempfile::tempdir().unwrap() };
        let folder = certificates.folder.path();
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        openssl(
            folder,
            &[&["req", "-x509", "-subj", "/CN=authority", "-days", "2"], &key[..]],
            &["-keyout", "ca.key", "-out", "ca.pem"],
        );
        let san = "subjectAltName=IP:127.0.0.1";
        openssl(
            folder,
            &[&["req", "-x509", "-subj", "/CN=server", "-days", "2", "-addext", san], &key[..]],
            &[
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-keyout",
                "end.key",
                "-out",
                "end.pem",
            ],
        );
        certificates
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

fn openssl(folder: &Path, first: &[&[&str]], then: &[&str]) {
    let made = Command::new("openssl")
        .args(first.concat())
        .args(then)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
}

async fn server(certificates: &Certificates, ask_clients: &str) -> (Server, String) {
    let port = free_port().to_string();
    let server = Server::start_with(&[
        ("tls-port", &port),
        ("tls-cert-file", &certificates.text("end.pem")),
        ("tls-key-file", &certificates.text("end.key")),
        ("tls-ca-cert-file", &certificates.text("ca.pem")),
        ("tls-auth-clients", ask_clients),
    ])
    .await;
    (server, format!("rediss://127.0.0.1:{port}"))
}

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
    let (_server, url) = server(&certificates, "no").await;
    let ca = Some(certificates.path("ca.pem"));
    let redis =
        connect_with(Options { tls: Tls { ca, ..Tls::default() }, ..Options::new(&url) }).await;
    assert_eq!(redis.query::<String>(&small()).await.unwrap(), "small");

    let wrong = Tls { ca: Some(others.path("ca.pem")), ..Tls::default() };
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
    let (_server, url) = server(&certificates, "yes").await;
    let ca = Some(certificates.path("ca.pem"));
    let without = Tls { ca: ca.clone(), ..Tls::default() };
    refused(&url, without.clone()).await;
    let (cert, key) = (Some(certificates.path("end.pem")), Some(certificates.path("end.key")));
    let with = Tls { cert, key, ..without };
    connect_with(Options { tls: with, ..Options::new(&url) }).await;
}
