//! `mingle check`: the processes that roles call, what limits say, and the clocks.

use mingle_proto::ratelimit::v1::{
    Charge, PeekRequest, rate_limit_service_client::RateLimitServiceClient,
};
use mingle_testkit::{Mingle, Postgres, Redis};
use tonic::{Request, transport::Channel};

use crate::check::{check_by, check_of, state, step};

const TOKEN: &str = "the token of all processes";
const NOBODY: &str = "127.0.0.1:1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_called_are_asked_one_by_one_and_nobody_is_charged() {
    let (redis, server) = (Redis::start().await, Postgres::shared().await);
    let (redis_url, url) = (redis.url(), server.database().await.url);
    let quota = ("MINGLE_RATELIMIT__LIMITS__CHAT_MESSAGE__QUOTA", "3");
    let ratelimit = Mingle::builder().arg("serve").arg("ratelimit").env("REDIS_URL", &redis_url);
    let ratelimit = ratelimit.env("MINGLE_INTERNAL_TOKEN", TOKEN).env(quota.0, quota.1);
    let ratelimit = ratelimit.start().await;
    let at = ratelimit.grpc_addr();

    let list = |addresses: &[&str]| {
        let each: Vec<_> = addresses.iter().map(|at| format!("\"http://{at}\"")).collect();
        format!("[{}]", each.join(", "))
    };
    let address = at.to_string();
    let (here, both) = (list(&[&address]), list(&[&address, NOBODY]));
    let (gone, unknown) = (list(&[NOBODY]), "[\"dns:///no-such-host.invalid:1\"]");
    let token = ("MINGLE_INTERNAL_TOKEN", TOKEN);
    let generation = redis.cli(&["HGET", "mingle:{fence}", "generation"]);
    assert_eq!(generation.len(), 32, "{generation}");
    let (name, cache) = ("peers ratelimit", ("MINGLE_PEERS__CACHE", &*gone));
    let cases = [
        (&*here, token, 0, "ok", "1 of 1 answer", "ok"),
        (&*both, token, 0, "warn", "1 of 2 answer; http://127.0.0.1:1: ", "ok"),
        (&*gone, token, 0, "warn", "0 of 1 answer; http://127.0.0.1:1: Connection refused", "warn"),
        (unknown, token, 0, "warn", "dns:///no-such-host.invalid:1: ", "warn"),
        (&*both, ("MINGLE_INTERNAL_TOKEN", "the token of others"), 1, "fail", "internal", "warn"),
        (&*here, ("MINGLE_INTERNAL_TOKEN", ""), 1, "fail", "internal token", "warn"),
    ];
    for (peers, token, expected, is, told, limits) in cases {
        let env = [
            ("REDIS_URL", &*redis_url),
            ("DATABASE_URL", &*url),
            ("MINGLE_PEERS__RATELIMIT", peers),
            cache,
            ("MINGLE_CHAT__LIMIT__QUOTA", "3"),
            token,
        ];
        let (code, steps) = check_of(&["chat"], &env).await;
        assert_eq!((code, state(&steps, name)), (expected, is), "{peers}: {steps:?}");
        assert!(step(&steps, name).found.contains(told), "{told}: {steps:?}");
        assert_eq!(state(&steps, "limits"), limits, "{peers}: {steps:?}");
        let remedy = &step(&steps, name).remedy;
        let variable =
            if is == "fail" { "MINGLE_INTERNAL_TOKEN" } else { "MINGLE_PEERS__RATELIMIT" };
        assert!(is == "ok" || remedy.contains(variable), "{remedy}");
        assert!(steps.iter().all(|step| !step.found.contains("the token of")), "{steps:?}");
    }

    // What chat would go by alone is not what ratelimit counts.
    let other = ("MINGLE_CHAT__LIMIT__QUOTA", "4");
    let peers = ("MINGLE_PEERS__RATELIMIT", &*here);
    let env = [("REDIS_URL", &*redis_url), ("DATABASE_URL", &*url), peers, cache, other, token];
    let (code, steps) = check_of(&["chat"], &env).await;
    assert_eq!((code, state(&steps, "limits")), (0, "warn"), "{steps:?}");
    let told = "chat_message is 4 in 60000 ms here, 3 in 60000 ms there";
    assert_eq!(step(&steps, "limits").found, told);

    // A role at the place of another.
    let env = [
        ("REDIS_URL", &*redis_url),
        ("DATABASE_URL", &*url),
        ("MINGLE_PEERS__RATELIMIT", &*here),
        ("MINGLE_PEERS__CHAT", &*here),
        ("MINGLE_PEERS__PRESENCE", &*gone),
        token,
    ];
    let (code, steps) = check_of(&["matchmaking"], &env).await;
    assert_eq!((code, state(&steps, "peers chat")), (1, "fail"), "{steps:?}");
    assert!(step(&steps, "peers chat").found.contains("is no chat but ratelimit"), "{steps:?}");
    assert_eq!((state(&steps, name), state(&steps, "peers presence")), ("ok", "warn"), "{steps:?}");

    // As the limiter tells it to another, and as Redis does.
    let channel = Channel::from_shared(format!("http://{at}")).unwrap().connect().await.unwrap();
    let limits = vec!["chat_message".to_owned()];
    let charge = Charge { subject: "mingle/check".to_owned(), limits, cost: Some(1) };
    let mut request = Request::new(PeekRequest { charge: Some(charge) });
    let bearer = format!("Bearer {TOKEN}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let peeked = RateLimitServiceClient::new(channel).peek(request).await.unwrap().into_inner();
    assert_eq!(peeked.states[0].remaining, 3, "{peeked:?}");
    assert_eq!(redis.cli(&["HGET", "mingle:{fence}", "generation"]), generation);
    for limit in ["chat_message", "queue_join", "auth", "api", "rankings", "admin"] {
        assert_eq!(redis.cli(&["KEYS", &format!("*:l:{limit}")]), "", "nobody was counted");
    }
}

#[tokio::test]
async fn clocks_that_differ_are_a_warning() {
    let redis = Redis::start().await;
    let redis_url = redis.url();
    let env = [("REDIS_URL", &*redis_url)];
    for (seconds, is, told) in [(5, "warn", "behind"), (-5, "warn", "ahead"), (0, "ok", "redis is")]
    {
        let builder = Mingle::builder().ahead_by(seconds);
        let (code, steps) = check_by(builder, &["ratelimit"], &env).await;
        assert_eq!((code, state(&steps, "clock")), (0, is), "{seconds}: {steps:?}");
        assert!(step(&steps, "clock").found.contains(told), "{seconds}: {steps:?}");
    }
}

#[tokio::test]
async fn more_connections_than_are_left_are_a_warning() {
    let server = Postgres::shared().await;
    let database = server.database().await;
    let (_, name) = database.url.rsplit_once('/').unwrap();
    let url = ("DATABASE_URL", &*database.url);
    let many = ("MINGLE_DATABASE__MAX_CONNECTIONS", "1000");
    // The steps of the database are the same without Redis.
    let (_, steps) = check_of(&[], &[url, many]).await;
    assert_eq!(state(&steps, "connections"), "warn", "{steps:?}");
    let told = &step(&steps, "connections").found;
    assert!(told.contains(" of 200 are left") && told.contains("up to 1002"), "{told}");
    // The server has room for more, this database has not.
    server.sql(name, &format!("alter database {name} connection limit 20"));
    for (pool, is) in [("40", "warn"), ("2", "ok")] {
        let (_, steps) = check_of(&[], &[url, ("MINGLE_DATABASE__MAX_CONNECTIONS", pool)]).await;
        let told = &step(&steps, "connections").found;
        let left: u32 = told.split(' ').next().unwrap().parse().unwrap();
        assert!((10..=20).contains(&left), "{told}");
        assert_eq!(state(&steps, "connections"), is, "{steps:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_at_all_is_a_step_that_failed() {
    let (code, steps) = check_of(&["chat"], &[("MINGLE_CHATT__X", "1")]).await;
    assert_eq!((code, steps.len(), state(&steps, "configuration")), (1, 1, "fail"), "{steps:?}");
    assert!(step(&steps, "configuration").found.contains("chatt: unknown section"), "{steps:?}");
}
