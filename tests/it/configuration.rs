//! `mingle config`: what it prints is a configuration, and holds no secret.

use std::fs;

use toml::Table;

use crate::command::{Ran, run};

const JWT: &str = "the first secret of users, 0123456789";
const SESSION: &str = "the second secret of sessions, 0123456789";
const TOKEN: &str = "the third of all processes";
const REDIS: &str = "redis://ann:sesame-of-redis@127.0.0.1:7001";
const POSTGRES: &str = "postgres://bob:sesame-of-postgres@127.0.0.1:7002/mingle";
const DIRECT: &str = "postgres://bob:sesame-of-postgres@127.0.0.1:7003/mingle";

const SECRETS: &[(&str, &str)] = &[
    ("MINGLE_JWT_SECRET", JWT),
    ("MINGLE_SESSION_SECRET", SESSION),
    ("MINGLE_INTERNAL_TOKEN", TOKEN),
    ("REDIS_URL", REDIS),
    ("DATABASE_URL", POSTGRES),
    ("DATABASE_DIRECT_URL", DIRECT),
];
const HIDDEN: &[&str] = &[JWT, SESSION, TOKEN, "sesame"];

const FILE: &str = r#"
[gateway]
allowed_origins = ["https://example.com", "https://[::1]:8443"]
jwt_issuer = 'an "issuer" # of ours'
[ratelimit.limits.uploads]
algorithm = "gcra"
quota = 5
window = "1m30s"
[matchmaking.pools.chess]
mutual = false
required = []
ticket_ttl_ms = 60000
recent_partner_memory_ms = 1
recent_partner_relax_ms = 1
lease_ms = 30000
alive_ms = 10000
outcome_ms = 120000
attributes = { level = ["low", "high"] }
[chat.limit]
quota = 7
"#;

#[track_caller]
fn table(ran: &Ran) -> Table {
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(ran.err, "", "{}", ran.out);
    ran.out.parse().unwrap()
}

#[track_caller]
fn assert_hidden(ran: &Ran) {
    for secret in HIDDEN {
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{secret}: {ran:?}");
    }
}

#[tokio::test]
async fn what_is_printed_is_a_configuration_that_reads_as_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("own.toml"), FILE).unwrap();
    fs::write(at.join("origins"), "[\"https://a.example\"]\n").unwrap();
    let settings = [
        ("MINGLE_CHAT__LIMIT__QUOTA", "1000000"),
        ("MINGLE_GATEWAY__ALLOWED_ORIGINS_FILE", "origins"),
        ("MINGLE_TRUST_NETWORK", "1"),
        ("REDIS_REQUESTS_TIMEOUT", "123"),
        ("REDIS_ADAPTER_KEY", "staging:"),
        ("MINGLE_ENV", "production"),
        ("MINGLE_DATA_DIR", "misspelt"),
    ];
    let all = [SECRETS, &settings].concat();
    let first = run(at, &["config", "--config", "own.toml"], &all).await;
    let told = table(&first);
    assert_hidden(&first);
    assert_eq!(told["chat"]["limit"]["quota"].as_integer(), Some(1_000_000));
    assert_eq!(told["matchmaking"]["pools"]["chess"]["required"].as_array().unwrap().len(), 0);
    assert_eq!(told["gateway"]["jwt_issuer"].as_str(), Some("an \"issuer\" # of ours"));
    for line in [
        "quota = 1000000  # MINGLE_CHAT__LIMIT__QUOTA",
        "allowed_origins = [\"https://a.example\"]  # MINGLE_GATEWAY__ALLOWED_ORIGINS_FILE",
        "window = \"1m30s\"  # own.toml",
        "# jwt_secret is set and not shown, by MINGLE_JWT_SECRET",
        "# internal_token is set and not shown, by MINGLE_INTERNAL_TOKEN",
        "# mode: production (MINGLE_ENV)",
        "# redis: 127.0.0.1:7001 (REDIS_URL), keys begin with staging: (REDIS_ADAPTER_KEY), \
         timeout_ms is 123 (REDIS_REQUESTS_TIMEOUT)",
        "# postgresql: 127.0.0.1:7002 (DATABASE_URL), past a pooler: 127.0.0.1:7003 \
         (DATABASE_DIRECT_URL)",
        "# unknown variable, misspelt? MINGLE_DATA_DIR",
        "max_connections = 20",
    ] {
        assert!(first.out.lines().any(|found| found == line), "{line}\nis not in\n{}", first.out);
    }

    fs::write(at.join("again.toml"), &first.out).unwrap();
    let again = run(at, &["config", "--config", "again.toml"], SECRETS).await;
    assert_eq!(table(&again), told);
    assert_hidden(&again);

    let alone = table(&run(at, &["config"], &[]).await);
    assert_ne!(alone, told);
    assert_eq!(alone["gateway"]["jwt_secret"].as_str(), Some(""), "it would be made up");
}

#[tokio::test]
async fn a_role_alone_has_ports_of_its_own_and_only_its_needs() {
    let folder = tempfile::tempdir().unwrap();
    let servers = [SECRETS[3], SECRETS[4]];
    let ports = |told: &Table| {
        ["grpc", "probes"].map(|name| told[name]["listen"].as_str().unwrap().to_owned())
    };
    let told = table(&run(folder.path(), &["config", "presence"], &servers).await);
    assert_eq!(ports(&told), ["127.0.0.1:50053", "127.0.0.1:51053"]);
    let told = table(&run(folder.path(), &["config", "presence", "ratelimit"], &servers).await);
    assert_eq!(ports(&told), ["127.0.0.1:50051", "127.0.0.1:9464"]);
}

#[tokio::test]
async fn what_a_start_refuses_is_told_in_full_and_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let wrong = [
        ("MINGLE_ENV", "production"),
        ("MINGLE_JWT_SECRET", "sesame"),
        ("MINGLE_GRPC__LISTEN", "0.0.0.0:50051"),
        ("MINGLE_PROBES__LISTEN", "127.0.0.1:50051"),
        ("MINGLE_CHAT__APPEND_BATCH", "0"),
        ("REDIS_URL", "sesame://x"),
    ];
    let ran = run(at, &["config", "gateway", "chat"], &wrong).await;
    assert_eq!((ran.code, &*ran.out), (Some(2), ""), "{ran:?}");
    for key in [
        "gateway.jwt_secret: has fewer",
        "gateway.session_secret: is missing",
        "grpc.listen: is not loopback",
        "grpc.listen: is 0.0.0.0:50051, where probes.listen is too",
        "chat.append_batch: ",
        "REDIS_URL: is not a redis://, rediss://, redis+sentinel:// or redis+cluster:// URL",
        "DATABASE_URL: is missing",
        "peers.ratelimit: is missing",
    ] {
        assert!(ran.err.contains(key), "{key}: {}", ran.err);
    }
    assert_hidden(&ran);
    let served = run(at, &["serve", "gateway", "chat"], &wrong).await;
    assert_eq!((served.code, served.err), (Some(2), ran.err), "a start says the same");

    let cached = "[cache.namespaces.mine]\nsoft = \"-1m\"\nhard = \"1h\"\n";
    fs::write(at.join("cache.toml"), cached).unwrap();
    let ran = run(at, &["config", "--config", "cache.toml"], &[]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("cache.namespaces.mine.soft: "), "{ran:?}");

    fs::write(at.join("bad.toml"), format!("[gateway]\njwt_secret = {JWT}\n")).unwrap();
    let ran = run(at, &["config", "--config", "bad.toml"], &[]).await;
    assert_eq!((ran.code, &*ran.out), (Some(2), ""), "{ran:?}");
    assert!(ran.err.contains("line 2"), "{ran:?}");
    assert_hidden(&ran);
}
