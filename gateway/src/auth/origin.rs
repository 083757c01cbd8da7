//! Whose pages may open a socket. Browsers send cookies-like trust with every
//! connection a page makes; the `Origin` header says which page it was
//! (RFC 6455, section 10.2).

use http::{HeaderMap, header};
use url::{Host, Url};

/// True when a page of `headers`' origin may connect: no origin (not a
/// browser), the host that was asked, or one of `allowed`.
pub(crate) fn is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let listed = |entry: &String| entry == "*" || entry.trim_end_matches('/') == origin;
    allowed.iter().any(listed) || same_host(origin, headers)
}

/// True when the request names this machine, or a host of `allowed`, as the
/// one it wants. A page elsewhere can point its own name at this machine (DNS
/// rebinding); its requests then name that.
pub(crate) fn is_own_host(headers: &HeaderMap, allowed: &[String]) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(url) = host.and_then(|host| Url::parse(&format!("http://{host}")).ok()) else {
        return false;
    };
    let is_local = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    };
    let names_it = |entry: &String| {
        entry == "*" || Url::parse(entry).is_ok_and(|entry| entry.host() == url.host())
    };
    is_local || allowed.iter().any(names_it)
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

    use super::{is_allowed, is_own_host};

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
    fn a_name_that_only_points_here_is_not_ours() {
        let check = |host: &'static str, allowed: &[String]| {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            is_own_host(&headers, allowed)
        };
        for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "a.localhost"] {
            assert!(check(host, &[]), "{host}");
        }
        assert!(!check("evil.example:8080", &[]));
        assert!(check("dev.example:8080", &["https://dev.example".to_owned()]));
    }

    #[test]
    fn other_pages_may_not() {
        for origin in ["https://evil.example", "http://chat.example", "null", "http://x:8080"] {
            assert!(!check(Some(origin), &["https://app.example"]), "{origin}");
        }
    }
}
