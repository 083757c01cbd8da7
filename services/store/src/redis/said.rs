//! What a server says of itself in INFO, and whether it is of use.

use std::fmt;

use redis::{ErrorKind, RedisError};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// `host:port`, where it was asked by whoever operates it.
    pub server: String,
    /// `Redis` or `Valkey`.
    pub product: &'static str,
    /// `7.2.4`.
    pub version: String,
    /// `noeviction` and so on; `None` where the server does not tell.
    pub eviction: Option<String>,
    /// What it keeps over its own restart; `None` where the server does not tell.
    pub keeps: Option<Keeps>,
    /// Why it takes no writes, where it tells.
    pub unwilling: Option<Unwilling>,
    /// Why it is of no use, whatever it takes.
    pub unfit: Option<Unfit>,
    /// It has a part of the keys.
    pub of_cluster: bool,
    /// Of its process, and of its promotion if it had one: a primary that followed
    /// another meanwhile has lost what that one had not. A server that does not tell
    /// can only be told by the fence's absence: then all are the same.
    pub(super) run_id: String,
    /// It followed another one before.
    pub(super) was_promoted: bool,
}

/// What a server keeps over its own restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing, as far as it has shown: it has written no snapshot since its start.
    Nothing,
    /// What was there at its last snapshot.
    Snapshots,
    /// What it acknowledged, but for the last second (`appendonly`).
    Writes,
}

/// Why a server takes no writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwilling {
    /// It follows another one.
    Replica,
    /// Its memory is used up (`maxmemory`).
    Memory,
    /// It could not save its data (`stop-writes-on-bgsave-error`).
    Saving,
}

/// Why a server is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// With its memory used up it would forget limits, sessions and leases.
    Evicts,
    /// It has a part of the keys, and was not called a cluster.
    OfCluster,
    /// It was called a cluster.
    NoCluster,
    /// It has none: it knows who has.
    Sentinel,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Evicts => "its maxmemory-policy evicts what must stay: set noeviction",
            Self::OfCluster => "it is a node of a cluster: write redis+cluster://HOST:PORT",
            Self::NoCluster => "it is no node of a cluster: write redis://HOST:PORT",
            Self::Sentinel => "it is a sentinel: write redis+sentinel://HOST:PORT/NAME",
        })
    }
}

impl From<Unfit> for RedisError {
    fn from(unfit: Unfit) -> Self {
        (ErrorKind::InvalidClientConfig, "this server cannot be used", unfit.to_string()).into()
    }
}

impl Inspected {
    /// The less, the more there is to say about it.
    pub(super) fn use_of(&self) -> impl Ord + use<> {
        let keeps_all = self.eviction.as_deref().is_none_or(|policy| policy == "noeviction");
        let major = self.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        (self.unfit.is_none(), self.unwilling.is_none(), keeps_all, major)
    }

    /// Reads INFO, of what should be a node of a cluster or should not.
    pub(super) fn read(info: &str, wants_cluster: bool) -> Self {
        let says = |name: &str| {
            let of_name = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            of_name.map(str::trim)
        };
        let number = |name| says(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let (used, most) = (number("used_memory"), number("maxmemory"));
        let unwilling = if says("role") == Some("slave") {
            Some(Unwilling::Replica)
        } else if most > 0 && used >= most {
            Some(Unwilling::Memory)
        } else if says("rdb_last_bgsave_status") == Some("err")
            || says("aof_last_write_status") == Some("err")
        {
            Some(Unwilling::Saving)
        } else {
            None
        };
        let eviction = says("maxmemory_policy");
        // Without a bound nothing is evicted, whatever the policy.
        let evicts = most > 0 && eviction.is_some_and(|policy| policy != "noeviction");
        let mode = says("redis_mode").or_else(|| says("server_mode"));
        let of_cluster = mode == Some("cluster");
        let unfit = match (mode, of_cluster, wants_cluster) {
            (Some("sentinel"), ..) => Some(Unfit::Sentinel),
            (_, true, false) => Some(Unfit::OfCluster),
            (Some(_), false, true) => Some(Unfit::NoCluster),
            _ => evicts.then_some(Unfit::Evicts),
        };
        let promoted = says("master_replid2").filter(|of| of.bytes().any(|it| it != b'0'));
        let valkey = says("valkey_version");
        Self {
            server: String::new(),
            product: if valkey.is_some() { "Valkey" } else { "Redis" },
            version: valkey.or_else(|| says("redis_version")).unwrap_or_default().to_owned(),
            eviction: eviction.map(str::to_owned),
            keeps: says("aof_enabled").map(|enabled| match enabled {
                "0" if number("rdb_saves") == 0 => Keeps::Nothing,
                "0" => Keeps::Snapshots,
                _ => Keeps::Writes,
            }),
            unwilling,
            unfit,
            of_cluster,
            run_id: match promoted {
                Some(promoted) => format!("{}:{promoted}", says("run_id").unwrap_or("unknown")),
                None => says("run_id").unwrap_or("unknown").to_owned(),
            },
            was_promoted: promoted.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_what_makes_them_unfit_are_told_apart() {
        let redis = "redis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:abc\r\n";
        let said = Inspected::read(redis, false);
        assert_eq!((said.product, &*said.version, &*said.run_id), ("Redis", "7.0.15", "abc"));
        assert_eq!((said.eviction, said.keeps, said.unfit), (None, None, None));
        let first = format!("{redis}master_replid2:{}\r\n", "0".repeat(40));
        assert_eq!(Inspected::read(&first, false).run_id, "abc", "never promoted");
        let promoted = format!("{redis}master_replid2:0f\r\n");
        assert_eq!(Inspected::read(&promoted, false).run_id, "abc:0f");
        let valkey = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n";
        let said = Inspected::read(valkey, false);
        assert_eq!((said.product, &*said.version, &*said.run_id), ("Valkey", "9.1.2", "unknown"));

        let lru = "maxmemory_policy:allkeys-lru\r\n";
        for (info, unfit) in [
            (format!("{lru}maxmemory:100\r\n"), Some(Unfit::Evicts)),
            (format!("{lru}maxmemory:0\r\n"), None),
            ("maxmemory_policy:noeviction\r\nmaxmemory:100\r\n".to_owned(), None),
            (format!("redis_mode:cluster\r\n{lru}"), Some(Unfit::OfCluster)),
            ("redis_mode:sentinel\r\n".to_owned(), Some(Unfit::Sentinel)),
            // Valkey's name for it.
            ("server_mode:cluster\r\n".to_owned(), Some(Unfit::OfCluster)),
        ] {
            assert_eq!(Inspected::read(&info, false).unfit, unfit, "{info}");
        }
    }
}
