//! Where a request came from.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// One customer has at least so much of an IPv6 address (RFC 6177).
const NETWORK: u128 = !0 << 64;

/// The nearest hop of a request that is none of our proxies.
///
/// What stands further left in `X-Forwarded-For` is that hop's own word, and
/// can be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(IpAddr);

impl Address {
    /// Of a connection from `peer`, from right to left past `trusted` proxies.
    /// Where a proxy names no address, it is the proxy's own.
    pub(super) fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let mut address = peer.to_canonical();
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        while trusted.iter().any(|network| network.contains(&address)) {
            match hops.next().and_then(read) {
                Some(hop) => address = hop,
                None => break,
            }
        }
        Self(address)
    }

    /// Whom to charge: an IPv4 address, or a network of IPv6.
    pub(super) fn subject(self) -> String {
        match self.0 {
            IpAddr::V4(address) => format!("ip/{address}"),
            IpAddr::V6(address) => {
                let network = Ipv6Addr::from_bits(address.to_bits() & NETWORK);
                format!("ip/{network}/64")
            }
        }
    }
}

/// An address, with or without a port.
fn read(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().or_else(|_| hop.parse().map(|socket: SocketAddr| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{Address, FORWARDED_FOR};

    fn subject(peer: &str, forwarded: &[&'static str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let trusted: Vec<_> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        Address::of(peer.parse().unwrap(), &headers, &trusted).subject()
    }

    #[test]
    fn only_our_proxies_are_believed() {
        let ours = &["10.0.0.0/8", "fd00::/8"];
        for (peer, forwarded, expected) in [
            ("198.51.100.7", &["203.0.113.9"][..], "ip/198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9"], "ip/203.0.113.9"),
            ("10.0.0.1", &["192.0.2.66, 203.0.113.9, 10.2.0.1"], "ip/203.0.113.9"),
            ("10.0.0.1", &["192.0.2.66, 203.0.113.9", "10.2.0.1"], "ip/203.0.113.9"),
            ("::ffff:10.0.0.1", &["203.0.113.9:4711"], "ip/203.0.113.9"),
            ("fd00::1", &["[2001:db8:1:2:3::4]:443"], "ip/2001:db8:1:2::/64"),
            ("fd00::1", &["[2001:db8:1:2:9::4]"], "ip/2001:db8:1:2::/64"),
            ("fd00::1", &["::ffff:203.0.113.9"], "ip/203.0.113.9"),
        ] {
            assert_eq!(subject(peer, forwarded, ours), expected, "{peer} {forwarded:?}");
        }
        assert_eq!(subject("10.0.0.1", &["203.0.113.9"], &[]), "ip/10.0.0.1");
    }

    #[test]
    fn a_proxy_that_names_nobody_is_charged_itself() {
        let ours = &["10.0.0.0/8"];
        for forwarded in [&[][..], &[""], &["unknown"], &["203.0.113.9, _hidden"], &["10.0.0.1"]] {
            assert_eq!(subject("10.0.0.1", forwarded, ours), "ip/10.0.0.1", "{forwarded:?}");
        }
    }
}
