//! Fields that several requests have.

use std::{collections::HashSet, fmt::Display, sync::Arc};

use mingle_proto::cache::v1;

use crate::domain::{
    Entered, Invalid, Key, MAX_TAGS, Namespace, Namespaces, Tag, TagFault, Value, WHOLE, Why,
    carried,
};

const MAX_KEY: usize = 512;
const MAX_TAG: usize = 128;
const MAX_TYPE: usize = 128;
const MAX_ACTOR: usize = 256;
/// Names that a message lists.
const SHOWN: usize = 16;
/// A lease as it is told: so that one of another key is known.
const LEASE: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

pub(crate) fn required(field: impl Display) -> Invalid {
    Invalid::new(field, Why::Required, "is required")
}

pub(crate) fn malformed(field: impl Display, rule: &str) -> Invalid {
    Invalid::new(field, Why::Malformed, rule)
}

pub(crate) fn too_long(field: impl Display, rule: impl Into<String>) -> Invalid {
    Invalid::new(field, Why::TooLong, rule)
}

pub(crate) fn too_many(field: impl Display, most: usize) -> Invalid {
    too_long(field, format!("must be at most {most}"))
}

/// A field is named by what its name is made of: most are not at fault.
pub(crate) fn text(field: impl Display, value: &str, max: usize) -> Result<(), Invalid> {
    if value.is_empty() {
        return Err(required(field));
    }
    if value.len() > max {
        return Err(too_long(field, format!("must have at most {max} bytes")));
    }
    if value.chars().any(char::is_control) {
        return Err(malformed(field, "must not hold control characters"));
    }
    Ok(())
}

/// The namespace of this name.
pub(crate) fn named(name: &str, all: &Namespaces) -> Result<Arc<Namespace>, Invalid> {
    if name.is_empty() {
        return Err(required("namespace"));
    }
    let unknown = || {
        let names: Vec<_> = all.keys().map(String::as_str).take(SHOWN).collect();
        let more = if all.len() > SHOWN { ", …" } else { "" };
        let rule = format!("must be one of the configuration's: {}{more}", names.join(", "));
        Invalid::new("namespace", Why::UnknownNamespace, rule)
    };
    all.get(name).cloned().ok_or_else(unknown)
}

/// Who clears: it is logged.
pub(crate) fn actor(actor: &str) -> Result<(), Invalid> {
    if actor.is_empty() { Ok(()) } else { text("actor", actor, MAX_ACTOR) }
}

pub(super) fn key(field: impl Display, name: &str, of: &Arc<Namespace>) -> Result<Key, Invalid> {
    text(field, name, MAX_KEY)?;
    Ok(Key { namespace: of.clone(), name: name.into() })
}

/// One of at most so many, none of them twice.
pub(super) fn distinct<'a>(
    field: &str,
    names: impl Iterator<Item = &'a str>,
    max: usize,
) -> Result<(), Invalid> {
    let mut seen = HashSet::new();
    for (at, name) in names.enumerate() {
        if at == max {
            return Err(too_many(field, max));
        }
        if !seen.insert(name) {
            return Err(malformed(format_args!("{field}[{at}]"), "must not be there twice"));
        }
    }
    if seen.is_empty() { Err(required(field)) } else { Ok(()) }
}

pub(super) fn tag(field: impl Display, name: &str) -> Result<Tag, Invalid> {
    text(field, name, MAX_TAG)?;
    Ok(name.into())
}

/// All that is carried, with the tag of the whole namespace, which every value carries.
pub(super) fn tags(
    within: impl Display,
    tags: &[String],
    links: &[v1::TagLink],
) -> Result<Vec<Tag>, Invalid> {
    let own = named_tags(format_args!("{within}tags"), tags)?;
    if links.len() > MAX_TAGS {
        return Err(too_long(format_args!("{within}links"), "must be at most 64"));
    }
    let mut linked = Vec::with_capacity(links.len());
    for (at, v1::TagLink { tag: of, carries }) in links.iter().enumerate() {
        if carries.is_empty() {
            return Err(required(format_args!("{within}links[{at}].carries")));
        }
        let of = tag(format_args!("{within}links[{at}].tag"), of)?;
        linked.push((of, named_tags(format_args!("{within}links[{at}].carries"), carries)?));
    }
    let mut all = carried(&own, &linked).map_err(|fault| match fault {
        TagFault::TooMany => {
            too_long(format_args!("{within}tags"), "must be at most 64, with those they carry")
        }
        TagFault::Cycle(tag) => {
            malformed(format_args!("{within}links"), &format!("make {tag} carry itself"))
        }
    })?;
    all.insert(0, WHOLE.into());
    Ok(all)
}

fn named_tags(field: impl Display, names: &[String]) -> Result<Vec<Tag>, Invalid> {
    if names.len() > MAX_TAGS {
        return Err(too_long(field, "must be at most 64"));
    }
    let each = names.iter().enumerate();
    each.map(|(at, name)| tag(format_args!("{field}[{at}]"), name)).collect()
}

/// A value of an entry.
pub(super) fn value(
    field: impl Display,
    value: Option<v1::Value>,
    of: &Namespace,
) -> Result<Value, Invalid> {
    let v1::Value { data, absent, content_type } = value.ok_or_else(|| required(&field))?;
    if data.len() > of.max_value {
        let rule = format!("must have at most {} bytes in this namespace", of.max_value);
        return Err(too_long(format_args!("{field}.data"), rule));
    }
    if absent && !data.is_empty() {
        return Err(malformed(format_args!("{field}.data"), "must be empty when absent"));
    }
    if !content_type.is_empty() {
        text(format_args!("{field}.content_type"), &content_type, MAX_TYPE)?;
    }
    Ok(Value { data: data.into(), absent, content_type: content_type.into() })
}

/// A lifetime of an entry.
pub(super) fn lifetime(
    field: impl Display,
    ms: Option<u64>,
    longest_us: u64,
) -> Result<Option<u64>, Invalid> {
    let Some(ms) = ms else { return Ok(None) };
    if ms == 0 {
        return Err(malformed(field, "must be at least 1"));
    }
    let longest_ms = longest_us / 1_000;
    if ms > longest_ms {
        let rule = format!("must be at most {longest_ms} in this namespace");
        return Err(too_long(field, rule));
    }
    Ok(Some(ms * 1_000))
}

/// An entry, its key checked already or not.
pub(super) fn entered(
    field: impl Display,
    entry: Option<v1::Entry>,
    of: &Arc<Namespace>,
) -> Result<Entered, Invalid> {
    let v1::Entry { key: name, value, tags, links, soft_ttl_ms, hard_ttl_ms } =
        entry.ok_or_else(|| required(&field))?;
    let key = key(format_args!("{field}.key"), &name, of)?;
    let value = self::value(format_args!("{field}.value"), value, of)?;
    let tags = self::tags(format_args!("{field}."), &tags, &links)?;
    let hard_us = lifetime(format_args!("{field}.hard_ttl_ms"), hard_ttl_ms, of.longest_us)?;
    let soft_us = lifetime(format_args!("{field}.soft_ttl_ms"), soft_ttl_ms, of.longest_us)?;
    if hard_us.is_some_and(|hard_us| soft_us.is_some_and(|soft_us| soft_us > hard_us)) {
        return Err(too_long(format_args!("{field}.soft_ttl_ms"), "must be at most hard_ttl_ms"));
    }
    Ok(Entered { key, value, tags, soft_us, hard_us })
}

/// A lease as it is told.
pub(crate) fn token_text(key: &Key, token: u128) -> String {
    format!("{token:032x}{:08x}", check(key))
}

/// A lease as it was told, of this key.
pub(super) fn token(field: &str, told: &str, key: &Key) -> Result<u128, Invalid> {
    if told.is_empty() {
        return Err(required(field));
    }
    let none = || malformed(field, "is no lease");
    let (token, of) = told.split_at_checked(32).ok_or_else(none)?;
    let token = u128::from_str_radix(token, 16).map_err(|_| none())?;
    let of = u32::from_str_radix(of, 16).map_err(|_| none())?;
    if of != check(key) {
        return Err(malformed(field, "is no lease of this key"));
    }
    Ok(token)
}

fn check(key: &Key) -> u32 {
    let mut check = LEASE.digest();
    check.update(key.namespace.name.as_bytes());
    check.update(&[0]);
    check.update(key.name.as_bytes());
    check.finalize()
}
