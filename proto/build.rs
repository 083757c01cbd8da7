//! Compiles the .proto files with protox: no protoc on the machine, no
//! generated code in the tree.

use prost::Message as _;
use std::{env, error::Error, fs, path::PathBuf};

const FILES: &[&str] = &[
    "mingle/cache/v1/cache.proto",
    "mingle/chat/v1/chat.proto",
    "mingle/errors/v1/reason.proto",
    "mingle/gateway/v1/gateway.proto",
    "mingle/gateway/v1/http.proto",
    "mingle/gateway/v1/stats.proto",
    "mingle/matchmaking/v1/matchmaking.proto",
    "mingle/presence/v1/presence.proto",
    "mingle/ratelimit/v1/ratelimit.proto",
    "mingle/runtime/v1/diagnostics.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=mingle");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let descriptors = protox::compile(FILES, ["."])?;
    let encoded = descriptors.encode_to_vec();
    fs::write(out.join("mingle.bin"), &encoded)?;

    tonic_prost_build::configure()
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(env::var_os("CARGO_FEATURE_SERVER").is_some())
        .extern_path(".google.protobuf.Timestamp", "crate::Timestamp")
        .extern_path(".google.protobuf.ListValue", "::pbjson_types::ListValue")
        .compile_fds(descriptors)?;

    if env::var_os("CARGO_FEATURE_JSON").is_some() {
        pbjson_build::Builder::new()
            .register_descriptors(&encoded)?
            .extern_path(".google.protobuf.Timestamp", "crate::Timestamp")
            .extern_path(".google.protobuf.ListValue", "::pbjson_types::ListValue")
            .emit_fields()
            .build(&[".mingle.gateway.v1"])?;
    }
    Ok(())
}
