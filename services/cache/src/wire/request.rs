//! Requests as the domain.

use std::{sync::Arc, time::Duration};

use mingle_proto::cache::v1;

use super::fields::{self, distinct, malformed, named, required, text, too_long, too_many};
use crate::domain::{Entered, Invalid, Key, Mark, Namespaces, Tag, WHOLE};

const MAX_KEYS: usize = 1_000;
const MAX_NAMESPACES: usize = 256;
const MAX_WAIT_MS: u64 = 30_000;
const MAX_ID: usize = 64;
/// What names a version by the attempt that stores it.
const VERSION: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_XZ);

/// A key, and what is wanted of it.
pub(crate) struct Asked {
    pub(crate) key: Key,
    pub(crate) tags: Arc<[Tag]>,
    pub(crate) through: bool,
    pub(crate) leases: bool,
}

/// A Get, and how long it waits.
pub(crate) fn one(request: v1::GetRequest, all: &Namespaces) -> Result<(Asked, Duration), Invalid> {
    let of = named(&request.namespace, all)?;
    let key = fields::key("key", &request.key, &of)?;
    let tags = fields::tags("", &request.tags, &request.links)?.into();
    if request.wait_ms > MAX_WAIT_MS {
        return Err(too_long("wait_ms", "must be at most 30000"));
    }
    let through = is_through("mode", request.mode)?;
    let asked = Asked { key, tags, through, leases: !request.without_lease };
    Ok((asked, Duration::from_millis(request.wait_ms)))
}

/// The keys of a GetMany.
pub(crate) fn many(request: v1::GetManyRequest, all: &Namespaces) -> Result<Vec<Asked>, Invalid> {
    let of = named(&request.namespace, all)?;
    let tags: Arc<[Tag]> = fields::tags("", &request.tags, &request.links)?.into();
    let through = is_through("mode", request.mode)?;
    let keys = keys(&request.namespace, &request.keys, all)?;
    let leases = !request.without_lease;
    debug_assert!(keys.iter().all(|key| key.namespace.name == of.name));
    Ok(keys.into_iter().map(|key| Asked { key, tags: tags.clone(), through, leases }).collect())
}

fn is_through(field: &str, mode: i32) -> Result<bool, Invalid> {
    match v1::ReadMode::try_from(mode) {
        Ok(v1::ReadMode::Unspecified) => Ok(false),
        Ok(v1::ReadMode::ReadThrough) => Ok(true),
        Err(_) => Err(malformed(field, "is no mode")),
    }
}

/// The entry of a Set.
pub(crate) fn entry(
    namespace: &str,
    entry: Option<v1::Entry>,
    all: &Namespaces,
) -> Result<Entered, Invalid> {
    fields::entered("entry", entry, &named(namespace, all)?)
}

/// The entries of a SetMany.
pub(crate) fn entries(
    request: v1::SetManyRequest,
    all: &Namespaces,
) -> Result<Vec<Entered>, Invalid> {
    let of = named(&request.namespace, all)?;
    distinct("entries", request.entries.iter().map(|entry| &*entry.key), MAX_KEYS)?;
    let each = request.entries.into_iter().enumerate();
    each.map(|(at, entry)| fields::entered(format_args!("entries[{at}]"), Some(entry), &of))
        .collect()
}

/// The entry of a Warm, which is the so manieth of its stream.
pub(crate) fn warmed(
    request: v1::WarmRequest,
    number: usize,
    all: &Namespaces,
) -> Result<Entered, Invalid> {
    let at =
        |invalid: Invalid| Invalid { field: format!("[{number}].{}", invalid.field), ..invalid };
    entry(&request.namespace, request.entry, all).map_err(at)
}

/// What an attempt to store where another version is will name its own. With other content
/// it is another attempt.
pub(crate) fn version_of(request_id: &str, entered: &Entered) -> Result<u64, Invalid> {
    text("request_id", request_id, MAX_ID)?;
    let (key, value) = (&entered.key, &entered.value);
    let mut version = VERSION.digest();
    for part in [&*key.namespace.name, &*key.name, request_id, &*value.content_type] {
        version.update(part.as_bytes());
        version.update(&[0]);
    }
    version.update(&[u8::from(value.absent)]);
    version.update(&value.data);
    // 0 is that of nothing.
    Ok(version.finalize().max(1))
}

/// What became of a load.
pub(crate) struct Loaded {
    pub(crate) entered: Entered,
    pub(crate) token: u128,
    pub(crate) is_failed: bool,
}

/// A Fill.
pub(crate) fn fill(request: v1::FillRequest, all: &Namespaces) -> Result<Loaded, Invalid> {
    let of = named(&request.namespace, all)?;
    let is_failed = request.load_failed;
    let mut entry = request.entry.ok_or_else(|| required("entry"))?;
    if is_failed {
        if entry.value.is_some() {
            return Err(malformed("entry.value", "must not be there with load_failed"));
        }
        entry.value = Some(v1::Value::default());
    }
    let entered = fields::entered("entry", Some(entry), &of)?;
    let token = fields::token("lease", &request.lease, &entered.key)?;
    Ok(Loaded { entered, token, is_failed })
}

/// The key of a Touch or a Delete.
pub(crate) fn key(namespace: &str, name: &str, all: &Namespaces) -> Result<Key, Invalid> {
    fields::key("key", name, &named(namespace, all)?)
}

/// Several keys.
pub(crate) fn keys(
    namespace: &str,
    names: &[String],
    all: &Namespaces,
) -> Result<Vec<Key>, Invalid> {
    let of = named(namespace, all)?;
    distinct("keys", names.iter().map(|name| &**name), MAX_KEYS)?;
    let each = names.iter().enumerate();
    each.map(|(at, name)| fields::key(format_args!("keys[{at}]"), name, &of)).collect()
}

/// The tag of an InvalidateTag.
pub(crate) fn tag(namespace: &str, name: &str, all: &Namespaces) -> Result<Mark, Invalid> {
    let namespace = named(namespace, all)?;
    Ok(Mark { namespace, tag: fields::tag("tag", name)? })
}

/// The namespaces that a Watch adds.
pub(crate) fn followed(names: &[String], all: &Namespaces) -> Result<(), Invalid> {
    let known = |(at, name): (usize, &String)| {
        let field = format!("add.namespaces[{at}]");
        named(name, all).map(drop).map_err(|invalid| Invalid { field, ..invalid })
    };
    match names.len() {
        0 => Err(required("add.namespaces")),
        1..=MAX_NAMESPACES => names.iter().enumerate().try_for_each(known),
        _ => Err(too_many("add.namespaces", MAX_NAMESPACES)),
    }
}

/// All of a namespace, or of every one for no name.
pub(crate) fn whole(namespace: &str, all: &Namespaces) -> Result<Vec<Mark>, Invalid> {
    let mark = |namespace| Mark { namespace, tag: WHOLE.into() };
    match namespace {
        "" => Ok(all.values().cloned().map(mark).collect()),
        name => Ok(vec![mark(named(name, all)?)]),
    }
}
