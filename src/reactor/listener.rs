//! Listening sockets: one TCP socket per core on the same address, or one Unix socket shared by all cores.
//!
//! Owns the order in which the endpoints of a place are tried; `unix` owns the file of a Unix socket. Never accepts.
//! Invariants: accepted sockets inherit the options that a session needs; an error leaves no socket and no file behind.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{IntoRawFd, OwnedFd};

use socket2::{Domain, Protocol, Type};

use super::Socket;
use super::socket::BACKLOG;
use super::unix::{self, SocketFile};
use crate::address::{AddressFamilies, Choice, Endpoint, Place, UnixAddress};

/// Attempts for a name with several addresses, when the port that the kernel chose on the first is taken on another.
const PORT_TRIES_MAX: usize = 16;

/// A core's descriptor of a listening socket. Copying it does not duplicate the descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The descriptor, which the core closes.
    pub socket: Socket,
    /// The other holders of the same socket.
    pub owner: Owner,
    /// The socket is a Unix socket, so its clients have no address.
    pub is_unix: bool,
    /// True if a connection from a trusted proxy begins with a PROXY header.
    pub proxy_protocol: bool,
    /// True if clients speak TLS.
    pub tls: bool,
}

/// The holders of a listening socket, which decide whether waiting connections are reset when a core closes its
/// descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// One core alone: waiting connections are lost with it.
    Core,
    /// All cores of the server, for a Unix socket: waiting connections are lost with the last one.
    Server,
    /// The process that started the server, too: waiting connections stay for the next server.
    Supervisor,
}

impl Listener {
    /// Creates a TCP listener of one core.
    pub fn of_core(socket: Socket) -> Self {
        Self { socket, owner: Owner::Core, is_unix: false, proxy_protocol: false, tls: false }
    }
}

/// The listeners opened for several places.
#[derive(Debug)]
pub struct Opened {
    /// The listeners of each core.
    pub listeners: Vec<Vec<Listener>>,
    /// The endpoints they are bound to, with the port that the kernel has chosen.
    pub endpoints: Vec<Endpoint>,
    /// Endpoints that this host does not support, with the error; each place has another that it supports.
    pub skipped: Vec<(Endpoint, io::Error)>,
    /// The files of Unix sockets, which are deleted when these values are dropped.
    pub files: Vec<SocketFile>,
}

/// Opens listeners for `cores` cores at every place.
///
/// Fails with `AddrInUse` if another process listens there, unless `share_port` or the place allows joining processes
/// of the same user on a TCP port. The error names the endpoint.
pub fn listen(places: &[Place], cores: usize, share_port: bool) -> Result<Opened, (Endpoint, io::Error)> {
    let mut opened = Vec::new();
    let mut skipped = Vec::new();
    for place in places {
        let of_place = open_place(place, cores, share_port || place.share_port, &mut skipped)?;
        opened.extend(of_place.into_iter().map(|open| (open, place.proxy_protocol, place.tls)));
    }
    let mut listeners = vec![Vec::new(); cores];
    let (mut endpoints, mut files) = (Vec::new(), Vec::new());
    for (Open { endpoint, sockets, file }, proxy_protocol, tls) in opened {
        let is_unix = matches!(endpoint, Endpoint::Unix(_));
        let owner = if is_unix { Owner::Server } else { Owner::Core };
        for (core, socket) in sockets.into_iter().enumerate() {
            let socket = Socket::from_raw(socket.into_raw_fd());
            listeners[core].push(Listener { socket, owner, is_unix, proxy_protocol, tls });
        }
        endpoints.push(endpoint);
        files.extend(file);
    }
    Ok(Opened { listeners, endpoints, skipped, files })
}

/// An endpoint with its listening sockets.
struct Open {
    endpoint: Endpoint,
    /// One socket for each core.
    sockets: Vec<OwnedFd>,
    file: Option<SocketFile>,
}

type Skipped = Vec<(Endpoint, io::Error)>;

/// Opens the endpoints of a place that the host supports. A port chosen by the kernel is the same for all addresses.
fn open_place(
    place: &Place,
    cores: usize,
    share_port: bool,
    skipped: &mut Skipped,
) -> Result<Vec<Open>, (Endpoint, io::Error)> {
    let mut tries = 0;
    loop {
        tries += 1;
        let before = skipped.len();
        match try_place(place, cores, share_port, skipped) {
            // The kernel chose the port, so another one is tried.
            Err((Endpoint::Tcp { .. }, error))
                if error.kind() == io::ErrorKind::AddrInUse && has_free_port(place) && tries < PORT_TRIES_MAX =>
            {
                skipped.truncate(before);
            }
            result => return result,
        }
    }
}

fn has_free_port(place: &Place) -> bool {
    place.endpoints.iter().filter_map(Endpoint::socket_address).any(|address| address.port() == 0)
}

fn try_place(
    place: &Place,
    cores: usize,
    share_port: bool,
    skipped: &mut Skipped,
) -> Result<Vec<Open>, (Endpoint, io::Error)> {
    let mut opened: Vec<Open> = Vec::new();
    let mut refused = Vec::new();
    for endpoint in &place.endpoints {
        let port = opened.first().and_then(|first| first.endpoint.socket_address()).map(|address| address.port());
        let result = match endpoint {
            Endpoint::Tcp { address, families } => {
                let port = if address.port() == 0 { port.unwrap_or(0) } else { address.port() };
                open_tcp(with_port(*address, port), *families, cores, share_port)
            }
            Endpoint::Unix(address) => open_unix(address, cores),
        };
        match result {
            Ok(open) => opened.push(open),
            Err(error) if is_unsupported(&error) => refused.push((endpoint.clone(), error)),
            Err(error) => return Err((endpoint.clone(), error)),
        }
        if place.choice == Choice::First && !opened.is_empty() {
            break;
        }
    }
    match refused.is_empty() {
        false if opened.is_empty() => Err(refused.swap_remove(0)),
        _ => {
            skipped.append(&mut refused);
            Ok(opened)
        }
    }
}

/// Returns whether the host lacks this address, or this family of addresses.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

/// Opens one socket for each core on the same address; the kernel distributes connections among them (SO_REUSEPORT).
fn open_tcp(address: SocketAddr, families: AddressFamilies, cores: usize, share_port: bool) -> io::Result<Open> {
    let mut address = address;
    // A first socket without SO_REUSEPORT detects a port that is in use. Kept until the others are bound, it would
    // exclude them as well, so there is an instant in which another process could take the port.
    if !share_port && address.port() != 0 {
        drop(bind(address, families, false)?);
    }
    let mut sockets = Vec::with_capacity(cores);
    for _ in 0..cores {
        let socket = bind(address, families, true)?;
        // With port 0 the kernel chooses; the other cores use the port of the first.
        if let Some(bound) = socket.local_addr()?.as_socket() {
            address = bound;
        }
        socket.listen(BACKLOG)?;
        sockets.push(socket.into());
    }
    Ok(Open { endpoint: Endpoint::Tcp { address, families }, sockets, file: None })
}

/// Closes listeners that no core will accept from.
pub fn unlisten(listeners: &[Vec<Listener>]) {
    listeners.iter().flatten().for_each(|listener| super::socket::close(listener.socket));
}

/// Binds a TCP socket. TCP_NODELAY is set here because accepted sockets inherit it, which saves a system call for each.
fn bind(address: SocketAddr, families: AddressFamilies, reuse_port: bool) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    match families {
        AddressFamilies::Default => {}
        AddressFamilies::Both => socket.set_only_v6(false)?,
        AddressFamilies::Ipv6 => socket.set_only_v6(true)?,
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Opens one socket, and duplicates its descriptor for each core.
fn open_unix(address: &UnixAddress, cores: usize) -> io::Result<Open> {
    let (socket, file) = unix::listen(address)?;
    let mut sockets = vec![socket];
    while sockets.len() < cores {
        sockets.push(sockets[0].try_clone()?);
    }
    Ok(Open { endpoint: Endpoint::Unix(address.clone()), sockets, file })
}
