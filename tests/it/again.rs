//! What a client does whose request is refused for now.

/// Asks until there is an answer, as long as a refusal tells when to come back:
/// the same join is the same ticket, the same message one message. A macro,
/// because the future of a closure that borrows the client is not `Send` for
/// every lifetime.
macro_rules! again {
    ($ask:expr) => {{
        let begin = tokio::time::Instant::now();
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(500));
        loop {
            pace.tick().await;
            match $ask.await {
                Ok(answer) => break answer,
                Err(mingle_client::ws::Error::Refused(error))
                    if error.retry_after_ms > 0 && begin.elapsed() < crate::world::SOON => {}
                Err(error) => panic!("{error}"),
            }
        }
    }};
}

pub(crate) use again;
