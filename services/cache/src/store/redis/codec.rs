//! Values as bytes. What the scripts read of them is in `lua/kept.lua`.

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _};
use mingle_store::{Error, ErrorKind, Result};

use crate::domain::{Captured, Entry, Tag, Value, WHOLE};

/// `zstd -3`: of what a cache keeps, most of the size for little of the time.
const LEVEL: i32 = 3;
/// Kept as it is, unless that saves an eighth.
const WORTH: usize = 8;
const ABSENT: u8 = 1;
const COMPRESSED: u8 = 2;
const HEAD: usize = 45;

/// Captured versions.
pub(super) fn captured(of: &Captured) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + of.iter().map(|(tag, _)| tag.len() + 9).sum::<usize>());
    out.put_u8(length(of.len()));
    for (tag, version) in of.iter() {
        out.put_u8(length(tag.len()));
        out.put_slice(tag.as_bytes());
        out.put_u64(*version);
    }
    out
}

/// A value, compressed from so many bytes on.
pub(super) fn value(of: &Value, compress_from: usize) -> Vec<u8> {
    let pays = |packed: &Vec<u8>| packed.len() + of.data.len() / WORTH <= of.data.len();
    let is_large = of.data.len() >= compress_from;
    // What zstd refuses is kept as it is.
    let packed = is_large.then(|| zstd::bulk::compress(&of.data, LEVEL).ok()).flatten();
    let packed = packed.filter(pays);
    let data = packed.as_deref().unwrap_or(&of.data);
    let mut out = Vec::with_capacity(data.len() + of.content_type.len() + 6);
    let compressed = if packed.is_some() { COMPRESSED } else { 0 };
    out.put_u8(if of.absent { ABSENT } else { 0 } | compressed);
    out.put_u8(length(of.content_type.len()));
    out.put_slice(of.content_type.as_bytes());
    out.put_u32(u32::try_from(of.data.len()).unwrap_or(u32::MAX));
    out.put_slice(data);
    out
}

/// What a script found. A value that cannot be read is void: it is loaded again.
pub(super) fn entry(stored: &[u8]) -> Result<Entry> {
    let (head, rest) = stored.split_at_checked(HEAD).ok_or_else(|| corrupt("cached value"))?;
    let (captured, value) = read_rest(rest).unwrap_or_else(|| {
        let value = Value { data: Arc::default(), absent: true, content_type: Arc::default() };
        // No namespace has this version.
        (vec![(WHOLE.into(), 0)].into(), value)
    });
    Ok(with_head(head, captured, value))
}

fn read_rest(mut from: &[u8]) -> Option<(Captured, Value)> {
    Some((read_captured(&mut from)?, read_value(from)?))
}

fn with_head(mut from: &[u8], captured: Captured, value: Value) -> Entry {
    // The letter and the life, which the script has judged.
    from.advance(9);
    let version = from.get_u64();
    let [stored_us, soft_us, hard_us, load_us] = [(); 4].map(|()| from.get_uint(7));
    Entry { version, captured, value, stored_us, soft_us, hard_us, load_us }
}

fn read_captured(from: &mut &[u8]) -> Option<Captured> {
    let count = from.try_get_u8().ok()?;
    (0..count)
        .map(|_| {
            let tag: Tag = read_text(from)?.into();
            Some((tag, from.try_get_u64().ok()?))
        })
        .collect()
}

fn read_value(mut from: &[u8]) -> Option<Value> {
    let flags = from.try_get_u8().ok()?;
    let content_type: Arc<str> = read_text(&mut from)?.into();
    let length = usize::try_from(from.try_get_u32().ok()?).ok()?;
    let data: Arc<[u8]> = match flags & COMPRESSED {
        0 => from.into(),
        _ => zstd::bulk::decompress(from, length).ok()?.into(),
    };
    (data.len() == length).then_some(Value { data, absent: flags & ABSENT != 0, content_type })
}

fn read_text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::from(from.try_get_u8().ok()?);
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    std::str::from_utf8(text).ok()
}

/// Requests are bounded below it.
fn length(of: usize) -> u8 {
    u8::try_from(of).unwrap_or(u8::MAX)
}

pub(super) fn corrupt(what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(of: &Value, tags: &Captured) -> Vec<u8> {
        let mut stored = vec![b'C'];
        stored.put_slice(&[7; 8]);
        stored.put_u64(9);
        (1..=4).for_each(|n| stored.put_uint(n, 7));
        [stored, captured(tags), value(of, 1_024)].concat()
    }

    fn plain(data: &[u8]) -> Value {
        Value { data: data.into(), absent: false, content_type: "text/plain".into() }
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let tags: Captured = [("".into(), 1), ("user:ann".into(), u64::MAX)].into();
        let absent = Value { absent: true, ..plain(b"") };
        for of in [plain(b"hello"), plain(&[0; 100_000]), absent] {
            let Entry { version, captured, value, stored_us, soft_us, hard_us, load_us } =
                entry(&stored(&of, &tags)).unwrap();
            assert_eq!((version, captured, value), (9, tags.clone(), of));
            assert_eq!((stored_us, soft_us, hard_us, load_us), (1, 2, 3, 4));
        }
    }

    #[test]
    fn compression_is_kept_where_it_pays() {
        let words = "{\"name\":\"somebody\",\"age\":42},".repeat(4_000);
        assert!(value(&plain(words.as_bytes()), 1_024).len() < words.len() / 4);
        let noise: Vec<u8> = (0..5_000).map(|_| rand::random()).collect();
        assert_eq!(value(&plain(&noise), 1_024).len(), noise.len() + 16, "as it is");
        assert_eq!(value(&plain(&words.as_bytes()[..1_023]), 1_024).len(), 1_023 + 16, "small");
    }

    #[test]
    fn what_is_cut_or_foreign_is_void_or_corrupt() {
        let tags: Captured = [("tag".into(), 1)].into();
        let void: Captured = [(WHOLE.into(), 0)].into();
        let whole = stored(&plain(&[1; 5_000]), &tags);
        for end in 0..HEAD {
            assert!(entry(&whole[..end]).is_err(), "{end}");
        }
        for end in HEAD..whole.len() {
            assert_eq!(entry(&whole[..end]).unwrap().captured, void, "{end}");
        }
        assert_eq!(entry(&[0xff; 200]).unwrap().captured, void);
    }
}
