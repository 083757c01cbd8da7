//! What the descriptors say of methods, read once.

use std::sync::LazyLock;

use ahash::AHashMap;
use prost::Message as _;
use prost_types::FileDescriptorSet;

/// Our own methods by path: the name, and whether either side streams.
static METHODS: LazyLock<AHashMap<String, Method>> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(mingle_proto::DESCRIPTORS).unwrap_or_default();
    let mut methods = AHashMap::new();
    for file in set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let streams = method.client_streaming() || method.server_streaming();
                let service = service.name().to_owned();
                let name = method.name().to_owned();
                let span = format!("{}.{name}", role(file.package()));
                let full_service = format!("{}.{service}", file.package());
                let number = methods.len();
                let method = Method { number, service, full_service, name, span, streams };
                methods.insert(path, method);
            }
        }
    }
    let envoys = Method {
        number: methods.len(),
        service: "EnvoyRateLimitService".to_owned(),
        full_service: "envoy.service.ratelimit.v3.RateLimitService".to_owned(),
        name: "ShouldRateLimit".to_owned(),
        span: "ratelimit.ShouldRateLimit".to_owned(),
        streams: false,
    };
    methods.insert(ENVOYS.to_owned(), envoys);
    methods
});

/// The one method that is answered and not described by us.
const ENVOYS: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// One of our own methods.
pub(super) struct Method {
    /// One of 0 to [`count`].
    pub(super) number: usize,
    /// `ChatService`
    pub(super) service: String,
    /// `mingle.chat.v1.ChatService`
    pub(super) full_service: String,
    /// `Send`
    pub(super) name: String,
    /// `chat.Send`, the name of the spans on both sides.
    pub(super) span: String,
    streams: bool,
}

/// How a call is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// By its deadline.
    Unary,
    /// By its age: there is a stream on either side.
    Stream,
    /// As a stream, and called without token: by operators and probes.
    Open,
}

/// `chat` of `mingle.chat.v1`.
fn role(package: &str) -> &str {
    package.split('.').nth(1).unwrap_or(package)
}

/// One of our own methods by its path: a bounded set, for labels and names.
pub(super) fn of(path: &str) -> Option<&'static Method> {
    METHODS.get(path)
}

/// How many methods there are.
pub(super) fn count() -> usize {
    METHODS.len()
}

/// How a call of this path, which may be of one of our own methods, is bounded.
pub(super) fn kind(path: &str, method: Option<&Method>) -> Kind {
    match method {
        Some(method) if method.streams => Kind::Stream,
        None if is_open(path) => Kind::Open,
        _ => Kind::Unary,
    }
}

/// True for the path of a method with a stream on either side: deadlines and
/// load shedding are for the others.
pub(super) fn is_streaming(path: &str) -> bool {
    kind(path, of(path)) != Kind::Unary
}

/// How a process says what it is and how it fares.
pub(super) const DESCRIBE: &str = "/mingle.runtime.v1.DiagnosticsService/Describe";

/// True for the path of the method by which processes ask one another how they
/// are, all the time: it is in no trace.
pub(super) fn is_describe(path: &str) -> bool {
    path == DESCRIBE
}

fn is_open(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.") || path.starts_with("/grpc.reflection.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_known_by_their_descriptors() {
        assert!(is_streaming("/mingle.chat.v1.ChatService/Subscribe"));
        assert!(is_streaming("/mingle.presence.v1.PresenceService/Watch"));
        assert!(!is_streaming("/mingle.chat.v1.ChatService/Send"));
        assert!(of("/mingle.chat.v1.ChatService/Invented").is_none());
        let send = of("/mingle.chat.v1.ChatService/Send").unwrap();
        let said = [&send.service, &send.full_service, &send.name, &send.span];
        assert_eq!(said, ["ChatService", "mingle.chat.v1.ChatService", "Send", "chat.Send"]);
        assert!(is_describe(DESCRIBE) && !is_streaming(DESCRIBE));
        assert_eq!(of(DESCRIBE).unwrap().service, "DiagnosticsService");
        let health = "/grpc.health.v1.Health/Check";
        assert_eq!(kind(health, of(health)), Kind::Open);
    }

    #[test]
    fn each_method_has_a_number_of_its_own() {
        let mut numbers: Vec<_> = METHODS.values().map(|method| method.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..count()).collect::<Vec<_>>());
    }
}
