//! A pool: its attributes, its rules, and the buckets that follow from them.
//!
//! A bucket is one combination of what a user is and whom they accept. There
//! are few, so who is compatible with whom is computed once.

use std::collections::{BTreeMap, HashMap};

use super::ticket::Content;

/// Buckets of one pool at most: the index looks at each non-empty one.
pub const MAX_BUCKETS: usize = 256;
/// Attributes of one pool at most.
pub const MAX_ATTRIBUTES: usize = 8;
/// Values of one attribute at most. The bound on buckets is the stricter one.
pub const MAX_VALUES: usize = 8;

/// Something users are and look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// What it can be.
    pub values: Vec<String>,
    /// Whether each ticket must say it. A user who does not is accepted only
    /// by those who accept anything.
    pub required: bool,
}

/// How a pool behaves. All times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Both must accept each other; otherwise it is enough that one does.
    pub mutual: bool,
    /// How long a ticket waits at most.
    pub ticket_ttl_ms: i64,
    /// How long two who met do not meet again.
    pub recent_partner_memory_ms: i64,
    /// Unless both have waited this long.
    pub recent_partner_relax_ms: i64,
    /// The lease of a ticket whose owner polls.
    pub lease_ms: i64,
    /// Without proof of life for this long, a ticket is passed over.
    pub alive_ms: i64,
    /// An outcome that nobody took is forgotten after this.
    pub outcome_ms: i64,
}

/// A number for one combination of values and wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket(u16);

impl Bucket {
    /// The place in a list of all buckets.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One attribute's part of a bucket. Bit `values.len()` of `wants` stands for
/// "says nothing", which only "anything" accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Side {
    own: u8,
    wants: u16,
}

/// A pool with its buckets.
#[derive(Clone, Debug)]
pub struct Pool {
    name: String,
    attributes: Vec<Attribute>,
    rules: Rules,
    numbers: HashMap<Vec<Side>, Bucket>,
    compatible: Vec<Vec<Bucket>>,
}

/// The pool would have more than [`MAX_BUCKETS`] buckets, or attributes or
/// values beyond their bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyBuckets;

impl Pool {
    /// Builds the pool.
    pub fn new(
        name: &str,
        attributes: Vec<Attribute>,
        rules: Rules,
    ) -> Result<Self, TooManyBuckets> {
        let sides = combinations(&attributes)?;
        let compatible = sides
            .iter()
            .map(|one| {
                let others = sides.iter().enumerate();
                let meets = others.filter(|(_, other)| meets(one, other, rules.mutual));
                meets.map(|(number, _)| number_of(number)).collect()
            })
            .collect();
        let numbers =
            sides.into_iter().enumerate().map(|(number, side)| (side, number_of(number))).collect();
        Ok(Self { name: name.to_owned(), attributes, rules, numbers, compatible })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What its tickets can say.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// How many buckets it has.
    pub fn buckets(&self) -> usize {
        self.compatible.len()
    }

    /// The bucket at a place of the list of all; `None` beyond its end.
    pub fn bucket_at(&self, place: usize) -> Option<Bucket> {
        (place < self.buckets()).then(|| number_of(place))
    }

    /// The buckets whose tickets may meet one of `bucket`.
    pub fn compatible(&self, bucket: Bucket) -> &[Bucket] {
        self.compatible.get(bucket.index()).map_or(&[], Vec::as_slice)
    }

    /// True when tickets of the two buckets may meet. Symmetric.
    pub fn meets(&self, one: Bucket, other: Bucket) -> bool {
        self.compatible(one).binary_search(&other).is_ok()
    }

    /// What every ticket of a bucket says; `None` for a bucket of another pool.
    pub fn content(&self, bucket: Bucket) -> Option<Content> {
        let (sides, _) = self.numbers.iter().find(|(_, known)| **known == bucket)?;
        let mut content = Content::default();
        for (attribute, side) in self.attributes.iter().zip(sides) {
            if let Some(own) = attribute.values.get(usize::from(side.own)) {
                content.attributes.insert(attribute.name.clone(), own.clone());
            }
            if side.wants != attribute.anything() {
                let values = attribute.values.iter().enumerate();
                let wanted = values.filter(|(at, _)| side.wants & (1 << at) != 0);
                let wanted = wanted.map(|(_, value)| value.clone()).collect();
                content.wants.insert(attribute.name.clone(), wanted);
            }
        }
        Some(content)
    }

    /// The bucket of `content`; `None` when it names attributes or values that
    /// the pool does not have (any more), or lacks a required one.
    pub fn bucket(&self, content: &Content) -> Option<Bucket> {
        let known = |name: &String| self.attributes.iter().any(|it| it.name == *name);
        if !content.attributes.keys().all(known) || !content.wants.keys().all(known) {
            return None;
        }
        let sides: Option<Vec<_>> =
            self.attributes.iter().map(|attribute| side(attribute, content)).collect();
        self.numbers.get(&sides?).copied()
    }
}

impl Attribute {
    fn nothing(&self) -> u16 {
        1 << self.values.len()
    }

    /// Every value, and also saying nothing where that is allowed.
    fn anything(&self) -> u16 {
        self.nothing() - 1 + if self.required { 0 } else { self.nothing() }
    }

    fn number(&self, value: &str) -> Option<u8> {
        let found = self.values.iter().position(|it| it == value)?;
        u8::try_from(found).ok()
    }

    fn sides(&self) -> Vec<Side> {
        let owns = self.values.len() + usize::from(!self.required);
        let explicit = 1..self.nothing();
        let any = (!self.required).then(|| self.anything());
        let wants: Vec<u16> = explicit.chain(any).collect();
        let each = |own: u8| wants.iter().map(move |wants| Side { own, wants: *wants });
        (0..owns).filter_map(|own| u8::try_from(own).ok()).flat_map(each).collect()
    }
}

fn side(attribute: &Attribute, content: &Content) -> Option<Side> {
    let own = match content.attributes.get(&attribute.name) {
        Some(value) => attribute.number(value)?,
        None => u8::try_from(attribute.values.len()).ok()?,
    };
    let wants = match content.wants.get(&attribute.name) {
        None => attribute.anything(),
        Some(values) => {
            let bit = |value: &String| attribute.number(value).map(|number| 1u16 << number);
            values.iter().map(bit).try_fold(0, |mask, bit| Some(mask | bit?))?
        }
    };
    Some(Side { own, wants })
}

fn accepts(one: &[Side], other: &[Side]) -> bool {
    one.iter().zip(other).all(|(one, other)| one.wants & (1 << other.own) != 0)
}

fn meets(one: &[Side], other: &[Side], mutual: bool) -> bool {
    let (there, back) = (accepts(one, other), accepts(other, one));
    if mutual { there && back } else { there || back }
}

/// Only called with numbers below [`MAX_BUCKETS`].
fn number_of(number: usize) -> Bucket {
    Bucket(u16::try_from(number).unwrap_or(u16::MAX))
}

fn combinations(attributes: &[Attribute]) -> Result<Vec<Vec<Side>>, TooManyBuckets> {
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(TooManyBuckets);
    }
    let mut found: Vec<Vec<Side>> = vec![Vec::new()];
    for attribute in attributes {
        if attribute.values.len() > MAX_VALUES {
            return Err(TooManyBuckets);
        }
        let sides = attribute.sides();
        if found.len() * sides.len() > MAX_BUCKETS {
            return Err(TooManyBuckets);
        }
        let with = |known: &Vec<Side>, side: &Side| {
            let mut known = known.clone();
            known.push(*side);
            known
        };
        found = found
            .iter()
            .flat_map(|known| sides.iter().map(move |side| with(known, side)))
            .collect();
    }
    Ok(found)
}

/// The pools of one process, by name.
pub type Pools = BTreeMap<String, std::sync::Arc<Pool>>;
