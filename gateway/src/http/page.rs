//! The page and the client library, embedded in the program.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use mingle_proto::errors::v1::Reason;
use mingle_runtime::status::Kind;
use rust_embed::RustEmbed;

use crate::fault::Fault;

#[derive(RustEmbed)]
#[folder = "web/"]
struct Files;

/// What browsers load. The folder is an npm package too, whose papers are not
/// for them.
const SERVED: [&str; 5] = ["css", "html", "js", "svg", "ts"];

/// Nothing from elsewhere, and nobody's frame (OWASP's baseline).
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Serves an embedded file; `/` is the page.
pub(super) async fn serve(method: Method, uri: Uri, request: HeaderMap) -> Response {
    let path = match uri.path().trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    let is_read = method == Method::GET || method == Method::HEAD;
    let is_served = is_read && is_served(path);
    let Some(file) = Files::get(path).filter(|_| is_served) else {
        let message = "there is no such route";
        return Fault::new(Kind::NotFound, Reason::RouteNotFound, message).into_response();
    };
    let tag = etag(&file.metadata.sha256_hash());
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(value) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, value);
    }
    if let Ok(value) = HeaderValue::from_str(file.metadata.mimetype()) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    let known = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known == Some(tag.as_str()) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, file.data.into_owned()).into_response()
}

fn is_served(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| SERVED.contains(&extension))
}

fn etag(hash: &[u8]) -> String {
    let short: Vec<u8> = hash.iter().take(8).copied().collect();
    format!("\"{}\"", hex::encode(short))
}

#[cfg(test)]
mod tests {
    use super::{Files, is_served};

    #[test]
    fn the_page_is_served_and_the_papers_of_the_package_are_not() {
        let (served, kept): (Vec<_>, Vec<_>) = Files::iter().partition(|path| is_served(path));
        for path in ["index.html", "style.css", "favicon.svg", "mingle.js", "mingle.d.ts"] {
            assert!(served.iter().any(|served| served == path), "{path} of {served:?}");
        }
        assert_eq!(kept, ["LICENSE", "README.md", "package.json"]);
    }
}
