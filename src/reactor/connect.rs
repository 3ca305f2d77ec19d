//! Outgoing connections.
//!
//! Never waits. Invariant: a connection in progress is used like an established one: sent bytes wait until it is
//! established, and reading returns the error if it cannot be.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, IntoRawFd};

use socket2::{Domain, Protocol, Type};

use super::{Socket, socket};

/// Begins to connect to `target`, from `source` if one is given, and returns without waiting. The kernel chooses the
/// port late, knowing both ends, so that each pair of addresses has some 28,000 connections of its own
/// (IP_BIND_ADDRESS_NO_PORT, `net.ipv4.ip_local_port_range`). TCP_NODELAY is set.
///
/// Fails with `AddrNotAvailable` if those ports are used up, or if this host does not have the source's address.
pub fn connect(target: SocketAddr, source: Option<IpAddr>) -> io::Result<Socket> {
    let socket = socket2::Socket::new(Domain::for_address(target), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        choose_port_late(&socket)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(Socket::from_raw(socket.into_raw_fd()))
}

fn choose_port_late(socket: &socket2::Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option's value is an int of the length given, which outlives the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    };
    socket::result(outcome as isize).map(drop)
}
