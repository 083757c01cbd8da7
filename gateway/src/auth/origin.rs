//! Whose pages may open a socket. Browsers send cookies-like trust with every
//! connection a page makes; the `Origin` header says which page it was
//! (RFC 6455, section 10.2).

use http::{HeaderMap, header};
use url::Url;

/// True when a page of `headers`' origin may connect: no origin (not a
/// browser), the host that was asked, or one of `allowed`.
pub(crate) fn is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let listed = |entry: &String| entry == "*" || entry.trim_end_matches('/') == origin;
    allowed.iter().any(listed) || same_host(origin, headers)
}

fn same_host(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let (Some(host), Ok(origin)) = (host, Url::parse(origin)) else { return false };
    let Some(name) = origin.host_str() else { return false };
    match origin.port() {
        Some(port) => host == format!("{name}:{port}"),
        // A browser leaves the default port out of both.
        None => host == name,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::is_allowed;

    fn check(origin: Option<&'static str>, allowed: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("chat.example:8080"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
        is_allowed(&headers, &allowed)
    }

    #[test]
    fn own_host_listed_pages_and_programs_may_connect() {
        assert!(check(None, &[]));
        assert!(check(Some("http://chat.example:8080"), &[]));
        assert!(check(Some("https://app.example"), &["https://app.example/"]));
        assert!(check(Some("https://anything.example"), &["*"]));
    }

    #[test]
    fn other_pages_may_not() {
        for origin in ["https://evil.example", "http://chat.example", "null", "http://x:8080"] {
            assert!(!check(Some(origin), &["https://app.example"]), "{origin}");
        }
    }
}
