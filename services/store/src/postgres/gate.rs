//! Whether the server is worth asking.
//!
//! A call that fails, or waits for longer than it should, raises a suspicion.
//! Then the server is asked, by a new connection and by one of the pool that is
//! idle: errors of statements say little about a server. It is away when neither
//! answers, nor any call meanwhile. That no new connection can be made is not
//! enough: a pooler or a server with no place left refuses it, and serves those
//! who are there. While the server is away calls fail at once, those that wait
//! already too, and it is asked on until it answers: by no user's call.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use sqlx::{ConnectOptions as _, Connection as _, postgres::PgConnectOptions};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    options::check,
    pools::{Alive, Pools},
};
use crate::{Error, ErrorKind, Result};

/// How long an answer may take before the server is asked whether it is there.
const PATIENCE: Duration = Duration::from_secs(1);
/// What took so much longer to be noticed was not: this process stood still.
const STILL: Duration = Duration::from_millis(500);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(250);

/// See the module. Clones are one gate.
#[derive(Clone, Debug)]
pub struct Gate {
    state: Arc<State>,
    _prober: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct State {
    away: watch::Sender<bool>,
    suspicion: Notify,
    /// When a call was last answered.
    answered: Alive,
}

impl Gate {
    /// Asks at `options` and by connections of `pools`, for as long as anybody
    /// holds the gate. The server is away when it says nothing for `silence`.
    pub(super) fn start(options: PgConnectOptions, silence: Duration, pools: &Arc<Pools>) -> Self {
        let (away, suspicion) = (watch::Sender::default(), Notify::new());
        let state = Arc::new(State { away, suspicion, answered: Alive::new() });
        let asked = Asked { options, silence, pools: Arc::downgrade(pools) };
        let prober = tokio::spawn(probe(state.clone(), asked));
        Self { state, _prober: Arc::new(AbortOnDropHandle::new(prober)) }
    }

    /// True while the server does not answer.
    pub fn is_away(&self) -> bool {
        *self.state.away.borrow()
    }

    /// Awaits what the server was asked, while it is there.
    ///
    /// **Errors**: those of `work`; `Unavailable` and undone when the server is
    /// away already, and nothing was asked; `Timeout` when it goes away meanwhile:
    /// what it was asked may still happen.
    pub(crate) async fn pass<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut away = self.state.away.subscribe();
        if *away.borrow_and_update() {
            return Err(Error::new(ErrorKind::Unavailable, "database is away").undone());
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
        match &done {
            Ok(_) => self.state.answered.note(),
            Err(error) if error.is_transient() => self.suspect(),
            Err(_) => {}
        }
        done
    }

    /// Something casts doubt on the server: it is asked.
    pub fn suspect(&self) {
        self.state.suspicion.notify_one();
    }
}

/// Asks when somebody suspects, and while it is away again and again.
async fn probe(state: Arc<State>, server: Asked) {
    loop {
        if !*state.away.borrow() {
            state.suspicion.notified().await;
        }
        let is_away = is_silent(&state, &server).await;
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

/// True when it answered nobody in time. Of a time in which nobody listened nothing is
/// known: it is asked again.
async fn is_silent(state: &State, server: &Asked) -> bool {
    loop {
        let asked = Instant::now();
        let is_away = tokio::select! {
            true = server.takes_new() => false,
            true = server.keeps_old() => false,
            else => state.answered.since() > asked.elapsed(),
        };
        if !is_away || asked.elapsed() < server.silence + STILL {
            return is_away;
        }
    }
}

/// The server, and how it is asked.
struct Asked {
    options: PgConnectOptions,
    silence: Duration,
    pools: Weak<Pools>,
}

impl Asked {
    /// True when it answers a new connection, be it that it has no place for one:
    /// then it answers those who are connected already.
    async fn takes_new(&self) -> bool {
        let greeted = greet(&self.options, self.silence).await;
        greeted.err().is_none_or(|error| !error.is_transient() || is_full(&error))
    }

    /// True when it answers a connection of the pool: the first that is idle.
    async fn keeps_old(&self) -> bool {
        let asked = async {
            let mut idle = loop {
                let Some(pools) = self.pools.upgrade() else { return false };
                match pools.pool().try_acquire() {
                    Some(idle) => break idle,
                    None => sleep(PAUSE / 10).await,
                }
            };
            check(&mut idle).await.is_ok()
        };
        timeout(self.silence, asked).await.unwrap_or(false)
    }
}

/// Out of connections, memory or disk; a pooler has a code for no place that it
/// has for other things too.
fn is_full(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    let sqlx = source.and_then(|source| source.downcast_ref::<sqlx::Error>());
    let Some(said) = sqlx.and_then(|error| error.as_database_error()) else { return false };
    let code = said.code();
    code.is_some_and(|code| code.starts_with("53"))
        || said.message().contains("no more connections allowed")
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
