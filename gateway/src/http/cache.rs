//! What operators do to the cache.

use std::sync::Arc;

use axum::extract::State;
use mingle_proto::{
    cache::v1::{Applied, ClearNamespaceRequest, cache_service_client::CacheServiceClient},
    errors::v1::Reason,
    gateway::v1 as pb,
};
use mingle_runtime::Role;

use super::{
    access::{Admin, Query},
    body::Reply,
};
use crate::{fault::Fault, gateway::Gateway};

/// `DELETE /api/admin/cache/clear?namespace=`
pub(super) async fn clear(
    State(gateway): State<Arc<Gateway>>,
    admin: Admin,
    query: Query,
) -> Result<Reply<pb::CacheCleared>, Fault> {
    let query = query.only(&["namespace"])?;
    // A variable that is not set must not clear all of it.
    if query.text("namespace") == Some("") {
        let message = "namespace is empty: leave it out to clear every namespace";
        return Err(Fault::invalid(Reason::Required, "namespace", message));
    }
    let namespace = query.text("namespace").unwrap_or_default().to_owned();
    let request = ClearNamespaceRequest { actor: admin.actor(), namespace };
    let mut cache = CacheServiceClient::new(gateway.ctx.peers.get(Role::Cache));
    let applied = cache.clear_namespace(request).await?.into_inner().applied();
    Ok(Reply(pb::CacheCleared { is_pending: applied == Applied::Pending }))
}
