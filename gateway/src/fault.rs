//! Why a client's request failed: one type for frames and HTTP.
//!
//! Every fault is a row of the runtime's table of kinds, a reason, and the
//! field as it stands in the client's JSON. Services' statuses are read by
//! their details, never by their text.

use std::time::Duration;

use mingle_proto::{errors::v1::Reason, gateway::v1 as pb};
use mingle_runtime::status::{Described, Kind, short};
use rand::Rng as _;
use tonic::Status;

/// When to try again what would work soon.
const SOON: Duration = Duration::from_millis(500);

/// A request's failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Row of the table.
    pub kind: Kind,
    /// Machine-readable reason.
    pub reason: String,
    /// lowerCamelCase path in the frame or body; empty when no field is at fault.
    pub field: String,
    /// For humans.
    pub message: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// A fault without field.
    pub fn new(kind: Kind, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            kind,
            reason: short(reason).to_owned(),
            field: String::new(),
            message: message.into(),
            retry_after: None,
        }
    }

    /// A wrong field.
    pub fn invalid(reason: Reason, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), ..Self::new(Kind::Invalid, reason, message) }
    }

    /// A required field that is not there.
    pub fn required(field: &str) -> Self {
        Self::invalid(Reason::Required, field, format!("{field} is required"))
    }

    /// The same about `field`.
    pub fn at(self, field: &str) -> Self {
        Self { field: field.to_owned(), ..self }
    }

    /// The same, to be tried again soon.
    pub(crate) fn retry(self) -> Self {
        self.retry_after(SOON)
    }

    /// The same, to be tried again after this long, or up to twice as long: of
    /// those who are told at the same time not all come back together.
    pub(crate) fn retry_after(self, least: Duration) -> Self {
        Self { retry_after: Some(spread(least)), ..self }
    }

    /// Counts one that a client is told, by its reason; a reason that is none of
    /// ours is a label without bound.
    pub(crate) fn count(&self) {
        let reason = Reason::from_str_name(&format!("REASON_{}", self.reason));
        let reason = reason.map_or("OTHER", short);
        metrics::counter!("mingle_gateway_refusals_total", "reason" => reason).increment(1);
    }

    fn retry_after_ms(&self) -> u32 {
        let ms = self.retry_after.map_or(0, |after| after.as_millis());
        u32::try_from(ms).unwrap_or(u32::MAX)
    }
}

/// A wait of `least` to twice that.
fn spread(least: Duration) -> Duration {
    least + rand::rng().random_range(Duration::ZERO..=least)
}

impl From<Fault> for pb::Error {
    fn from(fault: Fault) -> Self {
        Self {
            code: fault.kind.name().to_owned(),
            retry_after_ms: fault.retry_after_ms(),
            reason: fault.reason,
            field: fault.field,
            message: fault.message,
        }
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        let Described { kind, reason, field, message, retry_after } = Described::from(&status);
        // The words of the message name the field too.
        let spelled = camel_case(&field);
        // Services spread what they tell in an outage. A limit says to the moment
        // when there is room again; one who is overloaded says one time to all.
        let is_one = reason == short(Reason::Overloaded);
        let retry_after = if is_one { retry_after.map(spread) } else { retry_after };
        let message = if field.is_empty() { message } else { message.replace(&field, &spelled) };
        Self { kind, reason, field: spelled, message, retry_after }
    }
}

/// A proto path as clients spell it: `client_msg_id` → `clientMsgId`.
fn camel_case(path: &str) -> String {
    let mut spelled = String::with_capacity(path.len());
    let mut raise = false;
    for letter in path.chars() {
        match letter {
            '_' => raise = true,
            _ if raise => {
                spelled.push(letter.to_ascii_uppercase());
                raise = false;
            }
            _ => spelled.push(letter),
        }
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::camel_case;

    #[test]
    fn fields_are_named_as_clients_spell_them() {
        assert_eq!(camel_case("client_msg_id"), "clientMsgId");
        assert_eq!(camel_case("wants.gender"), "wants.gender");
        assert_eq!(camel_case(""), "");
    }
}
