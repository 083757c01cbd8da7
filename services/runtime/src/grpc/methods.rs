//! Which methods stream, read once from the descriptors.

use std::{collections::HashSet, sync::LazyLock};

use prost::Message as _;
use prost_types::FileDescriptorSet;

static STREAMING: LazyLock<HashSet<String>> =
    LazyLock::new(|| {
        let set = FileDescriptorSet::decode(mingle_proto::DESCRIPTORS).unwrap_or_default();
        let mut paths = HashSet::from([
            "/grpc.health.v1.Health/Watch".to_owned(),
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned(),
        ]);
        for file in &set.file {
            for service in &file.service {
                let streaming = |method: &&prost_types::MethodDescriptorProto| {
                    method.client_streaming() || method.server_streaming()
                };
                paths.extend(service.method.iter().filter(streaming).map(|method| {
                    format!("/{}.{}/{}", file.package(), service.name(), method.name())
                }));
            }
        }
        paths
    });

/// True for the path of a method with a stream on either side: deadlines and
/// load shedding are for the others.
pub fn is_streaming(path: &str) -> bool {
    STREAMING.contains(path)
}

/// True for what operators and probes call without token.
pub fn is_open(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.") || path.starts_with("/grpc.reflection.v1.")
}

#[cfg(test)]
mod tests {
    use super::is_streaming;

    #[test]
    fn streams_are_known_by_their_descriptors() {
        assert!(is_streaming("/mingle.chat.v1.ChatService/Subscribe"));
        assert!(is_streaming("/mingle.presence.v1.PresenceService/Watch"));
        assert!(!is_streaming("/mingle.chat.v1.ChatService/Send"));
    }
}
