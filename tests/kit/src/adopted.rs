//! A configuration that adopters get, with the addresses of a test in the place of
//! those that stand in it, and pages of the programs that read it.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

const ANSWER: Duration = Duration::from_secs(5);

/// Puts `new` where `old` stands, which must be there `times` times.
#[track_caller]
pub(crate) fn put(config: &mut String, old: &str, new: &str, times: usize) {
    assert_eq!(config.matches(old).count(), times, "{old} in the configuration");
    *config = config.replace(old, new);
}

pub(crate) fn connects(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The body of a page at a port of this machine, whatever its status.
pub(crate) fn page(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok(if head.contains("transfer-encoding: chunked") { joined(body) } else { body.to_owned() })
}

/// A body that came in chunks, each behind its length.
fn joined(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((length, rest)) = chunks.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap_or(0);
        let Some((chunk, rest)) = rest.split_at_checked(length).filter(|_| length > 0) else {
            break;
        };
        body.push_str(chunk);
        chunks = rest.strip_prefix("\r\n").unwrap_or(rest);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined() {
        assert_eq!(joined("4\r\nchat\r\nb\r\n::10.0.0.1:\r\n0\r\n\r\n"), "chat::10.0.0.1:");
        assert_eq!(joined("zz\r\n"), "");
        assert_eq!(joined("9\r\nshort\r\n"), "");
    }

    #[test]
    fn an_address_is_put_where_it_stood() {
        let mut config = "listen 8080; # 8081".to_owned();
        put(&mut config, "listen 8080", "listen 127.0.0.1:1", 1);
        assert_eq!(config, "listen 127.0.0.1:1; # 8081");
    }
}
