use mingle_runtime::config::{Environment, Mode, Problems, sources};

type Pairs = [(&'static str, &'static str)];

fn url(pairs: &Pairs, mode: Mode) -> Result<Option<String>, String> {
    let mut problems = Problems::default();
    let environment = pairs.iter().copied().collect::<Environment>();
    let redis = sources::redis(&environment, mode, &mut problems);
    problems.into_result().map_err(|problems| problems.to_string())?;
    Ok(redis.map(|redis| redis.url.expose().to_owned()))
}

#[test]
fn every_name_of_the_source_systems_is_understood() {
    let rest = "rediss://default:t0k@eu1.upstash.io:6379";
    let cases: &[(&Pairs, Mode, Option<&str>)] = &[
        (&[], Mode::Development, None),
        (&[("REDIS_URL", "redis://h:1")], Mode::Development, Some("redis://h:1")),
        (&[("UPSTASH_REDIS_URL", "rediss://u:p@h:1")], Mode::Development, Some("rediss://u:p@h:1")),
        (&[("UPSTASH_REDIS_URL", "rediss://u:p@h:1")], Mode::Production, None),
        (&[("UPSTASH_REDIS_URL_PROD", "rediss://h:1")], Mode::Production, Some("rediss://h:1")),
        (
            &[
                ("UPSTASH_REDIS_REST_URL", "https://eu1.upstash.io"),
                ("UPSTASH_REDIS_REST_TOKEN", "t0k"),
            ],
            Mode::Development,
            Some(rest),
        ),
        (
            &[("REDIS_REST_URL", "https://eu1.upstash.io"), ("REDIS_REST_TOKEN", "t0k")],
            Mode::Production,
            Some(rest),
        ),
        (
            &[
                ("REDIS_HOST", "h"),
                ("REDIS_PORT", "7"),
                ("REDIS_USERNAME", "u"),
                ("REDIS_PASSWORD", "p"),
                ("REDIS_TLS", "true"),
            ],
            Mode::Production,
            Some("rediss://u:p@h:7"),
        ),
        (
            &[("REDIS_URL", "redis://default:x@eu1.upstash.io:6379")],
            Mode::Development,
            Some("rediss://default:x@eu1.upstash.io:6379"),
        ),
        (
            &[("REDIS_URL", "rediss+sentinel://u:p@a:1,b:2/main/0")],
            Mode::Production,
            Some("rediss+sentinel://u:p@a:1,b:2/main/0"),
        ),
        (
            &[("REDIS_URL", "redis+cluster://u:p@a:1,b:2")],
            Mode::Production,
            Some("redis+cluster://u:p@a:1,b:2"),
        ),
        (&[("REDIS_URL", "redis://a:1,b:2/0")], Mode::Development, Some("redis://a:1,b:2/0")),
        (&[("REDIS_ENABLED", "false"), ("REDIS_URL", "redis://h:1")], Mode::Development, None),
    ];
    for (pairs, mode, expected) in cases {
        assert_eq!(url(pairs, *mode).unwrap().as_deref(), *expected, "{pairs:?} {mode:?}");
    }
}

#[test]
fn what_contradicts_itself_is_refused_by_name() {
    let cases: &[(&Pairs, &str)] = &[
        (&[("REDIS_URL", "redis://a:1"), ("REDIS_HOST", "b")], "REDIS_HOST"),
        (&[("REDIS_REST_URL", "https://h")], "REDIS_REST_TOKEN"),
        (&[("REDIS_URL", "http://h")], "REDIS_URL"),
        (&[("REDIS_URL", "redis+sentinel://a:1,b:2")], "REDIS_URL"),
        (&[("REDIS_URL", "http+sentinel://a:1/main")], "REDIS_URL"),
        (&[("REDIS_URL", "http+cluster://a:1")], "REDIS_URL"),
        (&[("REDIS_URL", "redis+cluster://u:p@/0")], "REDIS_URL"),
        (&[("REDIS_URL", "redis://a:1,b:2/3")], "REDIS_URL"),
        (&[("REDIS_URL", "redis+sentinel://a:1/main"), ("REDIS_HOST", "a")], "REDIS_HOST"),
        (
            &[("REDIS_URL", "rediss://h"), ("REDIS_TLS_REJECT_UNAUTHORIZED", "0")],
            "REDIS_TLS_REJECT_UNAUTHORIZED",
        ),
    ];
    for (pairs, name) in cases {
        let problems = url(pairs, Mode::Production).unwrap_err();
        assert!(problems.contains(name), "{problems}");
    }
}

#[test]
fn the_same_server_by_two_names_is_no_contradiction() {
    let pairs = [("REDIS_URL", "redis://h"), ("REDIS_HOST", "h"), ("REDIS_PORT", "6379")];
    assert_eq!(url(&pairs, Mode::Production).unwrap().as_deref(), Some("redis://h"));
}

#[test]
fn what_may_be_forgotten_may_have_a_server_of_its_own() {
    let (one, other) = (("REDIS_URL", "redis://h"), ("REDIS_CACHE_URL", "redis://c"));
    let prefix = ("REDIS_ADAPTER_KEY", "app:");
    for (pairs, told, wrong) in [
        (vec![one, other, prefix], Some("redis://c"), None),
        (vec![one], None, None),
        (vec![one, other, ("REDIS_ENABLED", "0")], None, None),
        (vec![other], None, Some("REDIS_CACHE_URL")),
        (vec![("REDIS_URL", "http://h"), other], None, Some("REDIS_URL")),
        (vec![one, ("REDIS_CACHE_URL", "http://c")], None, Some("REDIS_CACHE_URL")),
    ] {
        let mut problems = Problems::default();
        let environment = pairs.iter().copied().collect::<Environment>();
        let of_all = sources::redis(&environment, Mode::Production, &mut problems);
        let cache = sources::cache(&environment, of_all.as_ref(), &mut problems);
        assert_eq!(cache.as_ref().map(|cache| cache.url.expose()), told, "{pairs:?}");
        if let Some(cache) = cache {
            assert_eq!((cache.variable, &*cache.key_prefix), ("REDIS_CACHE_URL", "app:"));
        }
        let problems = problems.into_result().err().map(|problems| problems.to_string());
        match (wrong, problems) {
            (None, None) => {}
            (Some(name), Some(problems)) => {
                assert_eq!(problems.matches(": ").count(), 1, "{problems}");
                assert!(problems.contains(name), "{problems}");
            }
            other => panic!("{pairs:?}: {other:?}"),
        }
    }
}
