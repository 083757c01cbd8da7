//! Whether the server is worth asking.
//!
//! A call that fails, or waits for longer than it should, raises a suspicion.
//! A connection of its own then asks the server, and that answer alone decides:
//! errors of statements say little about a server, and a pool whose connections
//! are all taken says nothing. While the server is away calls fail at once, those
//! that wait already too, and it is asked on until it answers: by no user's call.

use std::{sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, error::DatabaseError, postgres::PgConnectOptions,
};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::options::check;
use crate::{Error, ErrorKind, Result};

/// How long an answer may take before the server is asked whether it is there.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it may take to say so.
const PROBE: Duration = Duration::from_secs(2);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(250);

/// See the module. Clones are one gate.
#[derive(Clone, Debug)]
pub struct Gate {
    state: Arc<State>,
    _prober: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    away: watch::Sender<bool>,
    suspicion: Notify,
}

impl Gate {
    /// Asks at `options`, for as long as anybody holds the gate.
    pub(super) fn start(options: PgConnectOptions) -> Self {
        let state = Arc::new(State::default());
        let prober = tokio::spawn(probe(state.clone(), options));
        Self { state, _prober: Arc::new(AbortOnDropHandle::new(prober)) }
    }

    /// True while the server does not answer.
    pub fn is_away(&self) -> bool {
        *self.state.away.borrow()
    }

    /// Awaits what the server was asked, while it is there.
    ///
    /// **Errors**: those of `work`; `Unavailable` when the server is away
    /// already, and nothing was asked; `Timeout` when it goes away meanwhile:
    /// what it was asked may still happen.
    pub(crate) async fn pass<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut away = self.state.away.subscribe();
        if *away.borrow_and_update() {
            return Err(Error::new(ErrorKind::Unavailable, "database is away"));
        }
        let gone = async {
            if timeout(PATIENCE, away.wait_for(|away| *away)).await.is_err() {
                self.suspect();
                let _ = away.wait_for(|away| *away).await;
            }
        };
        let done = tokio::select! {
            done = work => done,
            () = gone => Err(Error::new(ErrorKind::Timeout, "database went away")),
        };
        if done.as_ref().is_err_and(Error::is_transient) {
            self.suspect();
        }
        done
    }

    /// Something casts doubt on the server: it is asked.
    pub fn suspect(&self) {
        self.state.suspicion.notify_one();
    }
}

/// Asks when somebody suspects, and while it is away again and again.
async fn probe(state: Arc<State>, options: PgConnectOptions) {
    loop {
        if !*state.away.borrow() {
            state.suspicion.notified().await;
        }
        let greeted = greet(&options, PROBE).await;
        // A full server answers those who are connected already.
        let is_away = greeted.is_err_and(|error| error.is_transient() && !is_full(&error));
        if state.away.send_replace(is_away) != is_away {
            if is_away {
                tracing::warn!("the database is away: calls fail at once until it answers");
            } else {
                tracing::info!("the database answers again");
            }
        }
        sleep(PAUSE).await;
    }
}

/// Out of connections, memory or disk.
fn is_full(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    let sqlx = source.and_then(|source| source.downcast_ref::<sqlx::Error>());
    let code = sqlx.and_then(|error| error.as_database_error()).and_then(DatabaseError::code);
    code.is_some_and(|code| code.starts_with("53"))
}

/// One connection, asked and closed.
pub(super) async fn greet(options: &PgConnectOptions, bound: Duration) -> Result<()> {
    let greeting = async {
        let mut session = options.connect().await?;
        check(&mut session).await?;
        // It has said what was asked: how it ends does not matter.
        let _ = session.close().await;
        Ok(())
    };
    match timeout(bound, greeting).await {
        Ok(greeted) => greeted,
        Err(_) => Err(Error::new(ErrorKind::Timeout, "database connection")),
    }
}
