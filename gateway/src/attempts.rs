//! Which attempts at a ticket are one wish.
//!
//! Who is told to try again had nothing for what they were charged: every
//! attempt until the answer has one id, by which matchmaking charges once.

use std::{collections::BTreeMap, time::Duration};

use mingle_proto::matchmaking::v1::{
    self as mm, matchmaking_service_client::MatchmakingServiceClient,
};
use mingle_runtime::{grpc::Transport, status::Kind};
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::fault::Fault;

/// Wishes that are remembered; beyond, the next attempt at one is charged anew.
const KEPT: u64 = 10_000;
/// Since the last attempt: the window of the limit as it is by default. Later the
/// charge is of the past.
const OLD: Duration = Duration::from_secs(60);

/// What is wished: the content, as a number.
type Wish = [u8; 32];

/// The wishes whose last attempt may be repeated, each with its id.
///
/// What was given up before its answer came is not among them: it would be
/// another attempt for nothing as often as its user likes.
pub(crate) struct Attempts(Cache<Wish, String>);

impl Default for Attempts {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(KEPT).time_to_live(OLD).build())
    }
}

impl Attempts {
    /// Asks for a ticket, under the id of the attempt before if it is the same
    /// wish; `request` has none.
    pub(crate) async fn create(
        &self,
        mut matchmaking: MatchmakingServiceClient<Transport>,
        request: mm::CreateTicketRequest,
    ) -> Result<mm::Ticket, Fault> {
        let wish = wish(&request);
        let id = self.begin(&wish);
        let request = mm::CreateTicketRequest { request_id: id.clone(), ..request };
        match matchmaking.create_ticket(request).await.map_err(Fault::from) {
            Ok(answer) => Ok(answer.into_inner().ticket.unwrap_or_default()),
            Err(fault) => {
                self.failed(wish, id, &fault);
                Err(fault)
            }
        }
    }

    fn begin(&self, wish: &Wish) -> String {
        self.0.remove(wish).unwrap_or_else(|| Uuid::new_v4().to_string())
    }

    fn failed(&self, wish: Wish, id: String, fault: &Fault) {
        // Who was denied was charged nothing.
        if matches!(fault.kind, Kind::Unavailable | Kind::Timeout) {
            self.0.insert(wish, id);
        }
    }
}

fn wish(request: &mm::CreateTicketRequest) -> Wish {
    let mut hash = Sha256::new();
    // With their lengths: no two wishes are the same bytes.
    let mut put = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    put(&request.actor);
    put(&request.pool);
    for attributes in [&request.attributes, &request.trusted_attributes] {
        put(&attributes.len().to_string());
        for (name, value) in attributes.iter().collect::<BTreeMap<_, _>>() {
            put(name);
            put(value);
        }
    }
    for (name, wanted) in request.wants.iter().collect::<BTreeMap<_, _>>() {
        put(name);
        put(&wanted.values.len().to_string());
        wanted.values.iter().for_each(|value| put(value));
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use mingle_proto::{errors::v1::Reason, matchmaking::v1 as mm};
    use mingle_runtime::status::Kind;

    use super::{Attempts, wish};
    use crate::fault::Fault;

    fn request(pool: &str, wanted: &str) -> mm::CreateTicketRequest {
        let wanted = mm::Wanted { values: vec![wanted.to_owned()] };
        mm::CreateTicketRequest {
            actor: "ann".to_owned(),
            pool: pool.to_owned(),
            attributes: [("a", "1"), ("b", "2"), ("c", "3")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            wants: [("gender".to_owned(), wanted)].into(),
            ..Default::default()
        }
    }

    #[test]
    fn attempts_have_one_id_until_the_answer() {
        let attempts = Attempts::default();
        let fault = |kind| Fault::new(kind, Reason::Unavailable, "");
        let first = attempts.begin(&wish(&request("one", "x")));
        attempts.failed(wish(&request("one", "x")), first.clone(), &fault(Kind::Unavailable));
        for other in [request("two", "x"), request("one", "y")] {
            assert_ne!(attempts.begin(&wish(&other)), first);
        }
        let second = attempts.begin(&wish(&request("one", "x")));
        assert_eq!(second, first);
        // Given up, or answered: the next one is a wish of its own.
        assert_ne!(attempts.begin(&wish(&request("one", "x"))), first);
        attempts.failed(wish(&request("one", "x")), first.clone(), &fault(Kind::Invalid));
        assert_ne!(attempts.begin(&wish(&request("one", "x"))), first);
    }
}
