//! Where the server is, now and later.

use std::{future::pending, io, sync::Arc, time::Duration};

use redis::{Client, ConnectionAddr, ConnectionInfo, RedisError, RedisResult};
use tokio::{sync::watch, time::timeout};

use super::sentinel::Sentinels;

/// How long the first answer of a sentinel is waited for, by an attempt of many.
const TOLD: Duration = Duration::from_millis(400);

/// Host and port.
pub(crate) type Address = (String, u16);

/// See the module.
pub(super) enum Place {
    /// Always the same.
    Fixed(Client),
    /// The same, a server of a cluster.
    Member(ConnectionInfo),
    /// Where the sentinels say.
    Told {
        sentinels: Arc<Sentinels>,
        /// How to speak to it, with the address of another.
        server: ConnectionInfo,
    },
}

/// Tells that the server is another one by now.
#[derive(Clone)]
pub(super) struct Moved(Option<(watch::Receiver<Option<Address>>, Address)>);

impl Place {
    /// For the log.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Fixed(client) => client.get_connection_info().addr().to_string(),
            Self::Member(info) => info.addr().to_string(),
            Self::Told { sentinels, .. } => sentinels.name().to_owned(),
        }
    }

    /// The name of a server of a cluster; empty otherwise.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Member(info) => match info.addr() {
                ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
                _ => String::new(),
            },
            Self::Fixed(_) | Self::Told { .. } => String::new(),
        }
    }

    /// A client of the server that is the one now.
    ///
    /// **Errors**: what the sentinels said, when none names a server.
    pub(super) async fn find(&self) -> RedisResult<(Client, Moved)> {
        let (sentinels, server) = match self {
            Self::Fixed(client) => return Ok((client.clone(), Moved(None))),
            Self::Member(info) => return Ok((Client::open(info.clone())?, Moved(None))),
            Self::Told { sentinels, server } => (sentinels, server),
        };
        let mut primary = sentinels.primary();
        let known = timeout(TOLD, primary.wait_for(Option::is_some)).await;
        let address = known.ok().and_then(|known| known.ok()?.clone());
        let address = address.ok_or_else(|| sentinels.trouble())?;
        let info = server.clone().set_addr(at(server.addr(), &address));
        Ok((Client::open(info)?, Moved(Some((primary, address)))))
    }
}

impl Moved {
    /// Waits until it is. Cancel safe.
    pub(super) async fn moved(&self) {
        let Some((primary, address)) = &self.0 else { return pending().await };
        let mut primary = primary.clone();
        let elsewhere = primary.wait_for(|now| now.as_ref() != Some(address));
        if elsewhere.await.is_err() {
            // Nobody asks any more: what is there serves on.
            pending::<()>().await;
        }
    }
}

/// Why a connection to the server of before is given up.
pub(super) fn elsewhere() -> RedisError {
    io::Error::other("another server is in its place by now").into()
}

/// The same way to another address.
pub(super) fn at(addr: &ConnectionAddr, (host, port): &Address) -> ConnectionAddr {
    let (host, port) = (host.clone(), *port);
    match addr {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            let (insecure, tls_params) = (*insecure, tls_params.clone());
            ConnectionAddr::TcpTls { host, port, insecure, tls_params }
        }
        _ => ConnectionAddr::Tcp(host, port),
    }
}
