//! Entries and positions as they are kept. What cannot be read is `Corrupt`,
//! never a guess.

use std::sync::Arc;

use mingle_store::{Error, ErrorKind, Result, redis::Arg};

use crate::domain::{Bucket, Entry, Pool, Position, Proposal};

/// Digits of a time: enough until the year 318,857. Bytes are in the order of
/// ages, so times before 1970 are not told apart.
const AGE: usize = 16;
const BUCKET: usize = 3;
/// What `give` in `propose.lua` answers of one entry.
const FIELDS: usize = 4;

/// How zsets name a position.
pub(super) fn position(position: &Position) -> String {
    format!("{:0AGE$}{}", position.created_at.max(0), position.ticket_id)
}

pub(super) fn read_position(text: &str) -> Result<Position> {
    let (age, ticket_id) = text.split_at_checked(AGE).ok_or_else(corrupt)?;
    Ok(Position { created_at: number(age)?, ticket_id: ticket_id.into() })
}

/// The arguments of `put`: id, entry, proof of life, spare.
pub(super) fn write(entry: &Entry) -> Result<[Arg; FIELDS]> {
    let people: Vec<&str> =
        std::iter::once(&*entry.user_id).chain(entry.recent.iter().map(String::as_str)).collect();
    let people = serde_json::to_string(&people)
        .map_err(|error| Error::with_source(ErrorKind::Unsupported, "index entry", error))?;
    let (age, bucket) = (entry.position.created_at.max(0), entry.bucket.index());
    Ok([
        (*entry.position.ticket_id).into(),
        format!("{age:0AGE$}{bucket:0BUCKET$}{people}").into(),
        entry.alive_at.map(|at| at.to_string()).unwrap_or_default().into(),
        entry.spared_until.into(),
    ])
}

/// The proposals of an answer: two entries each.
pub(super) fn proposals(pool: &Pool, answer: &[String]) -> Result<Vec<Proposal>> {
    let whole = answer.len().is_multiple_of(2 * FIELDS);
    let pairs = answer.chunks_exact(2 * FIELDS).map(|pair| {
        let entries = pair.chunks_exact(FIELDS).map(|fields| read(pool, fields));
        Ok(Proposal { entries: entries.collect::<Result<_>>()? })
    });
    if whole { pairs.collect() } else { Err(corrupt()) }
}

fn read(pool: &Pool, fields: &[String]) -> Result<Entry> {
    let [id, entry, proof, spare] = fields else { return Err(corrupt()) };
    let (age, rest) = entry.split_at_checked(AGE).ok_or_else(corrupt)?;
    let (bucket, people) = rest.split_at_checked(BUCKET).ok_or_else(corrupt)?;
    let people: Vec<String> = serde_json::from_str(people)
        .map_err(|error| Error::with_source(ErrorKind::Corrupt, "index entry", error))?;
    let (user, recent) = people.split_first().ok_or_else(corrupt)?;
    Ok(Entry {
        position: Position { created_at: number(age)?, ticket_id: id.as_str().into() },
        user_id: user.as_str().into(),
        bucket: bucket_of(pool, bucket)?,
        recent: Arc::from(recent),
        alive_at: Some(proof).filter(|it| !it.is_empty()).map(|it| number(it)).transpose()?,
        spared_until: number(spare)?,
    })
}

fn bucket_of(pool: &Pool, text: &str) -> Result<Bucket> {
    let place = text.parse().map_err(|_| corrupt())?;
    pool.bucket_at(place).ok_or_else(corrupt)
}

fn number(text: &str) -> Result<i64> {
    text.parse().map_err(|_| corrupt())
}

pub(super) fn corrupt() -> Error {
    Error::new(ErrorKind::Corrupt, "index entry")
}
