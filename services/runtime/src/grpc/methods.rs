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
                let service = service.name().to_owned();
                let name = method.name().to_owned();
                let span = format!("{}.{name}", role(file.package()));
                let full_service = format!("{}.{service}", file.package());
                let method = Method { service, full_service, name, span, streams };
                methods.insert(path, method);
            }
        }
    }
    methods.insert(
        ENVOYS.to_owned(),
        Method {
            service: "EnvoyRateLimitService".to_owned(),
            full_service: "envoy.service.ratelimit.v3.RateLimitService".to_owned(),
            name: "ShouldRateLimit".to_owned(),
            span: "ratelimit.ShouldRateLimit".to_owned(),
            streams: false,
        },
    );
    methods
});

/// The one method that is answered and not described by us.
const ENVOYS: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

struct Method {
    service: String,
    full_service: String,
    name: String,
    span: String,
    streams: bool,
}

/// What a trace says of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced {
    /// `chat.Send`, the name of the spans on both sides.
    pub span: &'static str,
    /// `mingle.chat.v1.ChatService`
    pub service: &'static str,
    /// `Send`
    pub method: &'static str,
}

/// `chat` of `mingle.chat.v1`.
fn role(package: &str) -> &str {
    package.split('.').nth(1).unwrap_or(package)
}

/// Service and name of one of our own methods by its path: a bounded set of
/// labels.
pub fn names(path: &str) -> Option<(&'static str, &'static str)> {
    METHODS.get(path).map(|method| (method.service.as_str(), method.name.as_str()))
}

/// How one of our own methods is called in traces, by its path.
pub fn traced(path: &str) -> Option<Traced> {
    METHODS.get(path).map(|method| Traced {
        span: &method.span,
        service: &method.full_service,
        method: &method.name,
    })
}

/// True for the path of a method with a stream on either side: deadlines and
/// load shedding are for the others.
pub fn is_streaming(path: &str) -> bool {
    METHODS.get(path).map_or_else(|| is_open(path), |method| method.streams)
}

/// How a process says what it is and how it fares.
pub const DESCRIBE: &str = "/mingle.runtime.v1.DiagnosticsService/Describe";

/// True for the path of the method by which processes ask one another how they
/// are, all the time: it is in no trace.
pub fn is_describe(path: &str) -> bool {
    path == DESCRIBE
}

/// True for what operators and probes call without token.
pub fn is_open(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.") || path.starts_with("/grpc.reflection.")
}

#[cfg(test)]
mod tests {
    use super::{DESCRIBE, Traced, is_describe, is_streaming, names, traced};

    #[test]
    fn methods_are_known_by_their_descriptors() {
        assert!(is_streaming("/mingle.chat.v1.ChatService/Subscribe"));
        assert!(is_streaming("/mingle.presence.v1.PresenceService/Watch"));
        assert!(!is_streaming("/mingle.chat.v1.ChatService/Send"));
        assert_eq!(names("/mingle.chat.v1.ChatService/Send"), Some(("ChatService", "Send")));
        assert_eq!(names("/mingle.chat.v1.ChatService/Invented"), None);
        let service = "mingle.chat.v1.ChatService";
        assert!(is_describe(DESCRIBE) && !is_streaming(DESCRIBE));
        assert_eq!(names(DESCRIBE), Some(("DiagnosticsService", "Describe")));
        let send = Traced { span: "chat.Send", service, method: "Send" };
        assert_eq!(traced("/mingle.chat.v1.ChatService/Send"), Some(send));
    }
}
