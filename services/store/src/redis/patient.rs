//! How long is waited for an answer.

use std::{io, pin::pin, time::Duration};

use futures::FutureExt as _;
use redis::{
    AsyncConnectionConfig, Client, Cmd, Pipeline, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::{task::yield_now, time::timeout};

/// Of a task that the time is over for, until its answer has come if it is there: one
/// in which it is read, one in which it is passed on, and one to spare.
const TURNS: u32 = 3;

/// A connection that many share, of which this one waits so long for an answer.
///
/// What answered in time is not silent because this process was too busy to read it:
/// when the time is over, everything that is there is read before it is given up.
#[derive(Clone)]
pub(super) struct Patient {
    connection: MultiplexedConnection,
    patience: Duration,
}

impl Patient {
    /// Connects. That itself takes as long as it takes.
    pub(super) async fn connect(client: &Client, patience: Duration) -> RedisResult<Self> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Self { connection, patience })
    }

    /// The same connection; this one waits so long.
    pub(super) fn waits(&self, patience: Duration) -> Self {
        Self { connection: self.connection.clone(), patience }
    }
}

impl ConnectionLike for Patient {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        in_time(self.patience, self.connection.send_packed_command(cmd)).boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let answers = self.connection.send_packed_commands(pipeline, offset, count);
        in_time(self.patience, answers).boxed()
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

async fn in_time<T>(
    patience: Duration,
    answer: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    let mut answer = pin!(answer);
    if let Ok(answer) = timeout(patience, &mut answer).await {
        return answer;
    }
    for _ in 0..TURNS {
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            () = yield_now() => {}
        }
    }
    Err(io::Error::from(io::ErrorKind::TimedOut).into())
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    /// The server answers at once; who reads it, and who passes it on, come to it when
    /// the time is over, behind a task that is busy all that while.
    #[tokio::test]
    async fn an_answer_that_is_there_is_heard_however_late_it_is_read() {
        let (server, socket) = tokio::net::UnixStream::pair().unwrap();
        let ((pass, read), (tell, passed)) = (oneshot::channel(), oneshot::channel());
        tokio::spawn(async move { tell.send(read.await.unwrap()).unwrap() });
        tokio::spawn(async move {
            socket.readable().await.unwrap();
            pass.send(socket.try_read(&mut [0; 8]).unwrap()).unwrap();
        });
        let asked = tokio::spawn(in_time(PATIENCE, async { Ok(passed.await.unwrap()) }));
        yield_now().await;
        server.try_write(b"+OK\r\n").unwrap();
        let busy = std::time::Instant::now();
        while busy.elapsed() < PATIENCE * 2 {}
        assert_eq!(asked.await.unwrap(), Ok(5));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_not_there_is_given_up_when_the_time_is_over() {
        let begun = tokio::time::Instant::now();
        let error = in_time(PATIENCE, std::future::pending::<RedisResult<()>>()).await;
        assert!(error.unwrap_err().is_timeout());
        assert_eq!(begun.elapsed(), PATIENCE);
    }
}
