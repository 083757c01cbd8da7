//! Where the server is, and how to speak to it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates, io::tcp::TcpSettings,
};
use tokio_util::sync::CancellationToken;

use super::{
    place::{Address, Place},
    sentinel::Sentinels,
    url::{self, Named},
};

/// How to reach a server. Printed without the URL, which may hold a password.
#[derive(Clone)]
pub struct Options {
    /// `redis://` or `rediss://`, with user, password, port and database; or
    /// `redis+sentinel://` or `rediss+sentinel://` with user and password of the
    /// servers, the sentinels, the primary's name and a database:
    /// `redis+sentinel://user:password@host:port,host:port/name/0`, behind it
    /// `?sentinel_username=…&sentinel_password=…` where the sentinels want it; or
    /// `redis+cluster://` or `rediss+cluster://` with user and password, and some of
    /// its servers, as several hosts mean without `+cluster`, too.
    pub url: String,
    /// Only for `rediss://` and `rediss+sentinel://`.
    pub tls: Tls,
    /// Stands before every key, in front of `mingle:`. Empty by default.
    pub prefix: String,
    /// What one call may take, connecting not included. 250 ms by default.
    pub timeout: Duration,
    /// With its memory used up it may evict: what is kept there can be made again. False
    /// by default.
    pub may_forget: bool,
}

/// What connections are opened and kept by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) timeout: Duration,
    pub(super) may_forget: bool,
}

/// What a URL leads to.
pub(super) enum Located {
    /// One server.
    Server(Place),
    /// Several, each of which has a part.
    Cluster {
        /// Whom to ask for the others.
        seeds: Vec<Address>,
        /// How to speak to one, with the address of another.
        server: ConnectionInfo,
    },
}

/// How a server proves who it is, and how we do.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM of the authorities that may have signed the server's certificate;
    /// the public ones when absent.
    pub ca: Option<PathBuf>,
    /// PEM of our certificate and what it is signed by; with `key`.
    pub cert: Option<PathBuf>,
    /// PEM of our key; with `cert`.
    pub key: Option<PathBuf>,
    /// False: any certificate is taken, which protects from listeners only,
    /// not from impostors.
    pub verify: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self { ca: None, cert: None, key: None, verify: true }
    }
}

/// Why a server's options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The URL is none of a Redis server. Its text is not told: it may hold a
    /// password.
    #[error(
        "redis url: expected redis://[user:password@]host[:port][/database], \
         redis+cluster://[user:password@]host[:port],…, or \
         redis+sentinel://[user:password@]host[:port],…/name[/database], or the same with rediss"
    )]
    Url,
    /// TLS files for a connection without TLS.
    #[error("redis {0}: needs a rediss:// url")]
    NoTls(&'static str),
    /// One of two that belong together.
    #[error("redis {0}: is missing, the other of tls.cert and tls.key is there")]
    Half(&'static str),
    /// A file that cannot be read.
    #[error("redis {field}: cannot read {path}")]
    File {
        /// The option.
        field: &'static str,
        /// Its value.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A file without what it is for.
    #[error("redis {field}: no {what} in PEM in {path}")]
    NoPem {
        /// The option.
        field: &'static str,
        /// Its value.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// Certificates or a key that cannot be read as such.
    #[error("redis tls.ca, tls.cert or tls.key: {0}")]
    Pem(String),
}

impl Options {
    /// The defaults for this server.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls: Tls::default(),
            prefix: String::new(),
            timeout: Duration::from_millis(250),
            may_forget: false,
        }
    }

    /// Where the server is, or the servers are, with everything checked and read;
    /// sentinels are asked until `stop`.
    pub(super) fn place(&self, stop: &CancellationToken) -> Result<Located, OptionsError> {
        match url::read(&self.url).ok_or(OptionsError::Url)? {
            Named::Server(info) => self.client(info).map(Place::Fixed).map(Located::Server),
            Named::Sentinels { ask, primary, server } => {
                let clients = ask.into_iter().map(|info| self.client(info));
                let clients = clients.collect::<Result<_, _>>()?;
                let server = self.client(server)?.get_connection_info().clone();
                let sentinels = Sentinels::ask(clients, primary, stop);
                Ok(Located::Server(Place::Told { sentinels, server }))
            }
            Named::Cluster { seeds, server } => {
                let server = self.client(server)?.get_connection_info().clone();
                Ok(Located::Cluster { seeds, server })
            }
        }
    }

    /// A client that has connected nowhere.
    fn client(&self, mut info: ConnectionInfo) -> Result<Client, OptionsError> {
        // A request is one write: waiting for more to fill a packet only delays.
        info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        // A command less that a user needs leave for.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        info = info.set_redis_settings(settings);
        match info.addr().clone() {
            ConnectionAddr::TcpTls { host, port, tls_params, .. } => {
                // What a URL says behind a # is not asked: production verifies.
                let insecure = !self.tls.verify;
                let addr = ConnectionAddr::TcpTls { host, port, insecure, tls_params };
                let certificates = self.tls.read()?;
                Client::build_with_tls(info.set_addr(addr), certificates)
                    .map_err(|error| OptionsError::Pem(error.to_string()))
            }
            _ => match self.tls.first_file() {
                Some(field) => Err(OptionsError::NoTls(field)),
                None => Client::open(info).map_err(|_| OptionsError::Url),
            },
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("tls", &self.tls)
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Tls {
    fn first_file(&self) -> Option<&'static str> {
        [("tls.ca", &self.ca), ("tls.cert", &self.cert), ("tls.key", &self.key)]
            .into_iter()
            .find_map(|(field, path)| path.is_some().then_some(field))
    }

    fn read(&self) -> Result<TlsCertificates, OptionsError> {
        let client_tls = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some(ClientTlsConfig {
                client_cert: read("tls.cert", cert, CERTIFICATE)?,
                client_key: read("tls.key", key, KEY)?,
            }),
            (None, None) => None,
            (Some(_), None) => return Err(OptionsError::Half("tls.key")),
            (None, Some(_)) => return Err(OptionsError::Half("tls.cert")),
        };
        let root_cert =
            self.ca.as_deref().map(|path| read("tls.ca", path, CERTIFICATE)).transpose()?;
        Ok(TlsCertificates { client_tls, root_cert })
    }
}

const CERTIFICATE: &str = "CERTIFICATE";
const KEY: &str = "PRIVATE KEY";

/// A file with at least one PEM block of this kind: without one it would be
/// taken for an empty list, and every server refused.
fn read(field: &'static str, path: &Path, what: &'static str) -> Result<Vec<u8>, OptionsError> {
    let bytes = fs::read(path).map_err(|source| OptionsError::File {
        field,
        path: path.to_owned(),
        source,
    })?;
    let text = String::from_utf8_lossy(&bytes);
    let found = text.lines().any(|line| {
        line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{what}-----"))
    });
    if found { Ok(bytes) } else { Err(OptionsError::NoPem { field, path: path.to_owned(), what }) }
}
