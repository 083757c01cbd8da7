//! How long to wait before the next try.

use std::time::Duration;

use rand::Rng as _;

use super::Error;
use crate::close::{Close, Retry};

/// The bound of the first wait.
const BASE: Duration = Duration::from_millis(250);
/// The bound of every wait that the gateway does not ask for.
const CAP: Duration = Duration::from_secs(15);

/// Waits between the tries of one client, so that those who lost their gateway
/// in the same moment do not come back in one.
///
/// **Guarantees**: the nth wait in a row is random below 250 ms · 2ⁿ, at most
/// 15 s (full jitter), and never less than what the gateway told.
///
/// ```
/// # use mingle_client::ws::{Backoff, Client, Encoding, proto::Resume};
/// # async fn back(url: &str, token: &str, resume: Resume) -> mingle_client::ws::Result<Client> {
/// let mut backoff = Backoff::default();
/// loop {
///     let tried = async {
///         let mut client = Client::connect(url, Encoding::Proto).await?;
///         client.hello(token, Some(resume.clone())).await?;
///         Ok(client)
///     };
///     match tried.await {
///         Ok(client) => return Ok(client),
///         Err(error) => match backoff.after(&error) {
///             Some(wait) => tokio::time::sleep(wait).await,
///             None => return Err(error),
///         },
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    tries: u32,
    told: Option<Duration>,
}

impl Backoff {
    /// What a `draining` event told: its delay is spread already, and is all
    /// there is to wait after the end that follows, whether the gateway still
    /// says it or the connection is lost.
    pub fn told(&mut self, wait: Duration) {
        self.told = Some(wait);
    }

    /// The connection has lasted: the next wait is a first one.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// The wait before the next try after `error`; `None` when the same try
    /// would end the same way: the request is wrong, a person must decide, or
    /// ([`Retry::WithNewToken`]) a new token is needed first.
    pub fn after(&mut self, error: &Error) -> Option<Duration> {
        let told = self.told.take();
        let least = match error {
            Error::Refused(refusal) if refusal.retry_after_ms == 0 => return None,
            Error::Refused(refusal) => Duration::from_millis(refusal.retry_after_ms.into()),
            _ => match error.close().map(Close::retry) {
                Some(Retry::Never | Retry::WithNewToken) => return None,
                _ if told.is_some() => return told,
                _ => Duration::ZERO,
            },
        };
        let most = BASE.saturating_mul(1 << self.tries.min(8)).min(CAP);
        self.tries += 1;
        Some(least.max(rand::rng().random_range(Duration::ZERO..=most)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mingle_proto::gateway::v1;

    use super::{Backoff, CAP};
    use crate::{close::Close, ws::Error};

    fn closed(code: u16) -> Error {
        Error::Closed { code, reason: String::new() }
    }

    #[test]
    fn waits_grow_to_their_bound_and_differ() {
        let mut longest = [Duration::ZERO; 12];
        for _ in 0..200 {
            let mut backoff = Backoff::default();
            for longest in &mut longest {
                *longest = backoff.after(&closed(1006)).unwrap().max(*longest);
            }
        }
        assert!(longest[0] <= Duration::from_millis(250) && !longest[0].is_zero());
        assert!(longest[3] > longest[0] && longest[3] <= Duration::from_secs(2));
        assert!(longest[11] > CAP / 2 && longest[11] <= CAP);
    }

    #[test]
    fn what_the_gateway_tells_is_waited() {
        let refusal = |ms| Error::Refused(v1::Error { retry_after_ms: ms, ..Default::default() });
        let mut backoff = Backoff::default();
        let told = Duration::from_secs(20);
        assert_eq!(backoff.after(&refusal(20_000)), Some(told));
        assert_eq!(backoff.after(&refusal(0)), None);
        backoff.told(told);
        assert_eq!(backoff.after(&closed(Close::Draining.code())), Some(told));
        // Once: the next close says nothing of it.
        assert!(backoff.after(&closed(Close::Draining.code())).unwrap() < told);
        // It went before it could say why: its going was told all the same.
        backoff.told(told);
        assert_eq!(backoff.after(&closed(1006)), Some(told));
        assert_eq!(backoff.after(&closed(Close::Superseded.code())), None);
        assert_eq!(backoff.after(&closed(Close::TokenExpired.code())), None);
        assert!(backoff.after(&closed(Close::Slow.code())).is_some());
    }
}
