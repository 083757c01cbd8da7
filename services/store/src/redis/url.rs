//! What a URL names: a server, those who know which one it is, or some of many.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};

use super::place::Address;

/// Where sentinels listen when the URL does not say.
const SENTINEL: u16 = 26379;
/// Where servers listen when the URL does not say.
const SERVER: u16 = 6379;

/// See the module.
pub(super) enum Named {
    /// `redis://` or `rediss://`.
    Server(ConnectionInfo),
    /// `redis+sentinel://` or `rediss+sentinel://`.
    Sentinels {
        /// Whom to ask.
        ask: Vec<ConnectionInfo>,
        /// What they call the primary.
        primary: String,
        /// How to speak to it, with the address of another.
        server: ConnectionInfo,
    },
    /// `redis+cluster://` or `rediss+cluster://`, or several hosts without that.
    Cluster {
        /// Whom to ask for the others.
        seeds: Vec<Address>,
        /// How to speak to one, with the address of another.
        server: ConnectionInfo,
    },
}

/// `None` when it is no such URL.
pub(super) fn read(url: &str) -> Option<Named> {
    let (scheme, rest) = url.split_once("://")?;
    match scheme.split_once('+') {
        Some((scheme @ ("redis" | "rediss"), "sentinel")) => sentinels(scheme, rest),
        Some((scheme @ ("redis" | "rediss"), "cluster")) => cluster(scheme, rest),
        None if matches!(scheme, "redis" | "rediss") && names_several(rest) => {
            cluster(scheme, rest)
        }
        Some(_) => None,
        None => url.into_connection_info().ok().map(Named::Server),
    }
}

/// A password may hold a comma.
fn names_several(rest: &str) -> bool {
    let (_, hosts) = login_and(rest);
    hosts.split('/').next().is_some_and(|hosts| hosts.contains(','))
}

/// `[user[:password]@]host[:port][,…][/0]`
fn cluster(scheme: &str, rest: &str) -> Option<Named> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    // Clusters have no other database.
    if !matches!(path, "" | "0") {
        return None;
    }
    let (login, hosts) = login_and(authority);
    let infos = hosts.split(',').map(|host| {
        let url = format!("{scheme}://{login}{}", with_port(host, SERVER));
        url.into_connection_info().ok()
    });
    let infos: Vec<_> = infos.collect::<Option<_>>()?;
    let seeds = infos.iter().map(|info| address(info.addr())).collect::<Option<_>>()?;
    Some(Named::Cluster { seeds, server: infos.first()?.clone() })
}

fn address(addr: &ConnectionAddr) -> Option<Address> {
    match addr {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    }
}

/// The part of an authority before the hosts, with its @.
fn login_and(authority: &str) -> (String, &str) {
    match authority.rsplit_once('@') {
        Some((login, hosts)) => (format!("{login}@"), hosts),
        None => (String::new(), authority),
    }
}

/// `[user[:password]@]host[:port][,…]/primary[/database][?sentinel_username=…&sentinel_password=…]`
fn sentinels(scheme: &str, rest: &str) -> Option<Named> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/')?;
    let (primary, database) = path.split_once('/').unwrap_or((path, ""));
    let (login, hosts) = login_and(authority);
    let login_of_sentinels = login_of_sentinels(query)?;
    let info = |login: &str, host: &str, database: &str| {
        format!("{scheme}://{login}{host}/{database}").into_connection_info().ok()
    };
    let hosts: Vec<String> = hosts.split(',').map(|host| with_port(host, SENTINEL)).collect();
    let ask = hosts.iter().map(|host| info(&login_of_sentinels, host, "")).collect::<Option<_>>();
    let server = info(&login, hosts.first()?, database)?;
    let primary = (!primary.is_empty()).then(|| primary.to_owned())?;
    Some(Named::Sentinels { ask: ask?, primary, server })
}

/// Encoded as in the query. `None` when that says something else.
fn login_of_sentinels(query: &str) -> Option<String> {
    let (mut user, mut password) = ("", None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=')? {
            ("sentinel_username", value) => user = value,
            ("sentinel_password", value) => password = Some(value),
            _ => return None,
        }
    }
    match password {
        Some(password) => Some(format!("{user}:{password}@")),
        None => user.is_empty().then(String::new),
    }
}

fn with_port(host: &str, port: u16) -> String {
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match host.rsplit_once(':') {
        Some((_, port)) if is_port(port) => host.to_owned(),
        _ => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(info: &ConnectionInfo) -> (String, Option<&str>, Option<&str>, i64) {
        let settings = info.redis_settings();
        (info.addr().to_string(), settings.username(), settings.password(), settings.db())
    }

    #[test]
    fn sentinels_their_login_and_the_primarys_are_told_apart() {
        let url = "redis+sentinel://ann:p%40ss@a:1,b,[::1]:3/main/2?sentinel_password=s%2Fx";
        let Some(Named::Sentinels { ask, primary, server }) = read(url) else { panic!("{url}") };
        let asked: Vec<_> = ask.iter().map(place).collect();
        assert_eq!(
            asked,
            [
                ("a:1".to_owned(), None, Some("s/x"), 0),
                ("b:26379".to_owned(), None, Some("s/x"), 0),
                ("::1:3".to_owned(), None, Some("s/x"), 0),
            ]
        );
        assert_eq!(primary, "main");
        assert_eq!(place(&server), ("a:1".to_owned(), Some("ann"), Some("p@ss"), 2));
    }

    #[test]
    fn tls_is_for_both() {
        let Some(Named::Sentinels { ask, server, .. }) = read("rediss+sentinel://a/main") else {
            panic!("no sentinels")
        };
        for info in [&ask[0], &server] {
            assert!(matches!(info.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
        }
    }

    #[test]
    fn a_password_with_a_comma_is_of_one_server() {
        let Some(Named::Server(server)) = read("redis://ann:p,q@a:1/2") else {
            panic!("no server")
        };
        assert_eq!(place(&server), ("a:1".to_owned(), Some("ann"), Some("p,q"), 2));
    }

    #[test]
    fn several_hosts_are_a_cluster() {
        for url in
            ["redis+cluster://ann:p%40ss@a:1,b,[::1]:3", "redis://ann:p%40ss@a:1,b,[::1]:3/0"]
        {
            let Some(Named::Cluster { seeds, server }) = read(url) else { panic!("{url}") };
            let at = |host: &str, port| (host.to_owned(), port);
            assert_eq!(seeds, [at("a", 1), at("b", 6379), at("::1", 3)]);
            assert_eq!(place(&server), ("a:1".to_owned(), Some("ann"), Some("p@ss"), 0));
        }
        let Some(Named::Cluster { seeds, server }) = read("rediss+cluster://a") else {
            panic!("no cluster")
        };
        assert_eq!(seeds.len(), 1);
        assert!(matches!(server.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
    }

    #[test]
    fn what_is_no_such_url_is_refused() {
        for url in [
            "redis+cluster://a:1/2",
            "redis+cluster://",
            "redis+cluster://a,,b",
            "redis://a,b/1",
            "redis+sentinel://a:1",
            "redis+sentinel://a:1/",
            "redis+sentinel:///main",
            "redis+sentinel://a:1/main/x",
            "redis+sentinel://a:1/main?timeout=1",
            "redis+sentinel://a:1/main?sentinel_username=ann",
            "http+sentinel://a:1/main",
            "redis+other://a:1/main",
        ] {
            assert!(read(url).is_none(), "{url}");
        }
    }
}
