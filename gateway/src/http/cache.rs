//! What operators do to the cache.

use std::sync::Arc;

use axum::extract::State;
use mingle_proto::{
    cache::v1::{Applied, ClearNamespaceRequest, cache_service_client::CacheServiceClient},
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
    let namespace = query.text("namespace").unwrap_or_default().to_owned();
    let request = ClearNamespaceRequest { actor: admin.actor(), namespace };
    let mut cache = CacheServiceClient::new(gateway.ctx.peers.get(Role::Cache));
    let applied = cache.clear_namespace(request).await?.into_inner().applied();
    Ok(Reply(pb::CacheCleared { is_pending: applied == Applied::Pending }))
}
