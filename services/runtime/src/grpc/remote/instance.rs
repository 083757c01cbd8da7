//! One instance, asked beside the calls that are balanced over all.

use std::time::Duration;

use http::{HeaderValue, header::AUTHORIZATION};
use mingle_proto::runtime::v1::{
    DescribeRequest, DescribeResponse, diagnostics_service_client::DiagnosticsServiceClient,
};
use tonic::{
    Code, Request, Status,
    metadata::MetadataMap,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

/// Why an instance did not say how it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// There is no connection to it.
    Unreachable,
    /// It has not answered in time.
    Silent,
    /// It, or a proxy before it, answers something else: it drains, is overloaded,
    /// or does not know who asks.
    Refuses,
}

impl Silence {
    /// A word for operators.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Refuses => "refuses",
        }
    }
}

/// See the module. What it answers, or does not, is no reason to call it or to
/// leave it alone.
#[derive(Clone, Debug)]
pub struct Instance {
    address: String,
    channel: Channel,
    bearer: Option<HeaderValue>,
}

impl Instance {
    pub(super) fn new(address: String, channel: Channel, bearer: Option<HeaderValue>) -> Self {
        Self { address, channel, bearer }
    }

    /// `host:port`, for operators.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The way to it, for generated clients.
    pub fn way(&self) -> InterceptedService<Channel, Bearer> {
        InterceptedService::new(self.channel.clone(), Bearer(self.bearer.clone()))
    }

    /// Asks it to describe itself with figures, and waits so long.
    pub async fn describe(&self, patience: Duration) -> Result<DescribeResponse, Silence> {
        let mut question = Request::new(DescribeRequest { figures: true });
        question.set_timeout(patience);
        let mut client = DiagnosticsServiceClient::new(self.way());
        match tokio::time::timeout(patience, client.describe(question)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(silence(&status)),
            Err(_) => Err(Silence::Silent),
        }
    }
}

/// Proves this process to an instance.
#[derive(Clone, Debug)]
pub struct Bearer(Option<HeaderValue>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            let mut headers = std::mem::take(request.metadata_mut()).into_headers();
            headers.insert(AUTHORIZATION, bearer.clone());
            *request.metadata_mut() = MetadataMap::from_headers(headers);
        }
        Ok(request)
    }
}

fn silence(status: &tonic::Status) -> Silence {
    // A status that came from the other side has no cause on this one.
    let is_ours = std::error::Error::source(status).is_some();
    match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => Silence::Silent,
        _ if is_ours => Silence::Unreachable,
        _ => Silence::Refuses,
    }
}
