//! How to start a deployment.

use std::path::PathBuf;

use super::{Deployment, Place, SHAPE, Shared, services};
use crate::{
    Balancer, Certificates, Cluster, Envoy, Kind, Postgres, Redis, Sentinels, TestDatabase,
    ways::Ways,
};

/// How to start a [`Deployment`].
#[derive(Debug, Default)]
pub struct Plan {
    env: Vec<(String, String)>,
    counts: Vec<(&'static str, usize)>,
    own_postgres: bool,
    postgres: Option<Postgres>,
    /// Behind a pooler; true: with a way past it.
    pooler: Option<bool>,
    sentinels: bool,
    cluster: bool,
    tls: bool,
    envoy: bool,
    balancer: Option<Kind>,
    ways: bool,
    program: Option<PathBuf>,
}

impl Plan {
    /// Sets an environment variable of every process.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl Into<String>) -> Self {
        self.env.push((key.to_owned(), value.into()));
        self
    }

    /// With this many processes of a role.
    #[must_use]
    pub fn count(mut self, role: &'static str, count: usize) -> Self {
        self.counts.push((role, count));
        self
    }

    /// With a database server of its own, to be frozen and killed.
    #[must_use]
    pub fn own_postgres(mut self) -> Self {
        self.own_postgres = true;
        self
    }

    /// With this database server.
    #[must_use]
    pub fn postgres(mut self, server: Postgres) -> Self {
        self.postgres = Some(server);
        self
    }

    /// With a [`crate::Pooler`] between the processes and a database server of
    /// their own; `past` it there is a way for LISTEN and migrations, or none.
    #[must_use]
    pub fn pooler(mut self, past: bool) -> Self {
        self.pooler = Some(past);
        self.own_postgres()
    }

    /// With a Redis that speaks TLS and asks for certificates, be it one or many.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// With [`Sentinels`] in place of one Redis, and no ways to it.
    #[must_use]
    pub fn sentinels(mut self) -> Self {
        self.sentinels = true;
        self
    }

    /// With a [`Cluster`] in place of one Redis, and no ways to it.
    #[must_use]
    pub fn cluster(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// With an [`Envoy`] between the callers and two instances of every
    /// service.
    #[must_use]
    pub fn envoy(mut self) -> Self {
        self.envoy = true;
        self
    }

    /// With a [`Balancer`] before the gateways, which believe what it says of where
    /// users come from.
    #[must_use]
    pub fn balancer(mut self, kind: Kind) -> Self {
        self.balancer = Some(kind);
        self
    }

    /// With a [`crate::Proxy`] from each process to Redis, to PostgreSQL and to each
    /// process that it calls: [`Deployment::way`].
    #[must_use]
    pub fn ways(mut self) -> Self {
        self.ways = true;
        self
    }

    /// Runs this program in place of the built `mingle`.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Starts servers and processes, and waits until all are ready.
    pub async fn start(self) -> Deployment {
        let own = match self.postgres {
            None if self.own_postgres => Some(Postgres::start().await),
            own => own,
        };
        let server = match &own {
            Some(own) => own,
            None => Postgres::shared().await,
        };
        let pooler = match self.pooler {
            Some(past) => Some((server.pooler().await, past)),
            None => None,
        };
        let database = match &pooler {
            Some((pooler, _)) => {
                TestDatabase { url: pooler.direct_url.clone(), port: server.port() }
            }
            None => server.database().await,
        };
        assert!(!(self.sentinels && self.cluster), "one or the other");
        let certificates = self.tls.then(Certificates::make);
        let redis = match &certificates {
            Some(own) if self.cluster => Shared::Parted(Cluster::start_tls(own).await),
            Some(own) if self.sentinels => Shared::Elected(Sentinels::start_tls(own).await),
            Some(own) => Shared::One(Redis::start_tls(own, true).await),
            None if self.cluster => Shared::Parted(Cluster::start().await),
            None if self.sentinels => Shared::Elected(Sentinels::start().await),
            None => Shared::One(Redis::start().await),
        };
        let least = if self.envoy { 2 } else { 1 };
        let count = |role: &str, usual: usize| {
            let own = self.counts.iter().rev().find(|(of, _)| *of == role);
            own.map_or(usual, |(_, count)| *count).max(least)
        };
        let places = SHAPE
            .iter()
            .flat_map(|(role, usual)| (0..count(role, *usual)).map(|_| (Place::new(role), None)));
        let mut deployment = Deployment {
            redis,
            certificates,
            postgres: own,
            pooler,
            database,
            env: self.env,
            program: self.program,
            envoy: None,
            balancer: None,
            processes: places.collect(),
            ways: Vec::new(),
            own: Vec::new(),
            fallen: Vec::new(),
        };
        if self.ways {
            let places = deployment.called();
            for _ in &deployment.processes {
                deployment.ways.push(Ways::open(&places).await);
            }
        }
        if self.envoy {
            let services = services().map(|role| (role, deployment.grpc(role)));
            deployment.envoy = Some(Envoy::start(services.collect()).await);
        }
        let gateways = deployment.gateways();
        deployment.balancer = self.balancer.map(|kind| Balancer::start(kind, &gateways));
        deployment.start().await;
        deployment
    }
}
