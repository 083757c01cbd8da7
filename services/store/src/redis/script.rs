//! Lua scripts: one atomic intent each, time and deadline given.

use std::sync::OnceLock;

use bytes::Bytes;
use redis::{Cmd, RedisWrite, ToRedisArgs};

use super::{cluster::hash, took::Took};

const PRELUDE: &str = include_str!("lua/prelude.lua");
/// The first line by which Upstash locks a script's keys, and not all that there is.
const BY_KEY: &str = "#!lua flags=allow-key-locking\n";

/// What a server locks while a script runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Locks {
    /// It runs one command at a time.
    #[default]
    All,
    /// The keys of a script that says [`BY_KEY`]; all for another one.
    Keys,
}

/// A script behind the prelude, which gives it `now_us()`, `now_ms()` and the
/// deadline. Keep it in a `static`: what is sent is made once.
#[derive(Debug)]
pub struct Script {
    name: &'static str,
    source: &'static str,
    /// It touches keys that it makes of those that it is given.
    derives: bool,
    plain: OnceLock<Made>,
    by_key: OnceLock<Made>,
    took: Took,
}

#[derive(Debug)]
struct Made {
    /// What the server is sent when it does not know the script.
    text: String,
    /// What it knows it by.
    sha: String,
}

impl Script {
    /// `name` is the verb, as in traces; `source` the text of `lua/<verb>.lua`, which
    /// touches no other keys than `KEYS`.
    pub const fn new(name: &'static str, source: &'static str) -> Self {
        Self {
            name,
            source,
            derives: false,
            plain: OnceLock::new(),
            by_key: OnceLock::new(),
            took: Took::new(name),
        }
    }

    /// One that makes keys of `KEYS`, of the same slot.
    #[must_use]
    pub const fn derives_keys(mut self) -> Self {
        self.derives = true;
        self
    }

    /// Its verb.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How long its runs take.
    pub(super) const fn took(&self) -> &Took {
        &self.took
    }

    fn made(&self, locks: Locks) -> &Made {
        let (made, first) = match locks {
            Locks::Keys if !self.derives => (&self.by_key, BY_KEY),
            _ => (&self.plain, ""),
        };
        made.get_or_init(|| {
            let text = format!("{first}{PRELUDE}{}", self.source);
            let sha = redis::Script::new(&text).get_hash().to_owned();
            Made { text, sha }
        })
    }

    pub(super) fn load(&self, locks: Locks) -> Cmd {
        let mut cmd = redis::cmd("SCRIPT");
        cmd.arg("LOAD").arg(&self.made(locks).text);
        cmd
    }

    pub(super) fn by_sha(&self, keys: &[String], args: &[Arg], stamp: &Stamp) -> Cmd {
        call("EVALSHA", &self.made(stamp.locks).sha, (keys, args), stamp)
    }

    pub(super) fn by_text(&self, keys: &[String], args: &[Arg], stamp: &Stamp) -> Cmd {
        call("EVAL", &self.made(stamp.locks).text, (keys, args), stamp)
    }
}

impl Locks {
    /// What fails where the server does not know of it.
    pub(super) fn probe() -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(format!("{BY_KEY}return 1")).arg(0);
        cmd
    }
}

/// Bytes of a call beside its keys and arguments: the verb, the script by its sum, the
/// stamp. A longer one is moved while it is written.
const FRAME: usize = 128;

fn call(verb: &str, script: &str, of: (&[String], &[Arg]), stamp: &Stamp) -> Cmd {
    let slot = |key: &String| hash::slot(key.as_bytes());
    let one_slot = of.0.windows(2).all(|pair| slot(&pair[0]) == slot(&pair[1]));
    // All tests run with this.
    debug_assert!(one_slot, "a script touches one slot: {:?}", of.0);
    let sizes = of.0.iter().map(String::len).chain(of.1.iter().map(Arg::size));
    let mut cmd = Cmd::with_capacity(of.0.len() + of.1.len() + 5, sizes.sum::<usize>() + FRAME);
    cmd.arg(verb).arg(script).arg(of.0.len()).arg(of.0).arg(of.1);
    cmd.arg(stamp.not_after_ms).arg(stamp.now_us.as_deref().unwrap_or_default());
    cmd
}

/// What the prelude takes, and how the server runs it.
#[derive(Debug)]
pub(super) struct Stamp {
    pub(super) locks: Locks,
    /// Milliseconds of the server's clock.
    pub(super) not_after_ms: i64,
    /// Microseconds since 1970 where a test owns the time.
    pub(super) now_us: Option<String>,
}

/// One run of a script among several.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// `KEYS`, all of one slot tag.
    pub keys: Vec<String>,
    /// `ARGV`.
    pub args: Vec<Arg>,
}

/// One of a script's `ARGV`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A whole number, in decimal.
    Int(i64),
    /// A word that the script knows.
    Word(&'static str),
    /// A text.
    Text(String),
    /// A number of 64 bits, as eight bytes.
    Eight([u8; 8]),
    /// A number of 128 bits, as sixteen bytes.
    Sixteen([u8; 16]),
    /// Bytes as they are.
    Bytes(Bytes),
}

impl Arg {
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Int(_) => size_of::<i64>(),
            Self::Word(word) => word.len(),
            Self::Text(text) => text.len(),
            Self::Eight(bytes) => bytes.len(),
            Self::Sixteen(bytes) => bytes.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

impl ToRedisArgs for Arg {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        match self {
            Self::Int(number) => number.write_redis_args(out),
            Self::Word(word) => out.write_arg(word.as_bytes()),
            Self::Text(text) => out.write_arg(text.as_bytes()),
            Self::Eight(bytes) => out.write_arg(bytes),
            Self::Sixteen(bytes) => out.write_arg(bytes),
            Self::Bytes(bytes) => out.write_arg(bytes),
        }
    }
}

macro_rules! arg_from {
    ($($from:ty => $make:expr),* $(,)?) => {
        $(impl From<$from> for Arg {
            fn from(value: $from) -> Self {
                $make(value)
            }
        })*
    };
}

arg_from! {
    i64 => Self::Int,
    i32 => |number| Self::Int(i64::from(number)),
    u32 => |number| Self::Int(i64::from(number)),
    u8 => |number| Self::Int(i64::from(number)),
    u64 => whole,
    usize => |number: usize| whole(number as u64),
    bool => |yes| Self::Int(i64::from(yes)),
    String => Self::Text,
    &String => |text: &String| Self::Text(text.clone()),
    &str => |text: &str| Self::Text(text.to_owned()),
    Vec<u8> => |bytes: Vec<u8>| Self::Bytes(bytes.into()),
    Bytes => Self::Bytes,
    [u8; 8] => Self::Eight,
    [u8; 16] => Self::Sixteen,
}

/// From 2^63 on as text, which is the same to the server.
fn whole(number: u64) -> Arg {
    i64::try_from(number).map_or_else(|_| Arg::Text(number.to_string()), Arg::Int)
}
