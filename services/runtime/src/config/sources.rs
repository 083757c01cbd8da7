//! Where Redis and PostgreSQL are, by every name that the systems use which
//! Mingle replaces.
//!
//! Redis, by precedence: `REDIS_URL`; `UPSTASH_REDIS_URL_PROD` in production
//! or `UPSTASH_REDIS_URL` in development; a REST URL with its token; the
//! parts `REDIS_HOST`, `REDIS_PORT` and so on. Two that name different
//! servers are an error, not a choice.
//!
//! `REDIS_CACHE_URL` names another one for what may be forgotten: all else of it is
//! said by the same names as of the first.

use url::Url;

use super::{Environment, Mode, Problems, Secret};

/// A Redis server and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// The first variable that names it.
    pub variable: &'static str,
    /// `redis://` or `rediss://`, with user and password; or the same with `+sentinel`
    /// or `+cluster`.
    pub url: Secret,
    /// Every key begins with it, before `mingle:`; empty by default.
    pub key_prefix: String,
    /// Milliseconds that a request may take.
    pub request_timeout_ms: Option<u64>,
    /// Files of the TLS connection, if it has any.
    pub tls: Tls,
}

/// Files and choices of a TLS connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the client's certificate.
    pub cert: Option<String>,
    /// PEM file of the client's key.
    pub key: Option<String>,
    /// PEM file of the authority that signed the server's certificate.
    pub ca: Option<String>,
    /// False: any certificate is accepted; development only.
    pub verify: bool,
}

/// What the environment says of Redis; `None` when nothing, or when
/// `REDIS_ENABLED=false`.
pub fn redis(env: &Environment, mode: Mode, problems: &mut Problems) -> Option<Redis> {
    if !enabled(env, problems) {
        return None;
    }
    let found: Vec<_> = candidates(env, mode, problems)
        .into_iter()
        .filter_map(|(name, url)| Some((name, parse(name, &url, problems)?)))
        .collect();
    let (first, named) = found.first()?;
    for (other, rival) in &found[1..] {
        let same = named.server == rival.server;
        problems.require(same, other, &format!("names another server than {first}"));
    }
    let verify = env.get("REDIS_TLS_REJECT_UNAUTHORIZED", problems).is_none_or(|v| truthy(&v));
    problems.require(
        verify || mode == Mode::Development,
        "REDIS_TLS_REJECT_UNAUTHORIZED",
        "certificates are verified in production",
    );
    let timeout = env.get("REDIS_REQUESTS_TIMEOUT", problems);
    Some(Redis {
        variable: first,
        url: Secret::new(&named.url),
        key_prefix: env.get("REDIS_ADAPTER_KEY", problems).unwrap_or_default(),
        request_timeout_ms: timeout
            .and_then(|text| number("REDIS_REQUESTS_TIMEOUT", &text, problems)),
        tls: Tls {
            cert: env.get("REDIS_TLS_CERT", problems),
            key: env.get("REDIS_TLS_KEY", problems),
            ca: env.get("REDIS_TLS_CA", problems),
            verify,
        },
    })
}

/// The Redis for what may be forgotten, where it is not that of all: `of_all`, the
/// one without which there is none.
pub fn cache(env: &Environment, of_all: Option<&Redis>, problems: &mut Problems) -> Option<Redis> {
    let text = env.get(CACHE, problems).filter(|_| enabled(env, problems))?;
    let named = parse(CACHE, &text, problems)?;
    let why = "is there without REDIS_URL, where the rest is kept";
    problems.require(of_all.is_some() || problems.has("REDIS_URL"), CACHE, why);
    Some(Redis { variable: CACHE, url: Secret::new(&named.url), ..of_all?.clone() })
}

const CACHE: &str = "REDIS_CACHE_URL";

fn enabled(env: &Environment, problems: &mut Problems) -> bool {
    env.get("REDIS_ENABLED", problems).is_none_or(|value| truthy(&value))
}

/// A PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// `postgres://`, with user and password; may be that of a pooler.
    pub url: Secret,
    /// The way past a pooler, for LISTEN and migrations.
    pub direct_url: Option<Secret>,
}

/// What the environment says of PostgreSQL.
pub fn database(env: &Environment, problems: &mut Problems) -> Option<Database> {
    let direct_url = postgres(env, "DATABASE_DIRECT_URL", problems);
    let url = postgres(env, "DATABASE_URL", problems)?;
    Some(Database { url, direct_url })
}

fn postgres(env: &Environment, name: &str, problems: &mut Problems) -> Option<Secret> {
    let text = env.get(name, problems)?;
    let url = Url::parse(&text).ok();
    let right = url.is_some_and(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    problems.require(right, name, "is not a postgres:// URL");
    right.then(|| Secret::new(&text))
}

fn candidates(
    env: &Environment,
    mode: Mode,
    problems: &mut Problems,
) -> Vec<(&'static str, String)> {
    let upstash = match mode {
        Mode::Production => "UPSTASH_REDIS_URL_PROD",
        Mode::Development => "UPSTASH_REDIS_URL",
    };
    let mut found = Vec::new();
    for name in ["REDIS_URL", upstash] {
        found.extend(env.get(name, problems).map(|url| (name, url)));
    }
    for (url_name, token_name) in [
        ("UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"),
        ("REDIS_REST_URL", "REDIS_REST_TOKEN"),
    ] {
        match (env.get(url_name, problems), env.get(token_name, problems)) {
            (Some(url), Some(token)) => found.extend(rest(url_name, &url, &token, problems)),
            (Some(_), None) => {
                problems.add(token_name, format_args!("is missing beside {url_name}"))
            }
            (None, Some(_)) => {
                problems.add(url_name, format_args!("is missing beside {token_name}"))
            }
            (None, None) => {}
        }
    }
    found.extend(parts(env, problems).map(|url| ("REDIS_HOST", url)));
    found
}

/// A REST endpoint's host speaks Redis over TLS with the token as password.
fn rest(
    name: &'static str,
    url: &str,
    token: &str,
    problems: &mut Problems,
) -> Option<(&'static str, String)> {
    let Some(host) = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)) else {
        problems.add(name, "is not a URL with a host");
        return None;
    };
    let mut built = Url::parse(&format!("rediss://{host}:6379")).ok()?;
    built.set_username("default").ok()?;
    built.set_password(Some(token)).ok()?;
    Some((name, built.into()))
}

fn parts(env: &Environment, problems: &mut Problems) -> Option<String> {
    let host = env.get("REDIS_HOST", problems)?;
    let port = env.get("REDIS_PORT", problems).unwrap_or_else(|| "6379".to_owned());
    let tls = env.get("REDIS_TLS", problems).is_some_and(|value| truthy(&value));
    let scheme = if tls { "rediss" } else { "redis" };
    let Ok(mut url) = Url::parse(&format!("{scheme}://{host}:{port}")) else {
        problems.add("REDIS_HOST", "with REDIS_PORT is not an address");
        return None;
    };
    let user = env.get("REDIS_USERNAME", problems).unwrap_or_default();
    let password = env.get("REDIS_PASSWORD", problems);
    url.set_username(&user).ok()?;
    url.set_password(password.as_deref()).ok()?;
    Some(url.into())
}

/// A URL, and what of it tells one server from another.
struct Named {
    url: String,
    server: String,
}

fn parse(name: &str, text: &str, problems: &mut Problems) -> Option<Named> {
    if let Some((scheme, rest)) = text.split_once("+sentinel://") {
        // Several hosts: no URL to the crate. The store reads it in full.
        let hosts = rest.split('?').next().unwrap_or_default();
        let server = hosts.rsplit_once('@').map_or(hosts, |(_, server)| server).to_owned();
        let right = matches!(scheme, "redis" | "rediss") && server.contains('/');
        problems.require(right, name, "is not redis+sentinel://HOST:PORT,HOST:PORT/NAME");
        return right.then(|| Named { url: text.to_owned(), server });
    }
    if let Some((scheme, rest)) = of_cluster(text) {
        let server = rest.rsplit_once('@').map_or(rest, |(_, server)| server).to_owned();
        let (hosts, database) = server.split_once('/').unwrap_or((&server, ""));
        let named = !hosts.is_empty() && matches!(database, "" | "0");
        let right = matches!(scheme, "redis" | "rediss") && named;
        problems.require(right, name, "is not redis+cluster://HOST:PORT,HOST:PORT");
        return right.then(|| Named { url: text.to_owned(), server });
    }
    let url = Url::parse(text).ok().filter(|url| url.host_str().is_some());
    let Some(mut url) = url.filter(|url| matches!(url.scheme(), "redis" | "rediss")) else {
        problems
            .add(name, "is not a redis://, rediss://, redis+sentinel:// or redis+cluster:// URL");
        return None;
    };
    let upstash = url.host_str().is_some_and(|host| host.ends_with("upstash.io"));
    if upstash && url.scheme() == "redis" && url.set_scheme("rediss").is_ok() {
        tracing::warn!(variable = name, "redis:// raised to rediss://: this host wants TLS");
    }
    let (host, port) = (url.host_str().unwrap_or_default(), url.port().unwrap_or(6379));
    let server = format!("{host}:{port}/{}", url.path().trim_matches('/'));
    Some(Named { url: url.into(), server })
}

/// Scheme and rest of a URL of a cluster: said to be one, or with several hosts.
fn of_cluster(text: &str) -> Option<(&str, &str)> {
    // A password may hold a comma.
    let hosts = |rest: &str| rest.rsplit('@').next().unwrap_or_default().to_owned();
    let names_several =
        |rest: &str| hosts(rest).split('/').next().is_some_and(|it| it.contains(','));
    let several = || text.split_once("://").filter(|(_, rest)| names_several(rest));
    text.split_once("+cluster://").or_else(several)
}

fn truthy(value: &str) -> bool {
    matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on")
}

fn number(name: &str, text: &str, problems: &mut Problems) -> Option<u64> {
    text.parse().inspect_err(|_| problems.add(name, "is not a whole number")).ok()
}
