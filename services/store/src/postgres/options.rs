//! Where the server is, and what a session is told and asked at its start.

use std::{fmt, str::FromStr as _, time::Duration};

use sqlx::{
    Row as _,
    postgres::{PgConnectOptions, PgConnection},
};

use crate::{Error, ErrorKind, Result, why};

const OLDEST: u32 = 15;
const START: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(2);

/// How to reach a server and how long to wait for it.
#[derive(Clone)]
pub struct Options {
    /// `postgres://user:password@host:port/database?sslmode=…`.
    pub url: String,
    /// The way past a transaction pooler, for LISTEN and migrations: where it is
    /// another than `url`, `url` is taken for a pooler. Without one it is `url`,
    /// with `-pooler` removed from the host's first label. A pooler that neither
    /// tells of is known by its refusing, or dropping, the settings of a
    /// session, here or at `url`; then there is no way past it, and nobody listens.
    pub direct_url: Option<String>,
    /// Connections of the pool, at least 1; LISTEN and migrations come on top.
    pub max_connections: u32,
    /// How long a call waits for a connection.
    pub acquire: Duration,
    /// How long a start waits for a server that is away.
    pub start: Duration,
    /// How long a statement may take. The server cancels it at 9/10 of this, so
    /// that its outcome is known wherever the server answers at all.
    pub answer: Duration,
    /// How long it may be silent, asked whether it is there, before it is away.
    pub silence: Duration,
}

/// The two ways to one server.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    pub(super) pooled: PgConnectOptions,
    pub(super) direct: PgConnectOptions,
    /// True when sessions are a pooler's: settings and statements go with each
    /// transaction.
    pub(super) is_pooler: bool,
    /// False: `direct` leads through the pooler too. Whoever listened there
    /// would do so in a session that others are given, and break their calls.
    pub(super) passes: bool,
}

impl Options {
    /// A server with the usual bounds: 20 connections, 5 s to get one, 5 s for
    /// a statement, 2 s of silence.
    pub fn new(url: impl Into<String>) -> Self {
        let bound = Duration::from_secs(5);
        Self {
            url: url.into(),
            direct_url: None,
            max_connections: 20,
            acquire: bound,
            start: START,
            answer: bound,
            silence: SILENCE,
        }
    }

    pub(super) fn ways(&self) -> Result<Ways> {
        let mut pooled = parse(&self.url, "DATABASE_URL")?;
        let unpooled = without_pooler(pooled.get_host());
        let is_passed = self.direct_url.as_ref().is_some_and(|direct| *direct != self.url);
        let is_pooler = unpooled.is_some() || is_passed;
        let direct = match (&self.direct_url, unpooled) {
            (Some(url), _) => parse(url, "DATABASE_DIRECT_URL")?,
            (None, Some(host)) => pooled.clone().host(&host),
            (None, None) => pooled.clone(),
        };
        if is_pooler {
            // A prepared statement is one session's, and so is a setting: the
            // pooler refuses those of the startup message.
            pooled = pooled.statement_cache_capacity(0);
        } else {
            pooled = pooled.options(self.settings());
        }
        Ok(Ways { pooled, direct, is_pooler, passes: true })
    }

    /// Bounds that the server itself keeps, in milliseconds, and how it plans: by an
    /// index wherever there is one. A plan that was made for a table with few rows is
    /// kept while it grows, until the table is analyzed; and nothing that is asked here
    /// is worth compiling.
    pub(super) fn settings(&self) -> [(&'static str, String); 5] {
        let ms = |share: u32| (self.answer * share / 10).as_millis().max(1).to_string();
        [
            ("statement_timeout", ms(9)),
            ("lock_timeout", ms(6)),
            ("idle_in_transaction_session_timeout", ms(20)),
            ("enable_seqscan", "off".to_owned()),
            ("jit", "off".to_owned()),
        ]
    }
}

/// Without the password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("max_connections", &self.max_connections)
            .field("acquire", &self.acquire)
            .field("answer", &self.answer)
            .finish_non_exhaustive()
    }
}

pub(super) fn parse(url: &str, name: &'static str) -> Result<PgConnectOptions> {
    // The driver takes any scheme, and would look for a host of that name.
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(Error::new(ErrorKind::Unsupported, name));
    }
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| Error::with_source(ErrorKind::Unsupported, name, error))?;
    Ok(options.application_name("mingle"))
}

/// The host behind a pooler's: `ep-x-pooler.region.neon.tech` is a pooler in
/// front of `ep-x.region.neon.tech`.
fn without_pooler(host: &str) -> Option<String> {
    let (label, rest) = host.split_once('.')?;
    Some(format!("{}.{rest}", label.strip_suffix("-pooler")?))
}

/// Asks a new session whether it may be used.
///
/// **Errors**: `Unsupported` when its commits are acknowledged before they are
/// on disk, or it is too old; `Unavailable` when it is a standby.
pub(super) async fn check(session: &mut PgConnection) -> Result<()> {
    let row = sqlx::raw_sql(
        "select current_setting('synchronous_commit') as synchronous_commit,
                current_setting('server_version_num') as version,
                pg_is_in_recovery()::text as standby",
    )
    .fetch_one(session)
    .await?;
    if row.try_get::<String, _>("synchronous_commit")? == "off" {
        return Err(Error::new(ErrorKind::Unsupported, why::LAX));
    }
    let version = row.try_get::<String, _>("version")?;
    if version.parse::<u32>().is_ok_and(|version| version / 10_000 < OLDEST) {
        return Err(Error::new(ErrorKind::Unsupported, why::OLD));
    }
    if row.try_get::<String, _>("standby")? == "true" {
        return Err(Error::new(ErrorKind::Unavailable, why::STANDBY));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pooler_is_seen_by_its_name_and_passed_by() {
        let url = "postgres://u:p@ep-x-pooler.eu.neon.tech/db?sslmode=require";
        let ways = Options::new(url).ways().unwrap();
        assert!(ways.is_pooler);
        assert_eq!(ways.pooled.get_host(), "ep-x-pooler.eu.neon.tech");
        assert_eq!(ways.direct.get_host(), "ep-x.eu.neon.tech");
        assert_eq!(ways.pooled.get_options(), None, "a pooler refuses them");

        let explicit =
            Options { direct_url: Some("postgres://u@h/db".into()), ..Options::new(url) };
        assert_eq!(explicit.ways().unwrap().direct.get_host(), "h");

        let passed = Options {
            direct_url: Some("postgres://u@h:1/db".into()),
            ..Options::new("postgres://u@h:2/db")
        };
        assert!(passed.ways().unwrap().is_pooler, "there is something to pass by");

        let plain = Options::new("postgres://u:p@my-pooler:5433/db").ways().unwrap();
        assert!(!plain.is_pooler, "a label alone is no pooler's host name");
        assert_eq!((plain.direct.get_host(), plain.direct.get_port()), ("my-pooler", 5433));
        let options = plain.pooled.get_options().unwrap();
        assert!(options.contains("statement_timeout=4500"), "{options}");
        assert_eq!(plain.direct.get_application_name(), Some("mingle"));
    }

    #[test]
    fn a_bad_url_is_named_and_a_password_never_printed() {
        let error = Options::new("nonsense").ways().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().starts_with("DATABASE_URL"));
        let options = Options::new("postgres://u:secret@h/db");
        assert!(!format!("{options:?}").contains("secret"));
    }
}
