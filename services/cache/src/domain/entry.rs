//! What is kept of a key.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{Namespace, Tag};

/// A key of a namespace.
#[derive(Clone, Debug)]
pub struct Key {
    /// Whose it is.
    pub namespace: Arc<Namespace>,
    /// Its name there.
    pub name: Arc<str>,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.namespace.name == other.namespace.name
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.namespace.name.hash(state);
        self.name.hash(state);
    }
}

/// A tag of a namespace.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Whose it is.
    pub namespace: Arc<Namespace>,
    /// Its name there.
    pub tag: Tag,
}

impl PartialEq for Mark {
    fn eq(&self, other: &Self) -> bool {
        self.tag == other.tag && self.namespace.name == other.namespace.name
    }
}

impl Eq for Mark {}

impl Hash for Mark {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.namespace.name.hash(state);
        self.tag.hash(state);
    }
}

/// Versions of tags at one time, sorted by tag.
pub type Captured = Arc<[(Tag, u64)]>;

/// A value, or the knowledge that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Empty when absent.
    pub data: Arc<[u8]>,
    /// The source has no such thing.
    pub absent: bool,
    /// As it was stored.
    pub content_type: Arc<str>,
}

/// A value and for how long it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Names this one: random, or made from the attempt that stored it.
    pub version: u64,
    /// What it was made from: void when one of them is another by now.
    pub captured: Captured,
    /// The value.
    pub value: Value,
    /// When it was stored.
    pub stored_us: u64,
    /// Until when it is fresh.
    pub soft_us: u64,
    /// Until when it is served at all.
    pub hard_us: u64,
    /// How long its load took; 0: it was not loaded.
    pub load_us: u64,
}

impl Entry {
    /// Bytes of it, about.
    pub fn size(&self) -> usize {
        let tags: usize = self.captured.iter().map(|(tag, _)| tag.len() + 24).sum();
        self.value.data.len() + self.value.content_type.len() + tags
    }

    /// Chosen to be loaded anew before its soft end (XFetch): the likelier the
    /// nearer that is. `luck` is -beta * ln of a random number of 0 to 1.
    pub fn is_due(&self, now_us: u64, luck: f64) -> bool {
        now_us as f64 + self.load_us as f64 * luck >= self.soft_us as f64
    }
}
