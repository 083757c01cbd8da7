//! One look at every instance, for whoever wants to know before any call.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use http::Uri;
use mingle_proto::runtime::v1::{
    DescribeRequest, diagnostics_service_client::DiagnosticsServiceClient,
    diagnostics_service_server::SERVICE_NAME as DIAGNOSTICS,
};
use tokio::{task::JoinSet, time::timeout};
use tonic::{Code, Request};

use super::{
    Address, Remote, address,
    endpoint::channel,
    question::{self, Answer},
};
use crate::{Role, config::Secret, grpc::Transport};

/// How long a name, or an instance, is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Instances that are asked at the same time.
const AT_ONCE: usize = 32;

/// What became of the look at one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its address, or a name that stands for no address.
    pub instance: String,
    /// What it said.
    pub said: Said,
}

/// What an instance said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It serves, and its calls are let in.
    Well,
    /// It answers, and does not serve: it starts, or ends.
    NotServing,
    /// It lets our calls not in.
    WrongToken,
    /// It has other roles than the one that it is asked for.
    OtherRoles(Vec<String>),
    /// Nothing: why.
    Nothing(String),
}

/// Asks every instance at `addresses` whether it serves `role`, to whoever presents
/// `token`: by `grpc.health.v1`, and what is guarded by the token by `Describe`,
/// which changes nothing. Takes six seconds for each 32 of them at most, and two
/// for each name.
pub(crate) async fn look(role: Role, addresses: Vec<Address>, token: &Secret) -> Vec<Seen> {
    let (mut instances, mut seen) = (BTreeSet::new(), Vec::new());
    for address in addresses {
        let why = match &address {
            Address::One(uri) => {
                instances.insert(uri.to_string());
                continue;
            }
            Address::Name(name) => match timeout(PATIENCE, address::instances(name)).await {
                Ok(Ok(found)) => {
                    instances.extend(found);
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "not resolved within 2 s".to_owned(),
            },
        };
        seen.push(Seen { instance: address.to_string(), said: Said::Nothing(why) });
    }
    let instances: Vec<_> = instances.into_iter().collect();
    for some in instances.chunks(AT_ONCE) {
        let asking = some.iter().map(|instance| one(role, instance.clone(), token.clone()));
        seen.extend(asking.collect::<JoinSet<_>>().join_all().await);
    }
    seen.sort_by(|one, other| one.instance.cmp(&other.instance));
    seen
}

/// True when a process of Mingle serves gRPC there.
pub async fn is_mingle(address: SocketAddr) -> bool {
    match format!("http://{address}").parse() {
        Ok(uri) => question::knows(&channel(uri), DIAGNOSTICS).await,
        Err(_) => false,
    }
}

async fn one(role: Role, instance: String, token: Secret) -> Seen {
    let said = match instance.parse::<Uri>() {
        Ok(uri) => ask(role, uri, &token).await,
        Err(error) => Said::Nothing(error.to_string()),
    };
    Seen { instance: instance.trim_end_matches('/').to_owned(), said }
}

async fn ask(role: Role, uri: Uri, token: &Secret) -> Said {
    match question::ask(&channel(uri.clone())).await {
        Answer::Serves => {}
        Answer::Refuses => return Said::NotServing,
        Answer::Nothing(why) => return Said::Nothing(why),
    }
    let remote = Remote::new(role.name(), vec![Address::One(uri)]);
    let mut diagnostics = DiagnosticsServiceClient::new(Transport::remote(remote, token));
    let mut request = Request::new(DescribeRequest::default());
    request.set_timeout(PATIENCE);
    match diagnostics.describe(request).await {
        Ok(described) => {
            let roles = described.into_inner().roles;
            let is_one = roles.iter().any(|name| name == role.name());
            if is_one { Said::Well } else { Said::OtherRoles(roles) }
        }
        Err(status) => match status.code() {
            Code::Unauthenticated => Said::WrongToken,
            Code::Unavailable | Code::DeadlineExceeded => {
                Said::Nothing(format!("it says that it serves, but: {}", status.message()))
            }
            // A proxy before it decides what passes.
            _ => Said::Well,
        },
    }
}
