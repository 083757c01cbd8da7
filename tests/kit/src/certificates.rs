//! Certificates of an authority of one's own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::server::must;

/// PEM files of an authority, and of one that it signed for 127.0.0.1: server or
/// client.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes them, valid for two days.
    ///
    /// # Panics
    ///
    /// When `openssl` is not installed or refuses.
    #[must_use]
    pub fn make() -> Self {
        let certificates = Self { folder: must(tempfile::tempdir(), "a folder") };
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

    /// Who signed.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What was signed.
    #[must_use]
    pub fn cert(&self) -> PathBuf {
        self.folder.path().join("end.pem")
    }

    /// The key of that.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("end.key")
    }

    /// What a Redis or a sentinel that speaks TLS at this port is told of them: it
    /// asks clients for theirs.
    pub(crate) fn settings(&self, port: u16) -> [(&'static str, String); 5] {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        [
            ("tls-port", port.to_string()),
            ("tls-cert-file", text(self.cert())),
            ("tls-key-file", text(self.key())),
            ("tls-ca-cert-file", text(self.ca())),
            ("tls-auth-clients", "yes".to_owned()),
        ]
    }
}

fn openssl(folder: &Path, first: &[&[&str]], then: &[&str]) {
    let mut openssl = Command::new("openssl");
    openssl.args(first.concat()).args(then).current_dir(folder).stdin(Stdio::null());
    let made = must(openssl.output(), "openssl");
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
}
