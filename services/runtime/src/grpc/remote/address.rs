//! Where instances are: an address, or a name that stands for several.

use std::{collections::BTreeSet, fmt, io, str::FromStr};

use http::Uri;

/// `http://host:port`, or `dns:///host:port` for all addresses that the name
/// has, asked for again every 5 s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// One instance, or a proxy that stands before several.
    One(Uri),
    /// A name and a port.
    Name(String),
}

/// The text is no address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither http://host:port nor dns:///host:port")]
pub struct Wrong(String);

impl FromStr for Address {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong = || Wrong(text.to_owned());
        if let Some(name) = text.strip_prefix("dns:///") {
            let (host, port) = name.rsplit_once(':').ok_or_else(wrong)?;
            let plain = !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok();
            return plain.then(|| Self::Name(name.to_owned())).ok_or_else(wrong);
        }
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        // A password there would be of no use, and shown.
        let names_nobody = !text.contains('@');
        let bare = uri.path() == "/" && uri.query().is_none() && names_nobody;
        let plain = uri.scheme_str() == Some("http") && uri.port_u16().is_some() && bare;
        plain.then_some(Self::One(uri)).ok_or_else(wrong)
    }
}

/// The instances that a name stands for now, each as `http://address:port/`.
pub(super) async fn instances(name: &str) -> io::Result<BTreeSet<String>> {
    let addresses = tokio::net::lookup_host(name).await?;
    Ok(addresses.map(|address| format!("http://{address}/")).collect())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(uri) => uri.fmt(f),
            Self::Name(name) => write!(f, "dns:///{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn addresses_are_hosts_with_ports() {
        for right in ["http://127.0.0.1:50055", "http://[::1]:1", "dns:///chat:50055"] {
            assert!(right.parse::<Address>().is_ok(), "{right}");
        }
        for wrong in [
            "",
            "chat:50055",
            "http://chat",
            "https://chat:1",
            "http://a:1/x",
            "http://ann:password@a:1",
            "dns:///chat",
            "dns:///:1",
        ] {
            let error = wrong.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(&format!("{wrong:?}")), "{error}");
        }
    }
}
