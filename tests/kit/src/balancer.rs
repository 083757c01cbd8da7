//! A load balancer before the gateways of a deployment, with the configuration that
//! adopters get.

use std::{
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::Duration,
};

use crate::{
    Server,
    adopted::{page, put},
    eventually, free_port,
    installed::server_program,
    server::{must, succeed},
};

const READY: Duration = Duration::from_secs(30);
const GATEWAYS: usize = 2;

/// Which program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nginx
    Nginx,
    /// HAProxy
    Haproxy,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// The adopters' configuration with these addresses, and with `folder` as the
    /// place of what it writes.
    fn config(self, port: u16, gateways: &[SocketAddr], folder: &Path) -> String {
        assert_eq!(gateways.len(), GATEWAYS, "gateways");
        let mut config = match self {
            Self::Nginx => include_str!("../../../deploy/nginx/nginx.conf").to_owned(),
            Self::Haproxy => include_str!("../../../deploy/haproxy/haproxy.cfg").to_owned(),
        };
        let listen = match self {
            Self::Nginx => ("listen 8080;", format!("listen 127.0.0.1:{port};")),
            Self::Haproxy => ("bind :8080\n", format!("bind 127.0.0.1:{port}\n")),
        };
        put(&mut config, listen.0, &listen.1, 1);
        for (nth, at) in gateways.iter().enumerate() {
            put(&mut config, &format!("gateway-{nth}:8080"), &at.to_string(), 1);
        }
        if self == Self::Nginx {
            put(&mut config, "/tmp/", &format!("{}/", folder.display()), 6);
        }
        config
    }

    fn arguments(self, file: &Path) -> Vec<OsString> {
        let own: &[&str] = match self {
            Self::Nginx => &["-e", "stderr", "-g", "daemon off;", "-c"],
            Self::Haproxy => &["-db", "-f"],
        };
        own.iter().map(OsString::from).chain([file.into()]).collect()
    }

    /// What the program itself says of the configuration.
    ///
    /// # Panics
    ///
    /// When it refuses it, or is not installed.
    #[must_use]
    pub fn judges(self) -> String {
        let folder = must(tempfile::tempdir(), "a folder");
        let gateways = [free_port(), free_port()].map(|port| (Ipv4Addr::LOCALHOST, port).into());
        let file = folder.path().join(self.name());
        must(fs::write(&file, self.config(free_port(), &gateways, folder.path())), "the file");
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).arg(server_program(self.name()));
        command.arg(if self == Self::Nginx { "-t" } else { "-c" }).args(self.arguments(&file));
        succeed(command)
    }
}

/// A running `nginx` or `haproxy`, ended with this value or with the test process.
#[derive(Debug)]
pub struct Balancer {
    server: Server,
    port: u16,
}

impl Balancer {
    /// Starts one before two gateways, which need not run yet.
    ///
    /// # Panics
    ///
    /// When it is not installed.
    #[must_use]
    pub fn start(kind: Kind, gateways: &[SocketAddr]) -> Self {
        let (server, port) = (Server::prepare(kind.name(), "TERM"), free_port());
        let folder = server.folder();
        // nginx's own user writes there, where root starts it.
        must(fs::set_permissions(folder, fs::Permissions::from_mode(0o755)), "the folder");
        let file = folder.join("config");
        must(fs::write(&file, kind.config(port, gateways, folder)), "the configuration");
        server.start(server_program(kind.name()).as_os_str(), &kind.arguments(&file));
        Self { server, port }
    }

    /// Where users go.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Waits until a gateway answers through it.
    pub async fn settle(&self) {
        eventually(READY, "a gateway behind the balancer", async || {
            assert!(self.server.is_running(), "it ended: {}", self.server.log());
            page(self.port, "/readyz").is_ok_and(|page| page == "ready\n")
        })
        .await;
    }
}
