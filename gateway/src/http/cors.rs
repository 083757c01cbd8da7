//! Pages of other origins (CORS, the Fetch standard): those whose pages may open
//! a socket may read answers too.
//!
//! Credentials are never allowed: a token is what the page itself sends, and
//! nothing that its browser adds.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header, request::Parts};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::auth::origin;

/// How long a browser may remember what it may ask.
const REMEMBERED: Duration = Duration::from_secs(600);
/// What is asked with; a trace context goes on from the page.
const ASKED: [HeaderName; 4] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];
/// What scripts may read beside the body.
const TOLD: [HeaderName; 4] = [
    header::RETRY_AFTER,
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("mingle-degraded"),
];

/// Answers who comes from one of `allowed`; none where nobody else may come. It
/// stands before limits and routes, so that preflights are free and refusals can
/// be read.
pub(super) fn layer(allowed: &[String]) -> Option<CorsLayer> {
    if allowed.is_empty() {
        return None;
    }
    let allowed = allowed.to_vec();
    let is_allowed =
        move |_: &HeaderValue, parts: &Parts| origin::is_allowed(&parts.headers, &allowed);
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_allowed))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(ASKED)
        .expose_headers(TOLD)
        .max_age(REMEMBERED);
    Some(layer)
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, routing::get};
    use http::{HeaderMap, Method, Request, header};
    use tower::ServiceExt as _;

    use super::layer;

    const PAGE: &str = "https://app.example";

    /// What a browser is told that asks for a page of `origin`.
    async fn told(allowed: &[&str], method: Method, origin: &str) -> HeaderMap {
        let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
        let router: Router = Router::new()
            .route("/api/rooms", get(|| async { "rooms" }))
            .layer(layer(&allowed).unwrap());
        let request = Request::builder()
            .method(method)
            .uri("/api/rooms")
            .header(header::HOST, "chat.example")
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "DELETE")
            .body(Body::empty());
        router.oneshot(request.unwrap()).await.unwrap().headers().clone()
    }

    #[tokio::test]
    async fn a_listed_page_may_ask_and_read() {
        let asked = told(&[PAGE], Method::OPTIONS, PAGE).await;
        assert_eq!(asked[header::ACCESS_CONTROL_ALLOW_ORIGIN], PAGE);
        assert_eq!(asked[header::ACCESS_CONTROL_ALLOW_METHODS], "GET,POST,DELETE");
        let headers = asked[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
        assert!(headers.contains("authorization") && headers.contains("content-type"));
        assert!(asked.contains_key(header::ACCESS_CONTROL_MAX_AGE));
        let read = told(&[PAGE], Method::GET, PAGE).await;
        assert_eq!(read[header::ACCESS_CONTROL_ALLOW_ORIGIN], PAGE);
        assert!(read[header::VARY].to_str().unwrap().contains("origin"), "caches tell them apart");
        let exposed = read[header::ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap();
        assert!(exposed.contains("retry-after") && exposed.contains("ratelimit-policy"));
    }

    #[tokio::test]
    async fn another_page_is_told_nothing_that_lets_it_in() {
        for origin in ["https://evil.example", "https://app.example.evil.example", "null"] {
            for method in [Method::OPTIONS, Method::GET] {
                let told = told(&[PAGE], method, origin).await;
                assert!(!told.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{origin}");
            }
        }
    }

    #[tokio::test]
    async fn no_list_lets_a_browser_add_credentials() {
        for allowed in [&[PAGE][..], &["*"][..]] {
            let told = told(allowed, Method::OPTIONS, PAGE).await;
            assert_eq!(told[header::ACCESS_CONTROL_ALLOW_ORIGIN], PAGE);
            assert!(!told.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        }
        assert!(layer(&[]).is_none());
    }
}
