//! Rules for descriptors, by Envoy's protocol.

mod files;
mod replies;
mod table;

use std::{path::PathBuf, sync::Arc};

use envoy_types::pb::envoy::{
    extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor::Entry},
    service::ratelimit::v3::{
        RateLimitRequest, RateLimitResponse, rate_limit_service_client::RateLimitServiceClient,
    },
};
use mingle_runtime::grpc::Transport;
use mingle_store::{clock::ManualClock, redis::Redis};

use crate::{through::serve_by, world::START};

type Client = RateLimitServiceClient<Transport>;

/// The rules of these tests.
fn rules() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/descriptors/rules")
}

async fn open(redis: Option<Redis>) -> (Client, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START));
    let keys = format!("descriptors = {:?}", rules());
    let (transport, _) = serve_by(clock.clone(), redis, &keys).await;
    (RateLimitServiceClient::new(transport), clock)
}

fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).into(), value: (*value).into() };
    RateLimitDescriptor { entries: entries.iter().map(entry).collect(), ..Default::default() }
}

fn request(domain: &str, descriptors: Vec<RateLimitDescriptor>) -> RateLimitRequest {
    RateLimitRequest { domain: domain.to_owned(), descriptors, hits_addend: 0 }
}

async fn ask(client: &Client, request: RateLimitRequest) -> RateLimitResponse {
    client.clone().should_rate_limit(request).await.unwrap().into_inner()
}
