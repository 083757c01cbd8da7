//! What to do about a server that cannot be used, by why.

use mingle_store::Why;

/// Of PostgreSQL.
pub(crate) fn of_database(why: Why) -> &'static str {
    match why {
        Why::NobodyThere => "start PostgreSQL, or see host and port of DATABASE_URL",
        Why::NoWay => {
            "see the host of DATABASE_URL, and whether this machine can resolve and reach it"
        }
        Why::Silent => {
            "see whether a firewall stands between, whether the server is overloaded, and whether \
             the port of DATABASE_URL is PostgreSQL's"
        }
        Why::Closed => {
            "see the port of DATABASE_URL: what answers does not speak as PostgreSQL does"
        }
        Why::Tls => {
            "see sslmode and sslrootcert of DATABASE_URL: disable where the server has no TLS, \
             require or verify-full where it wants it"
        }
        Why::Login => "see user and password of DATABASE_URL, and the server's pg_hba.conf",
        Why::NoDatabase => "see the name after the / of DATABASE_URL, or create the database",
        Why::Permission => "grant the user of DATABASE_URL create and usage on the schema",
        Why::Full => {
            "raise max_connections of the server, or lower MINGLE_DATABASE__MAX_CONNECTIONS"
        }
        Why::Starting => "wait until the server has started; its log tells what it does",
        Why::Follower => "point DATABASE_URL at the primary: this server is a standby",
        Why::Old => "upgrade the server: PostgreSQL 15 or newer is needed",
        Why::Lax => "set synchronous_commit to on for the server, the database and the user",
        Why::NoPrimary | Why::Other => "see the words of the server, and its log",
    }
}

/// Of Redis.
pub(crate) fn of_redis(why: Why) -> &'static str {
    match why {
        Why::NobodyThere => "start Redis, or see host and port of REDIS_URL",
        Why::NoWay => {
            "see the host of REDIS_URL, and whether this machine can resolve and reach it"
        }
        Why::Silent => {
            "see whether a firewall stands between, whether the server hangs, and whether it has \
             TLS at all where REDIS_URL begins with rediss://"
        }
        Why::Closed => {
            "see the port of REDIS_URL, and write rediss:// where the server wants TLS: it does \
             not speak as Redis does"
        }
        Why::Tls => {
            "see whether the server has TLS (else write redis://), and name the authority that \
             signed its certificate in REDIS_TLS_CA"
        }
        Why::Login => "see user and password of REDIS_URL: redis://USER:PASSWORD@HOST:PORT",
        Why::Permission => {
            "give the user what deploy/redis/users.acl gives it, or end protected-mode"
        }
        Why::Full => "raise maxclients of the server",
        Why::Starting => "wait until the server has read its data; its log tells how far it is",
        Why::Follower => "point REDIS_URL at the primary: this server is a replica",
        Why::Old => "upgrade the server: Redis 7.0 or newer, or Valkey, is needed",
        Why::NoPrimary => {
            "see the name after the hosts of REDIS_URL: the sentinels know none of it"
        }
        Why::NoDatabase | Why::Lax | Why::Other => "see the words of the server, and its log",
    }
}
