//! A web application that tells Mingle who its users are: it signs their tokens.
//!
//! ```sh
//! export MINGLE_JWT_SECRET=$(openssl rand -hex 32)
//! cargo run                       # Mingle, in another terminal with the same secret
//! cargo run -p mingle-client --example tokens
//! curl -X POST http://127.0.0.1:8100/token -H 'cookie: session=1f0c6e'
//! ```
//!
//! In the page: `new Mingle({ url, getToken: async () => (await fetch("/token",
//! { method: "POST" })).json() })`. It asks again when the token has expired.

#![expect(clippy::print_stdout, reason = "says where it listens")]

use std::{env, error::Error, sync::Arc};

use axum::{Json, Router, extract::State, routing::post};
use http::{HeaderMap, StatusCode, header};
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What your sign-in keeps: sessions, and whose they are.
const SESSIONS: [(&str, &str); 2] = [("1f0c6e", "ann"), ("9d2b47", "bob")];
/// Short, since a token that was handed out cannot be taken back.
const SECONDS: u64 = 15 * 60;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = env::var_os("MINGLE_JWT_SECRET").ok_or("MINGLE_JWT_SECRET is not set")?;
    let key = EncodingKey::from_secret(secret.as_encoded_bytes());
    let listen = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8100".to_owned());
    let listener = TcpListener::bind(listen).await?;
    println!("{{\"listening\":\"{}\"}}", listener.local_addr()?);
    let router = Router::new().route("/token", post(token)).with_state(Arc::new(key));
    axum::serve(listener, router).await?;
    Ok(())
}

/// A token for who has signed in.
async fn token(
    State(key): State<Arc<EncodingKey>>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let user = signed_in(&headers).ok_or(StatusCode::UNAUTHORIZED)?;
    // `attrs` are attributes that a user cannot choose anew for each match.
    let claims = json!({
        "sub": user,
        "aud": "mingle",
        "exp": get_current_timestamp() + SECONDS,
        "attrs": {"gender": "female"},
    });
    let token = encode(&Header::default(), &claims, &key);
    let token = token.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(json!({"token": token})))
}

/// Whose the session in the cookie is.
fn signed_in(headers: &HeaderMap) -> Option<&'static str> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    let given = cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session="))?;
    SESSIONS.iter().find(|(session, _)| *session == given).map(|(_, user)| *user)
}
