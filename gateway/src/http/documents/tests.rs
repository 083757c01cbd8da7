//! The documents are what the descriptors and the routes say.

use std::{collections::BTreeSet, env, fs, path::Path};

use serde_json::Value;

use super::{ASYNCAPI, OPENAPI, asyncapi, openapi, protocol::Protocol};

/// Set, these tests write the documents that they would compare.
const WRITE: &str = "MINGLE_WRITE_DOCUMENTS";

/// `kept` is what would be generated now.
fn check(name: &str, kept: &str, document: &Value) {
    let text = format!("{document:#}\n");
    if env::var_os(WRITE).is_some() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("api");
        fs::write(folder.join(name), text).unwrap();
        return;
    }
    // By value: the order of members is a feature of a crate, which others may set.
    let is_same = serde_json::from_str::<Value>(kept).is_ok_and(|kept| kept == *document);
    let differ = kept.lines().zip(text.lines()).find(|(kept, new)| kept != new);
    assert!(
        is_same,
        "api/{name} is not what the protocol says, from {differ:?} on: \
         {WRITE}=1 cargo test -p mingle-gateway documents"
    );
}

#[test]
fn the_http_document_is_of_this_protocol() {
    check("openapi.json", OPENAPI, &openapi::document(&Protocol::read()));
}

#[test]
fn the_socket_document_is_of_this_protocol() {
    check("asyncapi.json", ASYNCAPI, &asyncapi::document(&Protocol::read()));
}

#[test]
fn every_route_is_in_the_document_and_nothing_else_is() {
    let document = openapi::document(&Protocol::read());
    let paths = document["paths"].as_object().unwrap();
    let methods = paths.iter().flat_map(|(path, operations)| {
        let methods = operations.as_object().unwrap().keys();
        methods.map(move |method| (method.as_str(), path.as_str()))
    });
    let documented: BTreeSet<_> = methods.collect();
    let routes = crate::http::routes(true);
    let routed: BTreeSet<_> = routes.names().iter().copied().collect();
    assert!(routed.len() > 10, "{routed:?}");
    assert_eq!(documented, routed, "add it to documents/operations.rs, or to the router");
}

#[test]
fn the_comment_above_the_messages_names_every_route_of_the_api() {
    let listed: BTreeSet<_> = include_str!("../../../../proto/mingle/gateway/v1/http.proto")
        .lines()
        .filter_map(|line| line.strip_prefix("//   ")?.split_once(char::is_whitespace))
        .filter_map(|(method, rest)| {
            let path = rest.trim().split([' ', '?']).next()?;
            let is_method = ["GET", "POST", "DELETE"].contains(&method);
            is_method.then(|| (method.to_lowercase(), path.to_owned()))
        })
        .collect();
    let routes = crate::http::routes(true);
    for (method, path) in routes.names().iter().filter(|(_, path)| path.starts_with("/api/")) {
        let route = ((*method).to_owned(), (*path).to_owned());
        assert!(listed.contains(&route), "{route:?} is not in http.proto: {listed:?}");
    }
}
