//! What the log says of users whose tokens are refused.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use mingle_testkit::{Mingle, eventually};
use serde_json::json;

use crate::{
    http,
    world::{FUTURE, SECRET, SOON, mint},
};

const GUESSES: usize = 40;

#[tokio::test]
async fn refused_tokens_are_one_line_that_says_why_and_holds_none() {
    let mingle = Mingle::builder()
        .env("MINGLE_JWT_SECRET", SECRET)
        .env("MINGLE_GATEWAY__CLASSES__AUTH__QUOTA", "10")
        .env("MINGLE_RATELIMIT__LIMITS__AUTH__QUOTA", "10")
        .start()
        .await;
    let claims = json!({"sub": "ann", "exp": FUTURE, "aud": "mingle"});
    let key = EncodingKey::from_secret(b"the secret of another application");
    let guess = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    let (head, signature) = guess.rsplit_once('.').unwrap();
    let mut limited = 0;
    for _ in 0..GUESSES {
        let answer = http::get(mingle.http_addr(), "/api/rooms", &guess).await;
        assert!([401, 429].contains(&answer.status.as_u16()), "{}", answer.text);
        limited += usize::from(answer.status.as_u16() == 429);
    }
    assert!((1..GUESSES).contains(&limited), "{limited} of {GUESSES} were limited");
    let log = || mingle.log();
    eventually(SOON, "it is told", async || log().contains("tokens were refused")).await;
    let log = log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("tokens were refused")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("signature=") && lines[0].contains("MINGLE_JWT_SECRET"), "{log}");
    for secret in [&*guess, head, signature, SECRET] {
        assert!(!log.contains(secret), "{log}");
    }

    // All of them are counted, with why.
    let expired = mint(&json!({"sub": "ann", "exp": 1_000_000_000, "aud": "mingle"}));
    http::get(mingle.http_addr(), "/api/rooms", &expired).await;
    let metrics = http::get(mingle.probes_addr(), "/metrics", "").await.text;
    for (why, count) in [("signature", GUESSES), ("expired", 1)] {
        let counted = format!("mingle_gateway_tokens_refused_total{{why=\"{why}\"}} {count}");
        assert!(metrics.contains(&counted), "{counted}: {metrics}");
    }
}
