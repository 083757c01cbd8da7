//! What people ask about, and what they are told.

use envoy_types::pb::{
    envoy::{
        extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor::Entry},
        service::ratelimit::v3::RateLimitRequest,
    },
    google::protobuf::UInt64Value,
};
use mingle_proto::ratelimit::v1;

use super::{envoy, reply, request};
use crate::domain::{Answer, Ask, Invalid, Limits, Place, Rules, Source, Why};

/// Reads what is asked about; `None`: a descriptor that is not limited.
pub(crate) fn question(
    request: v1::ExplainRequest,
    limits: &Limits,
    rules: &Rules,
) -> Result<Option<Ask>, Invalid> {
    match (request.charge, request.descriptor) {
        (Some(charge), None) => {
            let peek = v1::PeekRequest { charge: Some(charge) };
            request::peek(peek, limits).map(Some)
        }
        (None, Some(descriptor)) => described(descriptor, rules),
        _ => {
            let rule = "is required, or descriptor is, and not both";
            Err(Invalid::new("charge", Why::Required, rule))
        }
    }
}

fn described(descriptor: v1::Descriptor, rules: &Rules) -> Result<Option<Ask>, Invalid> {
    let v1::Descriptor { domain, entries, hits } = descriptor;
    let entries =
        entries.into_iter().map(|v1::DescriptorEntry { key, value }| Entry { key, value });
    let hits_addend = hits.map(|value| UInt64Value { value });
    let descriptor =
        RateLimitDescriptor { entries: entries.collect(), hits_addend, ..Default::default() };
    let request = RateLimitRequest { domain, descriptors: vec![descriptor], hits_addend: 1 };
    let asked = envoy::asked(request, rules);
    let asked = asked.map_err(|Invalid { field, why, rule }| {
        // There it is one of several.
        let field = match field.strip_prefix("descriptors[0].") {
            Some(rest) => format!("descriptor.{rest}"),
            None => format!("descriptor.{field}"),
        };
        Invalid { field, why, rule }
    });
    Ok(asked?.asks.pop())
}

/// What is told of it, with where each limit is counted, and what would decide.
pub(crate) fn explained(
    asked: Option<(&Ask, &Answer, Source)>,
    places: Vec<Place>,
    version: &str,
) -> v1::ExplainResponse {
    let version = version.to_owned();
    let Some((ask, answer, decider)) = asked else {
        return v1::ExplainResponse { allowed: true, version, ..Default::default() };
    };
    let v1::PeekResponse { allowed, states, degraded } = reply::peeked(ask, answer);
    let standings = ask.limits.iter().zip(&answer.standings);
    let limits = standings.zip(states).zip(places).map(|(((limit, standing), state), place)| {
        let (source, counter) = match place {
            Place::Redis(key) => (v1::Source::Redis, key),
            Place::Memory => (v1::Source::Memory, String::new()),
        };
        let counted = match answer.alone_of() {
            Some(parts) => &limit.part_of(parts),
            None => &**limit,
        };
        v1::Explanation {
            limit: Some(reply::configured(limit)),
            state: Some(state),
            source: source.into(),
            counter,
            words: counted.explain(*standing, ask.cost),
        }
    });
    let decider = match decider {
        Source::Count => v1::Decider::Count,
        Source::Slice => v1::Decider::Slice,
        Source::Denial => v1::Decider::Denial,
        Source::Alone(_) => v1::Decider::Policy,
    };
    let limits = limits.collect();
    v1::ExplainResponse { allowed, limits, degraded, version, decider: decider.into() }
}
