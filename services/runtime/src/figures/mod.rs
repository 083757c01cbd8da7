//! How this process fares, in figures: what it costs, how fast it answers, and how
//! fast the servers that it uses answer it.
//!
//! Looked at when somebody asks, and once a second at most.

mod calls;
mod process;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use mingle_proto::runtime::v1 as pb;
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::timeout};

use crate::{fresh::Fresh, telemetry};

/// How long a server is waited for. Whoever asks this process waits a second.
const PATIENCE: Duration = Duration::from_millis(600);

/// Shows the process itself as metrics from now on, each time that they are asked
/// for.
pub(crate) fn show() {
    process::describe();
    telemetry::observe(|| {
        process::show();
        true
    });
}

/// A server that the process uses.
#[async_trait]
pub trait Ask: Send + Sync + 'static {
    /// What it is to the process and what serves it, as [`pb::Server`] has them.
    fn names(&self) -> (&'static str, &'static str);

    /// How it is, found out now. Ends by itself, if later than anybody waits.
    async fn ask(&self) -> pb::Server;
}

/// See the module. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Figures {
    sources: Arc<Mutex<Sources>>,
    fresh: Arc<Fresh<pb::Figures>>,
}

#[derive(Clone, Default)]
struct Sources {
    levels: Vec<Level>,
    servers: Vec<Arc<Asked>>,
}

#[derive(Clone)]
struct Level {
    name: &'static str,
    count: Arc<dyn Fn() -> usize + Send + Sync>,
}

/// A server, asked once at a time: one that hangs is not asked ever more.
struct Asked {
    server: Arc<dyn Ask>,
    fresh: Fresh<pb::Server>,
}

impl Asked {
    async fn look(&self) -> pb::Server {
        let server = self.server.clone();
        let asked = self.fresh.get(|| async move { server.ask().await });
        let failure = match timeout(PATIENCE, asked).await {
            Ok(Some(told)) => return told,
            Ok(None) => "unavailable",
            Err(_) => "timeout",
        };
        let (name, kind) = self.server.names();
        pb::Server {
            name: name.to_owned(),
            kind: kind.to_owned(),
            failure: failure.to_owned(),
            ..Default::default()
        }
    }
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

impl Figures {
    /// Tells how many of `name` there are, too.
    pub(crate) fn count(
        &self,
        name: &'static str,
        count: impl Fn() -> usize + Send + Sync + 'static,
    ) {
        self.sources.lock().levels.push(Level { name, count: Arc::new(count) });
    }

    /// Asks this server, too.
    pub(crate) fn ask(&self, server: impl Ask) {
        let asked = Asked { server: Arc::new(server), fresh: Fresh::default() };
        self.sources.lock().servers.push(Arc::new(asked));
    }

    /// The figures as they are now, or were within a second.
    pub(crate) async fn look(&self) -> pb::Figures {
        let sources = self.sources.lock().clone();
        self.fresh.get(|| sources.look()).await.unwrap_or_default()
    }
}

impl Sources {
    async fn look(self) -> pb::Figures {
        let asking: JoinSet<_> =
            self.servers.iter().cloned().map(|server| async move { server.look().await }).collect();
        let mut servers = asking.join_all().await;
        servers.sort_by(|one, other| other.name.cmp(&one.name));
        let (window, recent) = telemetry::recent();
        let level = |level: &Level| pb::Level {
            name: level.name.to_owned(),
            count: (level.count)() as u64,
        };
        pb::Figures {
            process: process::look(),
            window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            calls: calls::of(&recent),
            levels: self.levels.iter().map(level).collect(),
            servers,
        }
    }
}
