//! The role as a store: each method is a call through the whole server stack.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use mingle_proto::ratelimit::v1::{self, rate_limit_service_client::RateLimitServiceClient};
use mingle_ratelimit::{
    Config, bind,
    domain::{Answer, Ask, Charged, Limit, Limits, Place, Standing, Verdict},
    store::Store,
};
use mingle_runtime::{Context, config::Section as _, grpc::Transport};
use mingle_store::{Error, ErrorKind, Result, clock::ManualClock, redis::Redis};
use parking_lot::Mutex;
use tonic::{Code, Status};

use crate::world::{LIMITS, START, World, bus, config};

/// What is counted, asked by the RPCs. That an ask was charged before has no
/// field of the reply: it is allowed.
struct Through {
    client: RateLimitServiceClient<Transport>,
    /// Subject and id of what is given back by Release.
    leases: Mutex<BTreeSet<(String, String)>>,
}

/// A client of the role behind the whole server stack.
pub(crate) async fn serve(
    clock: Arc<ManualClock>,
    redis: Option<Redis>,
) -> (RateLimitServiceClient<Transport>, Context) {
    let (transport, context) = serve_by(clock, redis, "").await;
    (RateLimitServiceClient::new(transport), context)
}

/// The way to the role, with this in its section.
pub(crate) async fn serve_by(
    clock: Arc<ManualClock>,
    redis: Option<Redis>,
    keys: &str,
) -> (Transport, Context) {
    let context = Context::for_test(
        &[Config::DEFAULTS],
        &format!("[ratelimit]\ntimeout_ms = 10000\n{keys}\n{LIMITS}"),
    );
    let redis = redis.map(|redis| (redis.clone(), bus(&redis)));
    let routes = bind(context.clone(), clock, redis).await.unwrap().into_routes().unwrap();
    (Transport::local(routes), context)
}

pub(crate) async fn open() -> World {
    let clock = Arc::new(ManualClock::at(START));
    let (client, _) = serve(clock.clone(), None).await;
    World { store: Arc::new(Through::new(client)), clock, limits: config().limits(), _server: None }
}

pub(crate) fn charge(ask: &Ask) -> v1::Charge {
    let limits = ask.limits.iter().map(|limit| limit.name.to_string()).collect();
    v1::Charge { subject: ask.subject.clone(), limits, cost: Some(ask.cost) }
}

fn answer(ask: &Ask, allowed: bool, states: &[v1::LimitState]) -> Answer {
    assert_eq!(states.len(), ask.limits.len());
    let us = |ms: u64| if ms == u64::MAX { ms } else { ms * 1_000 };
    let standing = |(state, limit): (&v1::LimitState, &Arc<_>)| {
        let limit: &Limit = limit;
        assert_eq!(
            (&*state.limit, state.quota, state.shadow),
            (&*limit.name, limit.quota, limit.shadow)
        );
        Standing {
            allowed: state.allowed,
            remaining: state.remaining,
            retry_us: us(state.retry_after_ms),
            reset_us: us(state.reset_after_ms),
        }
    };
    let standings = states.iter().zip(&ask.limits).map(standing).collect();
    let verdict = if allowed { Verdict::Allowed } else { Verdict::Denied };
    Answer::new(verdict, standings)
}

fn failed(status: Status) -> Error {
    let kind = match status.code() {
        Code::Unavailable => ErrorKind::Unavailable,
        Code::DeadlineExceeded => ErrorKind::Timeout,
        _ => ErrorKind::Unsupported,
    };
    Error::with_source(kind, "ratelimit by RPC", status)
}

fn checked(ask: &Ask, reply: &v1::CheckResponse) -> Answer {
    assert!(!reply.degraded);
    let charged = if reply.allowed && ask.cost > 0 { &*ask.charge_id } else { "" };
    assert_eq!(reply.charge_id, charged);
    let longest = reply.states.iter().filter(|state| !state.shadow);
    let longest = longest.map(|state| state.retry_after_ms).max();
    assert_eq!(Some(reply.retry_after_ms), longest.or(Some(0)));
    answer(ask, reply.allowed, &reply.states)
}

fn request(ask: &Ask) -> v1::CheckRequest {
    v1::CheckRequest {
        charge: Some(charge(ask)),
        request_id: ask.charge_id.clone(),
        is_new: ask.is_new,
        once: false,
    }
}

impl Through {
    fn new(client: RateLimitServiceClient<Transport>) -> Self {
        Self { client, leases: Mutex::default() }
    }

    async fn hold(&self, ask: &Ask) -> Result<Answer> {
        let (charge, request_id) = (Some(charge(ask)), ask.charge_id.clone());
        let reply = self.client.clone().acquire(v1::AcquireRequest { charge, request_id }).await;
        let reply = reply.map_err(failed)?.into_inner();
        self.leases.lock().insert((ask.subject.clone(), ask.charge_id.clone()));
        let lease = if reply.acquired { (&*ask.charge_id, ask.held_us() / 1_000) } else { ("", 0) };
        assert_eq!((&*reply.lease_id, reply.expires_after_ms), lease);
        let v1::AcquireResponse { acquired, lease_id, states, retry_after_ms, degraded, .. } =
            reply;
        let charge_id = lease_id;
        let allowed = acquired;
        Ok(checked(
            ask,
            &v1::CheckResponse {
                allowed,
                charge_id,
                states,
                retry_after_ms,
                degraded,
                ..v1::CheckResponse::default()
            },
        ))
    }

    async fn one(&self, ask: &Ask) -> Result<Answer> {
        if ask.is_lease() {
            return self.hold(ask).await;
        }
        match self.client.clone().check(request(ask)).await {
            Ok(reply) => Ok(checked(ask, &reply.into_inner())),
            Err(status) if status.code() == Code::AlreadyExists => {
                Ok(Answer::new(Verdict::Reused, Vec::new()))
            }
            Err(status) => Err(failed(status)),
        }
    }
}

#[async_trait]
impl Store for Through {
    async fn check(&self, asks: &[Ask]) -> Vec<Result<Answer>> {
        if let [ask] = asks {
            return vec![self.one(ask).await];
        }
        let checks = asks.iter().map(request).collect();
        let each = self.client.clone().check_each(v1::CheckEachRequest { checks }).await;
        let results = each.unwrap().into_inner().results;
        assert_eq!(results.len(), asks.len());
        let mut answers = Vec::new();
        for (ask, result) in asks.iter().zip(results) {
            answers.push(match result.response {
                Some(response) => Ok(checked(ask, &response)),
                // What is wrong with it is told to a check of its own.
                None => self.one(ask).await,
            });
        }
        answers
    }

    async fn peek(&self, ask: &Ask) -> Result<Answer> {
        let request = v1::PeekRequest { charge: Some(charge(ask)) };
        let reply = self.client.clone().peek(request).await.map_err(failed)?.into_inner();
        Ok(answer(ask, reply.allowed, &reply.states))
    }

    async fn refund(&self, charge: Charged<'_>, _: &Arc<Limits>) -> Result<bool> {
        let Charged { subject, charge_id, unless_repeated, .. } = charge;
        let (subject, charge_id) = (subject.to_owned(), charge_id.to_owned());
        let is_lease = self.leases.lock().contains(&(subject.clone(), charge_id.clone()));
        if is_lease && !unless_repeated {
            let request = v1::ReleaseRequest { subject, lease_id: charge_id };
            let reply = self.client.clone().release(request).await.map_err(failed)?;
            return Ok(reply.into_inner().released);
        }
        let request = v1::RefundRequest { subject, charge_id, unless_repeated };
        Ok(self.client.clone().refund(request).await.map_err(failed)?.into_inner().refunded)
    }

    fn place(&self, _: &str, _: &Limit) -> Place {
        Place::Memory
    }

    async fn reset(&self, subject: &str, limits: &[Arc<Limit>]) -> Result<()> {
        let limits = limits.iter().map(|limit| limit.name.to_string()).collect();
        let request = v1::ResetRequest { subject: subject.to_owned(), limits };
        self.client.clone().reset(request).await.map(drop).map_err(failed)
    }
}
