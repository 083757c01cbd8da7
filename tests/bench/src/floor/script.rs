//! A bare limiter: a tonic call that runs one script of two commands, and nothing else.

use std::sync::Arc;

use anyhow::Context as _;
use mingle_proto::ratelimit::v1::{CheckRequest, CheckResponse, LimitState};
use redis::{Client, Script, aio::MultiplexedConnection};
use tonic::{
    Request, Response, Status,
    codegen::BoxFuture,
    server::{NamedService, UnaryService},
};

use super::unary;

const COUNT: &str = "local used = redis.call('INCR', KEYS[1])
if used == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return used";
const QUOTA: u64 = 30;
const WINDOW_MS: u64 = 60_000;

#[derive(Clone)]
struct Limiter {
    redis: MultiplexedConnection,
    script: Arc<Script>,
}

impl NamedService for Limiter {
    const NAME: &'static str = "mingle.ratelimit.v1.RateLimitService";
}

impl UnaryService<CheckRequest> for Limiter {
    type Response = CheckResponse;
    type Future = BoxFuture<Response<CheckResponse>, Status>;

    fn call(&mut self, request: Request<CheckRequest>) -> Self::Future {
        let Self { mut redis, script } = self.clone();
        Box::pin(async move {
            let charge = request.into_inner().charge.unwrap_or_default();
            let mut run = script.key(charge.subject);
            let used = run.arg(WINDOW_MS).invoke_async::<u64>(&mut redis).await;
            let used = used.map_err(|error| Status::unavailable(error.to_string()))?;
            let (allowed, remaining) = (used <= QUOTA, QUOTA.saturating_sub(used));
            let limit = charge.limits.into_iter().next().unwrap_or_default();
            let state = LimitState { limit, allowed, remaining, ..LimitState::default() };
            let reply = CheckResponse { allowed, states: vec![state], ..CheckResponse::default() };
            Ok(Response::new(reply))
        })
    }
}

/// Serves over the Redis at `url` until it is killed.
pub(crate) async fn serve(url: &str) -> anyhow::Result<()> {
    let client = Client::open(url).context("the URL of Redis")?;
    let redis = client.get_multiplexed_async_connection().await?;
    let limiter = Limiter { redis, script: Arc::new(Script::new(COUNT)) };
    unary::serve(limiter).await
}
