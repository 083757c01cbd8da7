//! Asks a process on this machine whether it is ready: what the health check of a
//! container runs, where there is no shell and no curl.

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use mingle_runtime::{config::Config, lifecycle::ProbesConfig};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Whoever asks gives up after three.
const ANSWER: Duration = Duration::from_secs(2);
const READY: &[u8] = b"HTTP/1.1 200 ";

/// Says what `/readyz` answers; the exit code is 1 unless it is 200.
pub(crate) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let probes: ProbesConfig = config.read()?;
    let at = near(probes.listen);
    let (is_ready, found) = match timeout(ANSWER, ask(at)).await {
        Ok(Ok(true)) => (true, "ready".to_owned()),
        Ok(Ok(false)) => (false, "not ready".to_owned()),
        Ok(Err(error)) => (false, error.to_string()),
        Err(_) => (false, format!("no answer within {} s", ANSWER.as_secs())),
    };
    // Whoever closed our standard output does not want it.
    let _ = writeln!(io::stdout().lock(), "{at}: {found}");
    Ok(ExitCode::from(u8::from(!is_ready)))
}

/// Where a listener of this machine is reached from here.
pub(crate) fn near(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask(at: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(at).await?;
    let question = format!("GET /readyz HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut answer = [0; READY.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer == *READY)
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn a_listener_on_every_address_is_asked_at_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("10.0.0.7:1", "10.0.0.7:1"),
        ] {
            assert_eq!(near(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
