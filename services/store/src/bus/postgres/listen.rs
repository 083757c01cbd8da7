//! The connection that listens, and the next one when it is lost.

use std::{convert::Infallible, sync::Arc, time::Duration};

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    CHANNEL,
    frame::{Piece, unpack},
};
use crate::{Error, ErrorKind, Result, backoff::Backoff, bus::ear::Ear};

/// Listens until `stop`, on one connection after the other.
pub(super) async fn run(direct: PgConnectOptions, ear: Arc<Ear>, stop: CancellationToken) {
    let listening = async {
        let (mut backoff, mut told) = (Backoff::new(), false);
        loop {
            let begin = Instant::now();
            let Err(error) = listen(&direct, &ear, &mut told).await;
            let was_heard = ear.hearing().is_open();
            ear.shut(&error);
            let held = if was_heard { begin.elapsed() } else { Duration::ZERO };
            sleep(backoff.after(held)).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = listening => {}
    }
}

/// Listens on one connection, until it is lost. It is heard from the first
/// notification on, which is a beat of this process at the latest: through a
/// transaction pooler LISTEN succeeds, and nothing ever comes.
async fn listen(direct: &PgConnectOptions, ear: &Ear, told: &mut bool) -> Result<Infallible> {
    ear.begin();
    let connecting = timeout_at(ear.silent_at(), connect(direct));
    let mut listener = connecting.await.map_err(|_| silent())??;
    ear.begin();
    ear.want_beat();
    loop {
        tokio::select! {
            biased;
            heard = listener.try_recv() => match heard? {
                Some(notification) => {
                    if !ear.hearing().is_open() {
                        ear.open();
                        *told = false;
                    }
                    take(ear, notification.payload());
                }
                None => return Err(Error::new(ErrorKind::Unavailable, "postgres listen")),
            },
            () = sleep_until(ear.silent_at()) => {
                if !ear.hearing().is_open() && !std::mem::replace(told, true) {
                    tracing::warn!(
                        "PostgreSQL lets listen and nothing is heard: is a transaction pooler \
                         in between, and no DATABASE_DIRECT_URL past it?"
                    );
                }
                return Err(silent());
            }
        }
    }
}

/// The driver's listener would connect again by itself, and not tell when it
/// listens: a pool of its own that is left with it cannot.
async fn connect(direct: &PgConnectOptions) -> Result<PgListener> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(direct.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.ignore_pool_close_event(true);
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

fn take(ear: &Ear, text: &str) {
    let Some(pieces) = unpack(text) else { return ear.unreadable() };
    for piece in pieces {
        match piece {
            Piece::Message { topic, payload } => ear.message(&topic, &payload),
            Piece::Gap { topic } => ear.gap(&topic),
            Piece::Beat(beat) => ear.beat(&beat),
        }
    }
}

/// Nothing came in time.
fn silent() -> Error {
    Error::new(ErrorKind::Timeout, "postgres listen")
}
