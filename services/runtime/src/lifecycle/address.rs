//! Where a process listens, and why it cannot.

use std::{
    fs,
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// How long whoever may listen there is waited for.
const ANSWER: Duration = Duration::from_secs(1);

/// The variable that sets where the listener of this name is.
pub fn setting(name: &str) -> String {
    format!("MINGLE_{}__LISTEN", name.to_uppercase())
}

/// Takes an address without listening there: whoever wants it meanwhile gets it.
///
/// **Errors**: as the start of a process that listens there would meet them.
pub fn claim(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A successor listens where connections of its predecessor still end.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Why `address` could not be taken, in a few words, and what to do about it.
pub async fn remedy(name: &str, address: SocketAddr, error: &io::Error) -> String {
    let setting = setting(name);
    match error.kind() {
        ErrorKind::AddrInUse if is_lent(address).await => format!(
            "nobody listens there: an outgoing connection has this port, for a minute or two \
             after its end; wait, and keep the port from them (net.ipv4.ip_local_reserved_ports), \
             or set {setting} to one below their range (net.ipv4.ip_local_port_range)"
        ),
        ErrorKind::AddrInUse => format!("end what listens there, or set {setting} to another"),
        ErrorKind::AddrNotAvailable => {
            format!("set {setting} to an address of this machine, or 0.0.0.0 for all of them")
        }
        ErrorKind::PermissionDenied => {
            format!("set {setting} to a port above 1023, or give leave (CAP_NET_BIND_SERVICE)")
        }
        _ => format!("set {setting} to another"),
    }
}

/// True where a port of those that Linux lends is in use and takes no connections.
async fn is_lent(address: SocketAddr) -> bool {
    let lent = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = lent.split_whitespace().filter_map(|bound| bound.parse::<u16>().ok());
    let (Some(first), Some(last)) = (bounds.next(), bounds.next()) else { return false };
    if !(first..=last).contains(&address.port()) {
        return false;
    }
    let asked = timeout(ANSWER, TcpStream::connect(address)).await;
    matches!(asked, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
}
