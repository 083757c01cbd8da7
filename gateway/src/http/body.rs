//! JSON bodies, in canonical proto3 JSON, and their faults.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, header};
use mingle_proto::errors::v1::Reason;
use mingle_runtime::status::Kind;
use serde::{Serialize, de::DeserializeOwned};

use crate::{fault::Fault, gateway::Gateway, ws::codec};

/// A request's body.
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Gateway>> for Body<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, gateway: &Arc<Gateway>) -> Result<Self, Fault> {
        let limits = &gateway.config.limits;
        let read = Bytes::from_request(request, gateway);
        let read = tokio::time::timeout(limits.hello_timeout(), read).await.map_err(|_| {
            Fault::new(Kind::Invalid, Reason::MalformedFrame, "the body did not arrive in time")
        })?;
        let bytes = read.map_err(|_| {
            let max = limits.http_body_bytes;
            let message = format!("the body is larger than {max} bytes, or broke off");
            Fault::new(Kind::Invalid, Reason::FrameTooLarge, message)
        })?;
        codec::json(&bytes).map(Self)
    }
}

/// A response's body.
pub(super) struct Reply<T>(pub T);

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(json) => {
                let json_type = HeaderValue::from_static("application/json");
                let no_store = HeaderValue::from_static("no-store");
                let headers =
                    [(header::CONTENT_TYPE, json_type), (header::CACHE_CONTROL, no_store)];
                (headers, json).into_response()
            }
            Err(error) => {
                tracing::error!(%error, "a response has no JSON form");
                Fault::new(Kind::Internal, Reason::Internal, "internal error").into_response()
            }
        }
    }
}
