//! Mingle's protocol: the .proto files and the code generated from them.
//!
//! Features: `client` and `server` (generated gRPC code), `json` (canonical
//! proto3 JSON for the messages of the gateway), `descriptor` (the encoded
//! file descriptor set, for reflection).

#![allow(missing_docs, clippy::all, clippy::unwrap_used, clippy::expect_used)]

mod timestamp;

pub use pbjson_types::{ListValue, Value, value};
pub use timestamp::Timestamp;

/// Includes the code generated for one package.
macro_rules! package {
    ($name:literal) => {
        tonic::include_proto!($name);
    };
    ($name:literal, json) => {
        tonic::include_proto!($name);
        #[cfg(feature = "json")]
        include!(concat!(env!("OUT_DIR"), "/", $name, ".serde.rs"));
    };
}

pub mod cache {
    pub mod v1 {
        package!("mingle.cache.v1");
    }
}
pub mod chat {
    pub mod v1 {
        package!("mingle.chat.v1");
    }
}
pub mod errors {
    pub mod v1 {
        package!("mingle.errors.v1");
    }
}
pub mod gateway {
    pub mod v1 {
        package!("mingle.gateway.v1", json);
    }
}
pub mod matchmaking {
    pub mod v1 {
        package!("mingle.matchmaking.v1");
    }
}
pub mod presence {
    pub mod v1 {
        package!("mingle.presence.v1");
    }
}
pub mod ratelimit {
    pub mod v1 {
        package!("mingle.ratelimit.v1");
    }
}
pub mod runtime {
    pub mod v1 {
        package!("mingle.runtime.v1");
    }
}

/// The encoded `google.protobuf.FileDescriptorSet` of every file above.
#[cfg(feature = "descriptor")]
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mingle.bin"));
