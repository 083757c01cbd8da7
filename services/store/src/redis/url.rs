//! What a URL names: a server, or those who know which one it is.

use redis::{ConnectionInfo, IntoConnectionInfo as _};

/// Where sentinels listen when the URL does not say.
const PORT: u16 = 26379;

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
}

/// `None` when it is no such URL.
pub(super) fn read(url: &str) -> Option<Named> {
    let (scheme, rest) = url.split_once("://")?;
    match scheme.strip_suffix("+sentinel") {
        None => url.into_connection_info().ok().map(Named::Server),
        Some(scheme @ ("redis" | "rediss")) => sentinels(scheme, rest),
        Some(_) => None,
    }
}

/// `[user[:password]@]host[:port][,…]/primary[/database][?sentinel_username=…&sentinel_password=…]`
fn sentinels(scheme: &str, rest: &str) -> Option<Named> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/')?;
    let (primary, database) = path.split_once('/').unwrap_or((path, ""));
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (format!("{login}@"), hosts),
        None => (String::new(), authority),
    };
    let login_of_sentinels = login_of_sentinels(query)?;
    let info = |login: &str, host: &str, database: &str| {
        format!("{scheme}://{login}{host}/{database}").into_connection_info().ok()
    };
    let hosts: Vec<String> = hosts.split(',').map(with_port).collect();
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

fn with_port(host: &str) -> String {
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match host.rsplit_once(':') {
        Some((_, port)) if is_port(port) => host.to_owned(),
        _ => format!("{host}:{PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use redis::ConnectionAddr;

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
    fn what_is_no_such_url_is_refused() {
        for url in [
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
