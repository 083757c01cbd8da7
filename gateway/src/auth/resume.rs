//! Resume tokens: stateless proof of having held a session, good on every
//! gateway that shares the secret.
//!
//! `base64url(session NUL user NUL generation NUL expiry) . base64url(HMAC-SHA256)`

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use mingle_proto::errors::v1::Reason;
use mingle_runtime::{config::Secret, status::Kind};
use sha2::Sha256;

use crate::fault::Fault;

/// What a resume token proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resume {
    /// The session.
    pub session_id: String,
    /// Whose it is.
    pub user_id: String,
    /// The generation that its holder had.
    pub generation: u64,
    /// Until when it can be taken up, milliseconds since 1970.
    pub expires_ms: i64,
}

/// Signs and verifies resume tokens.
pub(crate) struct Resumes(Hmac<Sha256>);

impl Resumes {
    /// Under `secret`.
    pub(crate) fn new(secret: &Secret) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
        Self(Hmac::new_from_slice(secret.expose().as_bytes()).expect("a key of any length"))
    }

    /// The token of `resume`.
    pub(crate) fn sign(&self, resume: &Resume) -> String {
        let Resume { session_id, user_id, generation, expires_ms } = resume;
        let text = format!("{session_id}\0{user_id}\0{generation}\0{expires_ms}");
        let seal = self.0.clone().chain_update(&text).finalize().into_bytes();
        format!("{}.{}", URL_SAFE_NO_PAD.encode(text), URL_SAFE_NO_PAD.encode(seal))
    }

    /// What `token` proves at `now_ms` to `user_id`.
    pub(crate) fn verify(&self, token: &str, user_id: &str, now_ms: i64) -> Result<Resume, Fault> {
        let refused =
            |reason, message| Fault::new(Kind::Unauthenticated, reason, message).at("resume.token");
        let malformed = || refused(Reason::TokenInvalid, "the resume token is not one of ours");
        let resume = self.open(token).ok_or_else(malformed)?;
        if resume.user_id != user_id {
            return Err(refused(Reason::TokenInvalid, "the resume token is another user's"));
        }
        if resume.expires_ms <= now_ms {
            return Err(refused(Reason::TokenExpired, "the session can no longer be resumed"));
        }
        Ok(resume)
    }

    fn open(&self, token: &str) -> Option<Resume> {
        let (text, seal) = token.split_once('.')?;
        let text = URL_SAFE_NO_PAD.decode(text).ok()?;
        let seal = URL_SAFE_NO_PAD.decode(seal).ok()?;
        self.0.clone().chain_update(&text).verify_slice(&seal).ok()?;
        let text = String::from_utf8(text).ok()?;
        let mut parts = text.split('\0');
        Some(Resume {
            session_id: parts.next()?.to_owned(),
            user_id: parts.next()?.to_owned(),
            generation: parts.next()?.parse().ok()?,
            expires_ms: parts.next()?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use mingle_runtime::config::Secret;

    use super::{Resume, Resumes};

    #[test]
    fn a_token_opens_for_its_user_until_it_expires_and_only_unchanged() {
        let resumes = Resumes::new(&Secret::new("0123456789abcdef0123456789abcdef"));
        let resume = Resume {
            session_id: "s".to_owned(),
            user_id: "ann".to_owned(),
            generation: 7,
            expires_ms: 1000,
        };
        let token = resumes.sign(&resume);
        assert_eq!(resumes.verify(&token, "ann", 999), Ok(resume));
        let reason = |token: &str, user, now| resumes.verify(token, user, now).unwrap_err().reason;
        assert_eq!(reason(&token, "ann", 1000), "TOKEN_EXPIRED");
        assert_eq!(reason(&token, "bob", 0), "TOKEN_INVALID");
        let other = Resumes::new(&Secret::new("another"));
        assert!(other.verify(&token, "ann", 0).is_err());
        for wrong in ["", ".", "a.b", &token[1..], &token[..token.len() - 2]] {
            assert_eq!(reason(wrong, "ann", 0), "TOKEN_INVALID");
        }
    }
}
