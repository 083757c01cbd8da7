//! Ends a unary call at its deadline: `grpc-timeout` of the caller, capped.

use std::{convert::Infallible, future::Future, time::Duration};

use http::HeaderMap;
use mingle_proto::errors::v1::Reason;

use super::Response;
use crate::status::{self, Kind};

/// What `call` answers, or DEADLINE_EXCEEDED when it did not within `allowed`.
pub(super) async fn bounded(
    call: impl Future<Output = Result<Response, Infallible>>,
    allowed: Duration,
) -> Result<Response, Infallible> {
    tokio::time::timeout(allowed, call).await.unwrap_or_else(|_| {
        let message = "the deadline passed; the outcome is unknown";
        Ok(status::refuse(Kind::Timeout, Reason::Deadline, message).into_http())
    })
}

/// Reads `grpc-timeout`: up to eight digits and a unit.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue};

    use super::timeout;

    #[test]
    fn reads_the_timeouts_of_the_grpc_specification() {
        let read = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            timeout(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), value)]))
        };
        assert_eq!(read("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for wrong in ["", "m", "1", "1x", "123456789S", "-1S", "1.5S"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
