//! The starts of nodes, as this process knows them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use mingle_store::Result;

use super::codec::{Reader, Writer};
use crate::domain::{Holder, Lease, Node};

/// One start of a node.
#[derive(Clone, Debug)]
pub(super) struct Start(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: u32,
    node_id: Box<str>,
    renewed_at: AtomicI64,
    replaced_at: Option<i64>,
}

impl Start {
    fn new(id: u32, node_id: &str, renewed_at: i64, replaced_at: Option<i64>) -> Self {
        let renewed_at = AtomicI64::new(renewed_at);
        Self(Arc::new(Inner { id, node_id: node_id.into(), renewed_at, replaced_at }))
    }

    /// One that ended so long ago that nobody knows it.
    pub(super) fn forgotten(id: u32) -> Self {
        Self::new(id, "", 0, Some(0))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id
    }

    /// A renewal that this process made, known before the table is read again.
    pub(super) fn renew(&self, now: i64) {
        self.0.renewed_at.fetch_max(now, Ordering::AcqRel);
    }
}

impl Holder for Start {
    fn node_id(&self) -> &str {
        &self.0.node_id
    }

    fn lease(&self) -> Lease {
        let renewed_at = self.0.renewed_at.load(Ordering::Acquire);
        Lease { renewed_at, replaced_at: self.0.replaced_at }
    }

    fn is(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }

    /// Counted in the store, by what a write changes.
    fn count(&self, _sockets: i64) {}
}

/// A node as it is stored: the present start and those it replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) node: Node,
    pub(super) start: u32,
    pub(super) renewed_at: i64,
    /// Start, renewed at, replaced at.
    pub(super) replaced: Vec<(u32, i64, i64)>,
}

impl Entry {
    pub(super) fn read(node_id: &str, bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes)?;
        let mut entry = Self {
            start: reader.fixed()?,
            renewed_at: reader.time()?,
            node: Node {
                node_id: node_id.to_owned(),
                generation: reader.number()?,
                role: reader.text()?,
                version: reader.text()?,
                address: reader.text()?,
            },
            replaced: Vec::new(),
        };
        while !reader.is_empty() {
            entry.replaced.push((reader.fixed()?, reader.time()?, reader.time()?));
        }
        Ok(entry)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.fixed(self.start);
        writer.time(self.renewed_at);
        writer.number(self.node.generation);
        writer.text(&self.node.role);
        writer.text(&self.node.version);
        writer.text(&self.node.address);
        for (start, renewed_at, replaced_at) in &self.replaced {
            writer.fixed(*start);
            writer.time(*renewed_at);
            writer.time(*replaced_at);
        }
        writer.0
    }

    pub(super) fn lease(&self) -> Lease {
        Lease { renewed_at: self.renewed_at, replaced_at: None }
    }

    /// The present start.
    pub(super) fn present(&self) -> Start {
        Start::new(self.start, &self.node.node_id, self.renewed_at, None)
    }

    fn starts(&self) -> impl Iterator<Item = Start> {
        let older = self.replaced.iter().map(|(start, renewed_at, replaced_at)| {
            Start::new(*start, &self.node.node_id, *renewed_at, Some(*replaced_at))
        });
        older.chain([self.present()])
    }
}

/// All nodes at one moment.
#[derive(Debug)]
pub(super) struct Table {
    era: String,
    read_at: i64,
    entries: HashMap<String, Entry>,
    starts: HashMap<u32, Start>,
}

impl Table {
    /// The nodes that `fields` holds, node id and value in turns.
    pub(super) fn read(era: &str, read_at: i64, fields: &[Vec<u8>]) -> Result<Self> {
        let mut entries = HashMap::new();
        for field in fields.chunks_exact(2) {
            let node_id = String::from_utf8_lossy(&field[0]).into_owned();
            let entry = Entry::read(&node_id, &field[1])?;
            entries.insert(node_id, entry);
        }
        let starts = entries.values().flat_map(Entry::starts);
        let starts = starts.map(|start| (start.id(), start)).collect();
        Ok(Self { era: era.to_owned(), read_at, entries, starts })
    }

    /// True when it is of this generation and was read within `ms` of `now`.
    pub(super) fn is_of(&self, era: &str, now: i64, ms: i64) -> bool {
        self.era == era && self.read_at.abs_diff(now) < ms.unsigned_abs()
    }

    pub(super) fn read_at(&self) -> i64 {
        self.read_at
    }

    pub(super) fn start(&self, id: u32) -> Option<Start> {
        self.starts.get(&id).cloned()
    }

    pub(super) fn starts(&self) -> impl Iterator<Item = &Start> {
        self.starts.values()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn has(&self, node_id: &str) -> bool {
        self.entries.contains_key(node_id)
    }
}
