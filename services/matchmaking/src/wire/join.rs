//! What a user asks for who starts to wait.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use mingle_proto::{
    errors::v1::Reason,
    matchmaking::v1::{CreateTicketRequest, Liveness as WireLiveness, Wanted},
};

use super::{Refusal, pool, ticket};
use crate::domain::{
    Attribute, Bucket, Content, Liveness, Pool,
    pool::{MAX_ATTRIBUTES, Pools},
};

/// Longest attribute value and name, in characters.
const MAX_TEXT: usize = 64;
/// Values that one want lists at most, repetitions included.
const MAX_WANTED: usize = 16;
/// Attributes that a token may carry, for all pools together.
const MAX_TRUSTED: usize = 32;

/// As ratelimit bounds the ids of its charges.
const MAX_REQUEST_ID: usize = 256;

/// Told outcomes that one wish names.
const MAX_TOLD: usize = 16;

/// A validated wish to wait.
#[derive(Clone, Debug)]
pub struct Join {
    /// Who wishes it.
    pub actor: String,
    /// Where.
    pub pool: Arc<Pool>,
    /// As whom, for whom.
    pub content: Content,
    /// The same as a number.
    pub bucket: Bucket,
    /// How they prove to be there.
    pub liveness: Liveness,
    /// Outcomes they were told already.
    pub told: Vec<String>,
    /// Tells attempts at this wish from other wishes.
    pub request_id: Option<String>,
}

/// Validates a wish to wait.
pub fn join(request: CreateTicketRequest, pools: &Pools) -> Result<Join, Refusal> {
    let actor = ticket::actor(&request.actor)?;
    let pool = pool(&request.pool, pools)?;
    let attributes = attributes(&pool, request.attributes, request.trusted_attributes)?;
    let wants = wants(&pool, request.wants)?;
    let liveness = match WireLiveness::try_from(request.liveness) {
        Ok(WireLiveness::Presence) => Liveness::Presence,
        Ok(WireLiveness::Lease) => Liveness::Lease,
        Ok(WireLiveness::Unspecified) => {
            return Err(Refusal::new("liveness", Reason::Required, "is required"));
        }
        Err(_) => return Err(Refusal::new("liveness", Reason::Malformed, "is not a liveness")),
    };
    few("told_ticket_ids", request.told_ticket_ids.len(), MAX_TOLD)?;
    let told = request.told_ticket_ids;
    let request_id = request.request_id;
    if request_id.len() > MAX_REQUEST_ID {
        let why = format!("has more than {MAX_REQUEST_ID} bytes");
        return Err(Refusal::new("request_id", Reason::TooLong, why));
    }
    if request_id.chars().any(char::is_control) {
        let why = "holds control characters";
        return Err(Refusal::new("request_id", Reason::Malformed, why));
    }
    let request_id = (!request_id.is_empty()).then_some(request_id);
    let content = Content { attributes, wants };
    let unplaced = || Refusal::new("attributes", Reason::UnknownValue, "do not fit the pool");
    let bucket = pool.bucket(&content).ok_or_else(unplaced)?;
    Ok(Join { actor, pool, content, bucket, liveness, told, request_id })
}

fn attributes(
    pool: &Pool,
    said: HashMap<String, String>,
    trusted: HashMap<String, String>,
) -> Result<BTreeMap<String, String>, Refusal> {
    few("attributes", said.len(), MAX_ATTRIBUTES)?;
    few("trusted_attributes", trusted.len(), MAX_TRUSTED)?;
    let mut all = BTreeMap::new();
    // Ordered, so that of several faults the same one is named each time.
    for (name, value) in said.into_iter().collect::<BTreeMap<_, _>>() {
        let field = path("attributes", &name)?;
        if value.is_empty() {
            return Err(Refusal::new(field, Reason::Required, "is empty"));
        }
        known(&field, attribute(pool, &field, &name)?, &value)?;
        if trusted.get(&name).is_some_and(|trusted| *trusted != value) {
            let why = "is another value than the token's";
            return Err(Refusal::new(field, Reason::AttributeConflict, why));
        }
        all.insert(name, value);
    }
    for attribute in pool.attributes() {
        let field = format!("attributes.{}", attribute.name);
        // A token serves many pools: what this one does not know is ignored.
        if let Some(value) = trusted.get(&attribute.name) {
            known(&field, attribute, value)?;
            all.insert(attribute.name.clone(), value.clone());
        }
        if attribute.required && !all.contains_key(&attribute.name) {
            return Err(Refusal::new(field, Reason::Required, "is required in this pool"));
        }
    }
    Ok(all)
}

fn wants(
    pool: &Pool,
    wanted: HashMap<String, Wanted>,
) -> Result<BTreeMap<String, BTreeSet<String>>, Refusal> {
    few("wants", wanted.len(), MAX_ATTRIBUTES)?;
    let mut all = BTreeMap::new();
    for (name, Wanted { values }) in wanted.into_iter().collect::<BTreeMap<_, _>>() {
        let field = path("wants", &name)?;
        let attribute = attribute(pool, &field, &name)?;
        few(&field, values.len(), MAX_WANTED)?;
        for value in &values {
            known(&field, attribute, value)?;
        }
        let values: BTreeSet<String> = values.into_iter().collect();
        // All values of a required attribute mean anything: one content, one text.
        let anything = attribute.required && values.len() == attribute.values.len();
        if !values.is_empty() && !anything {
            all.insert(name, values);
        }
    }
    Ok(all)
}

/// The path of one entry. A name that is too long to be one is not repeated.
fn path(map: &str, name: &str) -> Result<String, Refusal> {
    if name.chars().count() > MAX_TEXT {
        let why = format!("a name is longer than {MAX_TEXT} characters");
        return Err(Refusal::new(map, Reason::TooLong, why));
    }
    Ok(format!("{map}.{name}"))
}

fn attribute<'a>(pool: &'a Pool, field: &str, name: &str) -> Result<&'a Attribute, Refusal> {
    let unknown = || Refusal::new(field, Reason::UnknownValue, "is not an attribute of the pool");
    pool.attributes().iter().find(|attribute| attribute.name == name).ok_or_else(unknown)
}

fn known(field: &str, attribute: &Attribute, value: &str) -> Result<(), Refusal> {
    if value.chars().count() > MAX_TEXT {
        let why = format!("is longer than {MAX_TEXT} characters");
        return Err(Refusal::new(field, Reason::TooLong, why));
    }
    if !attribute.values.iter().any(|known| known == value) {
        let why = format!("is none of {}", attribute.values.join(", "));
        return Err(Refusal::new(field, Reason::UnknownValue, why));
    }
    Ok(())
}

fn few(field: &str, count: usize, max: usize) -> Result<(), Refusal> {
    if count > max {
        let why = format!("has {count} entries, more than {max}");
        return Err(Refusal::new(field, Reason::TooLong, why));
    }
    Ok(())
}
