//! What the descriptors say of methods, read once.

use std::{collections::HashMap, sync::LazyLock};

use prost::Message as _;
use prost_types::FileDescriptorSet;

/// Our own methods by path: the name, and whether either side streams.
static METHODS: LazyLock<HashMap<String, Method>> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(mingle_proto::DESCRIPTORS).unwrap_or_default();
    let mut methods = HashMap::new();
    for file in set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let streams = method.client_streaming() || method.server_streaming();
                let (service, name) = (service.name().to_owned(), method.name().to_owned());
                methods.insert(path, Method { service, name, streams });
            }
        }
    }
    methods
});

struct Method {
    service: String,
    name: String,
    streams: bool,
}

/// Service and name of one of our own methods by its path: a bounded set of
/// labels.
pub fn names(path: &str) -> Option<(&'static str, &'static str)> {
    METHODS.get(path).map(|method| (method.service.as_str(), method.name.as_str()))
}

/// True for the path of a method with a stream on either side: deadlines and
/// load shedding are for the others.
pub fn is_streaming(path: &str) -> bool {
    METHODS.get(path).map_or_else(|| is_open(path), |method| method.streams)
}

/// True for what operators and probes call without token.
pub fn is_open(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.") || path.starts_with("/grpc.reflection.v1.")
}

#[cfg(test)]
mod tests {
    use super::{is_streaming, names};

    #[test]
    fn methods_are_known_by_their_descriptors() {
        assert!(is_streaming("/mingle.chat.v1.ChatService/Subscribe"));
        assert!(is_streaming("/mingle.presence.v1.PresenceService/Watch"));
        assert!(!is_streaming("/mingle.chat.v1.ChatService/Send"));
        assert_eq!(names("/mingle.chat.v1.ChatService/Send"), Some(("ChatService", "Send")));
        assert_eq!(names("/mingle.chat.v1.ChatService/Invented"), None);
    }
}
