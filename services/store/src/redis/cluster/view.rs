//! What one server of a cluster says about all of them.

use redis::{ErrorKind, FromRedisValue as _, RedisError, RedisResult, Value, from_redis_value};

use super::hash::SLOTS;
use crate::redis::{patient::Patient, place::Address};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Grows with every election, and with most moves of a slot.
    pub(super) epoch: u64,
    /// It sees most of the others, and that each slot is served.
    pub(super) is_ok: bool,
    /// First and last slot, and who has them, where it knows the name.
    pub(super) ranges: Vec<(u16, u16, Option<Address>)>,
    /// Who follows them.
    pub(super) replicas: Vec<Address>,
}

impl View {
    /// Asks on a connection to `host`.
    pub(super) async fn ask(connection: &mut Patient, host: &str) -> RedisResult<Self> {
        let mut both = redis::pipe();
        both.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
        let (info, slots): (String, Vec<Vec<Value>>) = both.query_async(connection).await?;
        let says = |name: &str| {
            let of_name = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            of_name.map(str::trim)
        };
        let epoch = says("cluster_current_epoch").and_then(|epoch| epoch.parse().ok());
        let mut view = Self {
            // A service that hides its elections tells one epoch for ever.
            epoch: epoch.unwrap_or(0),
            is_ok: says("cluster_state") == Some("ok"),
            ranges: Vec::with_capacity(slots.len()),
            replicas: Vec::new(),
        };
        for range in &slots {
            view.add(range, host)?;
        }
        Ok(view)
    }

    /// A range of slots, who has it, and who follows that.
    fn add(&mut self, range: &[Value], host: &str) -> RedisResult<()> {
        let [first, last, primary, replicas @ ..] = range else { return Err(unread()) };
        let number = |of: &Value| u16::from_redis_value_ref(of).map_err(|_| unread());
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last >= SLOTS {
            return Err(unread());
        }
        self.ranges.push((first, last, address(primary, host)?));
        for replica in replicas {
            self.replicas.extend(address(replica, host)?);
        }
        Ok(())
    }
}

/// `None` when it does not know the name of that one. Without any name it is the
/// one that was asked.
fn address(of: &Value, host: &str) -> RedisResult<Option<Address>> {
    let Value::Array(of) = of else { return Err(unread()) };
    let [name, port, ..] = &of[..] else { return Err(unread()) };
    let port: u16 = from_redis_value(port.clone()).map_err(|_| unread())?;
    let name: Option<String> = from_redis_value(name.clone()).map_err(|_| unread())?;
    Ok(match name.as_deref() {
        Some("?") => None,
        None | Some("") => Some((host.to_owned(), port)),
        Some(name) => Some((name.to_owned(), port)),
    })
}

fn unread() -> RedisError {
    (ErrorKind::Parse, "what a server of the cluster says cannot be read").into()
}
