//! What nobody may print or export: the tokens of users, and what processes are
//! given as secrets. Every log of every test is looked through when it ends.

use std::ffi::OsString;

/// Shorter ones are refused by the programs, and words of every log.
const LEAST: usize = 12;

/// The secrets among a process's variables.
pub(crate) fn among(env: &[(OsString, OsString)]) -> Vec<String> {
    let is_secret = |key: &str| key.ends_with("_SECRET") || key.ends_with("_TOKEN");
    env.iter()
        .filter_map(|(key, value)| Some((key.to_str()?, value.to_str()?)))
        .filter(|(key, value)| is_secret(key) && value.len() >= LEAST)
        .map(|(_, value)| value.to_owned())
        .collect()
}

/// The first line that holds one of `secrets`, or a token.
pub(crate) fn leaked<'a>(text: &'a str, secrets: &[String]) -> Option<&'a str> {
    text.lines().find(|line| {
        secrets.iter().any(|secret| line.contains(secret)) || line.split(is_between).any(is_token)
    })
}

fn is_between(letter: char) -> bool {
    !(letter.is_ascii_alphanumeric() || "-_.".contains(letter))
}

/// Three parts of base64url, of which the first begins with `{"` (RFC 7519).
fn is_token(word: &str) -> bool {
    word.starts_with("eyJ") && word.split('.').filter(|part| part.len() > 10).count() >= 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_and_a_secret_are_found_and_nothing_else() {
        let env = [("MINGLE_JWT_SECRET", "0123456789abcdef"), ("MINGLE_DATA__DIR", "0123456789")];
        let secrets = among(&env.map(|(key, value)| (key.into(), value.into())));
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.abcdefghijklmnopqrstuvwxyz012345";
        for line in ["refused {\"token\":\"TOKEN\"}", "Bearer TOKEN", "a=0123456789abcdef!"] {
            let line = line.replace("TOKEN", token);
            assert_eq!(leaked(&format!("fine\n{line}\nfine"), &secrets), Some(line.as_str()));
        }
        for fine in ["eyJhbGciOiJIUzI1NiJ9", "a.b.c", "0123456789", "version 0.1.0.eyJ"] {
            assert_eq!(leaked(fine, &secrets), None);
        }
    }
}
