//! A gRPC server of one's own, whose callers Mingle counts.
//!
//! ```sh
//! cargo run                       # Mingle, in another terminal
//! cargo run -p mingle-client --features ratelimit --example rate_limited
//! ```
//!
//! `rankings` is a limit of Mingle's configuration, 30 calls a minute for each
//! user over however many servers; the 31st is answered RESOURCE_EXHAUSTED with
//! when to come again. While Mingle is away each server counts by itself.

#![expect(clippy::print_stdout, reason = "says where it listens")]

use std::{env, error::Error, time::Duration};

use mingle_client::ratelimit::{Limiter, Outage, Policy, RateLimitLayer};
use tokio::net::TcpListener;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Server, server::TcpIncoming},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mingle = arguments.next().unwrap_or_else(|| "http://127.0.0.1:50051".to_owned());
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:50100".to_owned());

    // Connects when it is first asked, and again whenever it has to.
    let channel = Channel::from_shared(mingle)?.connect_lazy();
    let limiter = Limiter::new(InterceptedService::new(channel, Bearer::from_environment()?));
    let policy = Policy {
        limit: "rankings".to_owned(),
        quota: 30,
        window: Duration::from_secs(60),
        outage: Outage::Local,
    };
    // Whom to charge. Take who your own authentication found; a caller without
    // a name is not charged here.
    let by_user = |parts: &http::request::Parts| {
        let user = parts.headers.get("x-user-id")?.to_str().ok()?;
        Some(format!("user/{user}"))
    };

    // In place of your own service.
    let (_, service) = tonic_health::server::health_reporter();
    let listener = TcpListener::bind(listen).await?;
    println!("{{\"listening\":\"{}\"}}", listener.local_addr()?);
    Server::builder()
        .layer(RateLimitLayer::new(limiter, policy, by_user))
        .add_service(service)
        .serve_with_incoming(TcpIncoming::from(listener))
        .await?;
    Ok(())
}

/// Presents the token that Mingle's services ask for, where there is one.
#[derive(Clone)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    fn from_environment() -> Result<Self, Box<dyn Error>> {
        let token = env::var_os("MINGLE_INTERNAL_TOKEN");
        let token = token.and_then(|token| token.into_string().ok());
        let bearer = token.map(|token| format!("Bearer {token}").parse());
        Ok(Self(bearer.transpose()?))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}
