//! The connection that listens, and the next one when it is lost.

use std::{convert::Infallible, sync::Arc};

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
        let mut backoff = Backoff::new();
        loop {
            let begin = Instant::now();
            let Err(error) = listen(&direct, &ear).await;
            ear.shut(&error);
            sleep(backoff.after(begin.elapsed())).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = listening => {}
    }
}

/// Listens on one connection, until it is lost.
async fn listen(direct: &PgConnectOptions, ear: &Ear) -> Result<Infallible> {
    ear.begin();
    let connecting = timeout_at(ear.silent_at(), connect(direct));
    let mut listener = connecting.await.map_err(|_| silent())??;
    ear.open();
    loop {
        tokio::select! {
            biased;
            heard = listener.try_recv() => match heard? {
                Some(notification) => take(ear, notification.payload()),
                None => return Err(Error::new(ErrorKind::Unavailable, "postgres listen")),
            },
            () = sleep_until(ear.silent_at()) => return Err(silent()),
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
