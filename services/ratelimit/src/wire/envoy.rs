//! Envoy's protocol: requests as asks, and answers as replies.

use std::{collections::HashSet, sync::Arc};

use envoy_types::pb::{
    envoy::{
        config::core::v3::HeaderValue,
        extensions::common::ratelimit::v3::{
            RateLimitDescriptor, rate_limit_descriptor::RateLimitOverride,
        },
        service::ratelimit::v3::{
            RateLimitRequest, RateLimitResponse,
            rate_limit_response::{Code, DescriptorStatus, RateLimit},
        },
    },
    google::protobuf::Duration,
};

use crate::domain::{
    Algorithm, Answer, Ask, Found, Invalid, Limit, MAX_QUOTA, NEVER, Outage, Rule, Rules, Standing,
    Why, label, subject, unit_us,
};

const MAX_DESCRIPTORS: usize = 1_000;
const MAX_ENTRIES: usize = 64;

/// A request as what is asked of the store.
pub(crate) struct Asked {
    pub(crate) asks: Vec<Ask>,
    /// By descriptor.
    pub(crate) places: Vec<Place>,
    pub(crate) all_or_nothing: bool,
}

/// What becomes of a descriptor.
pub(crate) enum Place {
    /// No rule is for it, or another one replaces it.
    Free,
    /// Its rule says so.
    Unlimited,
    /// It is the one of this place among the asks.
    Counted(usize, Arc<Rule>),
}

/// Reads a request.
pub(crate) fn asked(request: RateLimitRequest, rules: &Rules) -> Result<Asked, Invalid> {
    let RateLimitRequest { domain, descriptors, hits_addend } = request;
    if domain.is_empty() {
        return Err(Invalid::new("domain", Why::Required, "is required"));
    }
    match descriptors.len() {
        0 => return Err(Invalid::new("descriptors", Why::Required, "is required")),
        1..=MAX_DESCRIPTORS => {}
        _ => return Err(Invalid::new("descriptors", Why::TooLong, "must be at most 1000")),
    }
    let all_or_nothing = rules.domain(&domain);
    let mut found = Vec::with_capacity(descriptors.len());
    for (at, descriptor) in descriptors.iter().enumerate() {
        let rule = rule(at, &domain, descriptor, rules)?;
        found.push(rule.filter(|_| all_or_nothing.is_some()));
    }
    let replaced: HashSet<_> =
        found.iter().flatten().flat_map(|it| it.rule.replaces.iter().cloned()).collect();
    let all_or_nothing = all_or_nothing.unwrap_or(false);
    let id = if all_or_nothing { uuid() } else { String::new() };
    let mut asked = Asked { asks: Vec::new(), places: Vec::new(), all_or_nothing };
    for (at, (found, descriptor)) in found.into_iter().zip(&descriptors).enumerate() {
        let cost = descriptor.hits_addend.map_or(u64::from(hits_addend.max(1)), |hits| hits.value);
        let charge_id = if id.is_empty() { String::new() } else { format!("{id}:{at}") };
        asked.add(found, &replaced, (cost.min(MAX_QUOTA + 1), charge_id));
    }
    Ok(asked)
}

impl Asked {
    fn add(&mut self, found: Option<Found>, replaced: &HashSet<String>, of: (u64, String)) {
        let is_replaced = |it: &Found| !it.rule.name.is_empty() && replaced.contains(&it.rule.name);
        let place = match found {
            Some(it) if it.rule.limit.is_none() => Place::Unlimited,
            Some(it) if !is_replaced(&it) => {
                let Found { rule, subject } = it;
                let (cost, charge_id) = of;
                let limits = rule.limit.iter().cloned().collect();
                self.asks.push(Ask { subject, charge_id, is_new: true, cost, limits });
                Place::Counted(self.asks.len() - 1, rule)
            }
            _ => Place::Free,
        };
        self.places.push(place);
    }
}

/// The rule of a descriptor: one that it brings, or one of the domain.
fn rule(
    at: usize,
    domain: &str,
    descriptor: &RateLimitDescriptor,
    rules: &Rules,
) -> Result<Option<Found>, Invalid> {
    let field = |name: &str| format!("descriptors[{at}].{name}");
    if descriptor.is_negative_hits {
        let why = "is not taken: what was charged by Check is given back by Refund";
        return Err(Invalid::new(field("is_negative_hits"), Why::Malformed, why));
    }
    if descriptor.entries.len() > MAX_ENTRIES {
        return Err(Invalid::new(field("entries"), Why::TooLong, "must be at most 64"));
    }
    let entries: Vec<_> =
        descriptor.entries.iter().map(|entry| (&*entry.key, &*entry.value)).collect();
    match &descriptor.limit {
        None => Ok(rules.find(domain, &entries)),
        Some(limit) => {
            let unknown = || Invalid::new(field("limit.unit"), Why::Malformed, "is no unit");
            let rule = Arc::new(brought(domain, limit).ok_or_else(unknown)?);
            Ok(Some(Found { rule, subject: subject(domain, &entries) }))
        }
    }
}

fn brought(domain: &str, limit: &RateLimitOverride) -> Option<Rule> {
    let limit_of = Limit {
        // Its subject tells it from those of other entries, and its unit from others
        // of the same; no label has a #.
        name: format!("{}.override#{}", label(domain), limit.unit).into(),
        algorithm: Algorithm::SlidingWindow,
        quota: u64::from(limit.requests_per_unit).min(MAX_QUOTA),
        window_us: unit_us(limit.unit)?,
        burst: 1,
        outage: Outage::Local,
        shadow: false,
        parts: 1,
    };
    Some(Rule {
        limit: Some(Arc::new(limit_of)),
        name: String::new(),
        replaces: Vec::new(),
        quota_mode: false,
        unit: limit.unit,
    })
}

fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// What became of it, descriptor by descriptor.
pub(crate) fn reply(places: &[Place], asks: &[Ask], answers: &[Answer]) -> RateLimitResponse {
    let mut tally = Tally::default();
    let mut statuses = Vec::with_capacity(places.len());
    let mut tightest: Option<(&Rule, &Limit, Standing, bool)> = None;
    for place in places {
        let (at, rule) = match place {
            Place::Free => {
                statuses.push(status(Code::Ok));
                continue;
            }
            Place::Unlimited => {
                statuses.push(DescriptorStatus { limit_remaining: u32::MAX, ..status(Code::Ok) });
                continue;
            }
            Place::Counted(at, rule) => (*at, rule),
        };
        let standing = answers.get(at).and_then(|answer| answer.standings.first().copied());
        let limit = asks.get(at).and_then(|ask| ask.limits.first());
        let (Some(standing), Some(limit)) = (standing, limit) else { continue };
        let cost = asks.get(at).map_or(1, |ask| ask.cost);
        // Who only looks is told whether there is any left.
        let is_over = !standing.allowed || (cost == 0 && standing.remaining == 0);
        tally.add(rule.quota_mode, is_over && !limit.shadow);
        statuses.push(counted(rule, limit, standing, is_over));
        let is_tighter = |(.., other, was_over): &(_, _, Standing, bool)| {
            (!is_over, standing.remaining) < (!was_over, other.remaining)
        };
        if !limit.shadow && tightest.as_ref().is_none_or(is_tighter) {
            tightest = Some((rule, limit, standing, is_over));
        }
    }
    RateLimitResponse {
        overall_code: tally.code().into(),
        statuses,
        response_headers_to_add: tightest
            .map(|it| headers(it, tally.code() == Code::OverLimit))
            .unwrap_or_default(),
        ..Default::default()
    }
}

/// How many deny, of both kinds.
#[derive(Default)]
struct Tally {
    denied: usize,
    of_quotas: usize,
    denied_quotas: usize,
}

impl Tally {
    fn add(&mut self, is_quota: bool, is_over: bool) {
        if is_quota {
            self.of_quotas += 1;
            self.denied_quotas += usize::from(is_over);
        } else {
            self.denied += usize::from(is_over);
        }
    }

    fn code(&self) -> Code {
        let quotas = self.of_quotas > 0 && self.of_quotas == self.denied_quotas;
        if self.denied > 0 || quotas { Code::OverLimit } else { Code::Ok }
    }
}

fn status(code: Code) -> DescriptorStatus {
    DescriptorStatus { code: code.into(), ..Default::default() }
}

fn counted(rule: &Rule, limit: &Limit, standing: Standing, is_over: bool) -> DescriptorStatus {
    let code = if is_over && !limit.shadow { Code::OverLimit } else { Code::Ok };
    DescriptorStatus {
        current_limit: Some(RateLimit {
            name: rule.name.clone(),
            requests_per_unit: u32::try_from(limit.quota).unwrap_or(u32::MAX),
            unit: rule.unit,
        }),
        limit_remaining: u32::try_from(standing.remaining).unwrap_or(u32::MAX),
        duration_until_reset: Some(Duration { seconds: seconds(limit, standing), nanos: 0 }),
        ..status(code)
    }
}

/// When it pays to come again, rounded up: until the wait is over, or until all of the
/// quota is there again.
fn seconds(limit: &Limit, standing: Standing) -> i64 {
    let us = match standing.retry_us {
        0 => standing.reset_us,
        NEVER => limit.window_us,
        retry_us => retry_us,
    };
    i64::try_from(us.div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// What the caller's client is told of the rule that is nearest to its end, as
/// draft-ietf-httpapi-ratelimit-headers says.
fn headers(
    (rule, limit, standing, is_over): (&Rule, &Limit, Standing, bool),
    denied: bool,
) -> Vec<HeaderValue> {
    let name = if rule.name.is_empty() { &limit.name } else { &*rule.name };
    let name = label(name);
    let (quota, seconds) = (limit.quota, seconds(limit, standing));
    let window = limit.window_us.div_ceil(1_000_000);
    let header = |key: &str, value| HeaderValue { key: key.to_owned(), value, raw_value: vec![] };
    let mut headers = vec![
        header("ratelimit-policy", format!("\"{name}\";q={quota};w={window}")),
        header("ratelimit", format!("\"{name}\";r={};t={seconds}", standing.remaining)),
    ];
    if is_over && denied {
        headers.push(header("retry-after", seconds.to_string()));
    }
    headers
}
