//! The layer before an HTTP service and before a gRPC server.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, Request, Response, StatusCode, request::Parts};
use mingle_client::ratelimit::{Limiter, Outage, Policy, RateLimitLayer, problem};
use mingle_proto::ratelimit::v1::{
    ListLimitsRequest, rate_limit_service_client::RateLimitServiceClient,
};
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn, util::MapResponseLayer};

use super::{
    limiter::policy,
    service::{Fake, Says},
};

fn by_user(parts: &Parts) -> Option<String> {
    parts.headers.get("user").and_then(|user| user.to_str().ok()).map(str::to_owned)
}

async fn get(fake: &Fake, user: Option<&str>) -> (StatusCode, HeaderMap, usize) {
    get_by(fake, user, policy(120, Outage::Local)).await
}

async fn get_by(fake: &Fake, user: Option<&str>, policy: Policy) -> (StatusCode, HeaderMap, usize) {
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    let inner = service_fn(move |_: Request<String>| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Infallible>(Response::new("body".to_owned())) }
    });
    let limiter = Limiter::new(fake.transport());
    let mut service = RateLimitLayer::new(limiter, policy, by_user).layer(inner);
    let mut request = Request::new(String::new());
    if let Some(user) = user {
        request.headers_mut().insert("user", user.parse().unwrap());
    }
    let response = service.ready().await.unwrap().call(request).await.unwrap();
    (response.status(), response.headers().clone(), served.load(Ordering::Relaxed))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_window_without_end_is_told_as_the_longest() {
    let policy = Policy { window: Duration::MAX, ..policy(120, Outage::Open) };
    let (status, headers, _) = get_by(&Fake::new(Says::Left(50)), Some("ann"), policy).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(text(&headers, "ratelimit-policy"), format!("\"api\";q=120;w={}", u64::MAX));
}

#[tokio::test]
async fn older_headers_are_told_where_they_are_wanted() {
    let inner = service_fn(|_: Request<String>| async {
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    let limiter = Limiter::new(Fake::new(Says::Left(50)).transport());
    let layer = RateLimitLayer::new(limiter, policy(120, Outage::Local), by_user);
    let ask = || {
        let mut request = Request::new(String::new());
        request.headers_mut().insert("user", "ann".parse().unwrap());
        request
    };
    let plain = layer.clone().layer(inner).oneshot(ask()).await.unwrap();
    assert_eq!(text(plain.headers(), "x-ratelimit-limit"), "");
    let told = layer.with_older_headers().layer(inner).oneshot(ask()).await.unwrap();
    let headers = ["limit", "remaining", "reset"].map(|name| format!("x-ratelimit-{name}"));
    assert_eq!(headers.each_ref().map(|name| text(told.headers(), name)), ["120", "50", "30"]);
    assert_eq!(text(told.headers(), "ratelimit"), "\"api\";r=50;t=30");
}

#[tokio::test]
async fn a_refusal_has_a_body_where_it_is_wanted() {
    let inner = service_fn(|_: Request<String>| async {
        Ok::<_, Infallible>(Response::new("as it is".to_owned()))
    });
    let fake = Fake::new(Says::Left(50));
    let limiter = Limiter::new(fake.transport());
    let layer = RateLimitLayer::new(limiter, policy(120, Outage::Local), by_user);
    let service = MapResponseLayer::new(problem).layer(layer.layer(inner));
    let ask = async || {
        let mut request = Request::new(String::new());
        request.headers_mut().insert("user", "ann".parse().unwrap());
        service.clone().oneshot(request).await.unwrap()
    };
    assert_eq!(ask().await.body(), "as it is");
    let types = "https://iana.org/assignments/http-problem-types#";
    for (says, told) in [
        (
            Says::Denied(1_500),
            json!({
                "type": format!("{types}quota-exceeded"), "title": "Too Many Requests",
                "status": 429, "detail": "too many requests", "violated-policies": ["api"],
                "retryAfterMs": 1_500,
            }),
        ),
        (
            Says::Closed(1_500),
            json!({
                "type": format!("{types}temporary-reduced-capacity"),
                "title": "Service Unavailable", "status": 503,
                "detail": "the limit cannot be counted now", "violated-policies": ["api"],
                "retryAfterMs": 1_500,
            }),
        ),
        (
            Says::Fails(Code::InvalidArgument),
            json!({
                "title": "Internal Server Error", "status": 500,
                "detail": "the limit cannot be charged",
            }),
        ),
    ] {
        fake.say(says);
        let response = ask().await;
        assert_eq!(text(response.headers(), "content-type"), "application/problem+json");
        assert_eq!(response.body().parse::<Value>().unwrap(), told);
    }
}

#[tokio::test]
async fn http_is_told_by_headers() {
    let fake = Fake::new(Says::Left(50));
    let (status, headers, served) = get(&fake, Some("ann")).await;
    assert_eq!((status, served), (StatusCode::OK, 1));
    assert_eq!(text(&headers, "ratelimit-policy"), "\"api\";q=120;w=60");
    assert_eq!(text(&headers, "ratelimit"), "\"api\";r=50;t=30");
    assert_eq!(text(&headers, "retry-after"), "");

    fake.say(Says::Denied(1_500));
    let (status, headers, served) = get(&fake, Some("ann")).await;
    assert_eq!((status, served), (StatusCode::TOO_MANY_REQUESTS, 0));
    assert_eq!(text(&headers, "ratelimit"), "\"api\";r=0;t=30");
    assert_eq!(text(&headers, "retry-after"), "2");

    fake.say(Says::Closed(1_500));
    let (status, headers, served) = get(&fake, Some("ann")).await;
    assert_eq!((status, served), (StatusCode::SERVICE_UNAVAILABLE, 0), "not too many");
    assert_eq!((text(&headers, "ratelimit"), text(&headers, "retry-after")), ("", "2"));

    let (status, headers, served) = get(&fake, None).await;
    assert_eq!((status, served), (StatusCode::OK, 1), "nobody to charge");
    assert_eq!(text(&headers, "ratelimit"), "");
    assert_eq!(fake.asked(), 3);

    fake.say(Says::Fails(Code::InvalidArgument));
    let (status, _, served) = get(&fake, Some("ann")).await;
    assert_eq!((status, served), (StatusCode::INTERNAL_SERVER_ERROR, 0));
    fake.say(Says::Fails(Code::Unavailable));
    let (status, headers, served) = get(&fake, Some("ann")).await;
    assert_eq!((status, served), (StatusCode::OK, 1), "counted here");
    assert_eq!(text(&headers, "ratelimit"), "\"api\";r=119;t=60");
}

#[tokio::test]
async fn grpc_is_told_by_status_and_details() {
    let fake = Fake::new(Says::Denied(1_500));
    let limiter = Limiter::new(fake.transport());
    let everybody = |_: &Parts| Some("all".to_owned());
    let layer = RateLimitLayer::new(limiter, policy(120, Outage::Local), everybody);
    let mut client = RateLimitServiceClient::new(layer.layer(Fake::new(Says::Nothing).transport()));
    let status = client.list_limits(ListLimitsRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "RATE_LIMITED");
    assert_eq!(details.retry_info().unwrap().retry_delay.unwrap().as_millis(), 1_500);
    assert_eq!(status.metadata().get("ratelimit").unwrap(), "\"api\";r=0;t=30");
    fake.say(Says::Closed(1_500));
    let status = client.list_limits(ListLimitsRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "UNAVAILABLE");
    assert_eq!(details.retry_info().unwrap().retry_delay.unwrap().as_millis(), 1_500);
    fake.say(Says::Left(7));
    let status = client.list_limits(ListLimitsRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "the service itself answers");
}
