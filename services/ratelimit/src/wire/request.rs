//! Requests as the domain.

use std::{fmt::Display, sync::Arc};

use mingle_proto::ratelimit::v1;

use crate::domain::{Algorithm, Ask, Invalid, Limit, Limits, Why};

const MAX_SUBJECT: usize = 256;
const MAX_ID: usize = 256;
const MAX_LIMITS: usize = 8;
const MAX_COST: u64 = 1_000_000;
const MAX_CHARGES: usize = 16;
const MAX_CHECKS: usize = 1_000;
const MAX_TOP: usize = 100;
const USUAL_TOP: usize = 10;

/// One charge, to be made.
pub(crate) fn one(request: v1::CheckRequest, limits: &Limits) -> Result<Ask, Invalid> {
    let mut id = text("request_id", request.request_id, MAX_ID)?;
    let is_new = request.is_new || request.once;
    if request.once {
        id.clear();
    }
    Ok(Ask { is_new, ..charge("charge", request.charge, id, limits)? })
}

/// One lease, to be taken or renewed.
pub(crate) fn acquire(request: v1::AcquireRequest, limits: &Limits) -> Result<Ask, Invalid> {
    let id = text("request_id", request.request_id, MAX_ID)?;
    let ask = ask("charge", request.charge, id, limits)?;
    of_kind("charge", ask, true, "is not of concurrency: it is charged by Check")
}

/// Subject and id of the lease to give back.
pub(crate) fn release(request: v1::ReleaseRequest) -> Result<(String, String), Invalid> {
    let subject = text("subject", request.subject, MAX_SUBJECT)?;
    Ok((subject, text("lease_id", request.lease_id, MAX_ID)?))
}

/// Several charges, each for itself, wrong or not.
pub(crate) fn each(
    request: v1::CheckEachRequest,
    limits: &Limits,
) -> Result<Vec<Result<Ask, Invalid>>, Invalid> {
    match request.checks.len() {
        0 => Err(required("checks")),
        1..=MAX_CHECKS => Ok(request.checks.into_iter().map(|check| one(check, limits)).collect()),
        _ => Err(Invalid::new("checks", Why::TooLong, "must be at most 1000")),
    }
}

/// Several charges, to be made together.
pub(crate) fn asks(request: v1::CheckManyRequest, limits: &Limits) -> Result<Vec<Ask>, Invalid> {
    let id = text("request_id", request.request_id, MAX_ID)?;
    if request.charges.is_empty() {
        return Err(required("charges"));
    }
    if request.charges.len() > MAX_CHARGES {
        return Err(Invalid::new("charges", Why::TooLong, "must be at most 16"));
    }
    let mut asks: Vec<Ask> = Vec::with_capacity(request.charges.len());
    for (at, charge) in request.charges.into_iter().enumerate() {
        let ask = self::charge(format_args!("charges[{at}]"), Some(charge), id.clone(), limits)?;
        if asks.iter().any(|other| other.subject == ask.subject) {
            let field = format_args!("charges[{at}].subject");
            return Err(Invalid::new(field, Why::Malformed, "must not be there twice"));
        }
        asks.push(ask);
    }
    Ok(asks)
}

/// One charge, to be looked at.
pub(crate) fn peek(request: v1::PeekRequest, limits: &Limits) -> Result<Ask, Invalid> {
    ask("charge", request.charge, String::new(), limits)
}

/// Subject and id of the charge to give back.
pub(crate) fn refund(request: v1::RefundRequest) -> Result<(String, String), Invalid> {
    let subject = text("subject", request.subject, MAX_SUBJECT)?;
    Ok((subject, text("charge_id", request.charge_id, MAX_ID)?))
}

/// A subject, and the limits that it is to be reset for.
pub(crate) fn reset(
    request: v1::ResetRequest,
    limits: &Limits,
) -> Result<(String, Vec<Arc<Limit>>), Invalid> {
    let subject = text("subject", request.subject, MAX_SUBJECT)?;
    if request.limits.is_empty() {
        return Ok((subject, limits.values().cloned().collect()));
    }
    Ok((subject, named("limits", &request.limits, limits)?))
}

/// How many to tell.
pub(crate) fn most(request: v1::TopSubjectsRequest) -> Result<usize, Invalid> {
    match usize::try_from(request.most) {
        Ok(0) => Ok(USUAL_TOP),
        Ok(most @ ..=MAX_TOP) => Ok(most),
        _ => Err(Invalid::new("most", Why::Malformed, "must be at most 100")),
    }
}

/// What is charged, and not held.
fn charge(
    field: impl Display,
    charge: Option<v1::Charge>,
    charge_id: String,
    limits: &Limits,
) -> Result<Ask, Invalid> {
    let ask = ask(&field, charge, charge_id, limits)?;
    of_kind(field, ask, false, "is of concurrency: it is held by Acquire")
}

/// All of it is held, or all of it is charged.
fn of_kind(field: impl Display, ask: Ask, held: bool, rule: &str) -> Result<Ask, Invalid> {
    let other = |limit: &Arc<Limit>| (limit.algorithm == Algorithm::Concurrency) != held;
    match ask.limits.iter().position(other) {
        Some(at) => Err(Invalid::new(format_args!("{field}.limits[{at}]"), Why::Malformed, rule)),
        None => Ok(ask),
    }
}

/// A field is named by what its name is made of: most are not at fault.
fn ask(
    field: impl Display,
    charge: Option<v1::Charge>,
    charge_id: String,
    limits: &Limits,
) -> Result<Ask, Invalid> {
    let charge = charge.ok_or_else(|| required(&field))?;
    let subject = text(format_args!("{field}.subject"), charge.subject, MAX_SUBJECT)?;
    if charge.limits.is_empty() {
        return Err(required(format_args!("{field}.limits")));
    }
    let known = named(format_args!("{field}.limits"), &charge.limits, limits)?;
    let cost = charge.cost.unwrap_or(1);
    if cost > MAX_COST {
        let field = format_args!("{field}.cost");
        return Err(Invalid::new(field, Why::Malformed, "must be at most 1000000"));
    }
    Ok(Ask { subject, charge_id, is_new: false, cost, limits: known })
}

/// The limits of these names.
fn named(
    field: impl Display,
    names: &[String],
    limits: &Limits,
) -> Result<Vec<Arc<Limit>>, Invalid> {
    if names.len() > MAX_LIMITS {
        return Err(Invalid::new(field, Why::TooLong, "must be at most 8"));
    }
    let mut known = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        let field = format_args!("{field}[{at}]");
        if names[..at].contains(name) {
            return Err(Invalid::new(field, Why::Malformed, "must not be there twice"));
        }
        let unknown = || Invalid::new(field, Why::UnknownLimit, "is no limit of the configuration");
        known.push(limits.get(name).cloned().ok_or_else(unknown)?);
    }
    Ok(known)
}

fn required(field: impl Display) -> Invalid {
    Invalid::new(field, Why::Required, "is required")
}

fn text(field: impl Display, value: String, max: usize) -> Result<String, Invalid> {
    if value.is_empty() {
        return Err(required(field));
    }
    if value.len() > max {
        let rule = format!("must have at most {max} bytes");
        return Err(Invalid::new(field, Why::TooLong, rule));
    }
    if value.chars().any(char::is_control) {
        return Err(Invalid::new(field, Why::Malformed, "must not hold control characters"));
    }
    Ok(value)
}
