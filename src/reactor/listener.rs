//! Listening sockets: one per core on the same address, made alike so that everything a session needs is inherited.

use std::io;
use std::net::SocketAddr;
use std::os::fd::IntoRawFd;

use socket2::{Domain, Protocol, Type};

use super::Socket;

/// Connections the kernel queues for a listener; it caps this at `net.core.somaxconn` (4096 by default).
const BACKLOG: i32 = 65_535;

/// A core's descriptor of a listening socket. Copying it does not duplicate the descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The descriptor, which the core closes.
    pub socket: Socket,
    /// Who else has one of the same socket.
    pub owner: Owner,
    /// Whether it is a Unix socket, whose clients have no address.
    pub is_unix: bool,
}

/// Who has a listening socket, and so what becomes of the connections that wait in it when a core closes its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// One core alone: what waits is lost with it.
    Core,
    /// All cores of the server: what waits is lost with the last.
    Server,
    /// Whoever started the server, too: what waits is for the server that is started next.
    Supervisor,
}

impl Listener {
    /// A TCP listener of one core.
    pub fn of_core(socket: Socket) -> Self {
        Self { socket, owner: Owner::Core, is_unix: false }
    }
}

/// Opens `cores` listeners on one address, which the kernel shares the connections out to (SO_REUSEPORT).
///
/// TCP_NODELAY is set here because accepted sockets inherit it, which saves a system call for each. Fails with
/// `AddrInUse` when another process listens there, unless `share_port` allows to join processes of the same user.
pub fn listen(address: SocketAddr, cores: usize, share_port: bool) -> io::Result<(Vec<Socket>, SocketAddr)> {
    let mut address = address;
    // A first socket without SO_REUSEPORT finds out whether the port is anyone else's; held until the others are bound
    // it would keep them out as well, so there is an instant in which another process could step in.
    if !share_port && address.port() != 0 {
        drop(bind(address, false)?);
    }
    let mut listeners = Vec::with_capacity(cores);
    for _ in 0..cores {
        let listener = bind(address, true)?;
        // Port 0 lets the kernel choose; the other cores follow the first.
        if let Some(bound) = listener.local_addr()?.as_socket() {
            address = bound;
        }
        listener.listen(BACKLOG)?;
        listeners.push(listener);
    }
    Ok((listeners.into_iter().map(|listener| Socket::from_raw(listener.into_raw_fd())).collect(), address))
}

/// Closes listeners that nobody is going to accept from.
pub fn unlisten(listeners: &[Socket]) {
    listeners.iter().copied().for_each(super::socket::close);
}

fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
