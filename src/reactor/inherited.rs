//! Listening sockets passed by the process that started this one: LISTEN_FDS, as in sd_listen_fds(3).
//!
//! That process keeps the sockets open as well, so that no client is refused between one server and the next. Never
//! closes a descriptor that it cannot use. Invariant: a socket taken listens, is a stream, does not block, and is
//! closed in programs that this one starts.

use std::env;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::process;
use std::sync::Arc;

use socket2::{Domain, SockAddr, SockRef, Type};
use thiserror::Error;

use super::Socket;
use super::listener::{Listener, Opened, Owner};
use crate::address::{AddressFamilies, Endpoint, UnixAddress, UnixName};

/// A listening socket that the parent process passed. Cloning it gives another handle on the same socket.
#[derive(Clone, Debug)]
pub struct InheritedSocket {
    /// Its name in LISTEN_FDNAMES; `unknown` if there is none.
    pub name: String,
    /// The endpoint it is bound to.
    pub endpoint: Endpoint,
    /// True if its clients speak TLS; the server decides.
    pub tls: bool,
    socket: Arc<OwnedFd>,
}

/// The listening sockets that the parent process passed (LISTEN_FDS, as in sd_listen_fds(3)), for
/// [`Builder::inherited`](crate::Builder::inherited).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct InheritedSockets {
    /// The sockets for this process.
    pub sockets: Vec<InheritedSocket>,
    /// The process that LISTEN_PID names, if it is another one.
    pub other_process: Option<String>,
}

/// The reason why a passed socket cannot be used; the process that passes it has to be corrected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InheritError {
    /// The variables contradict each other or the open descriptors.
    #[error(
        "LISTEN_FDS, LISTEN_PID or LISTEN_FDNAMES is invalid: {source}. Correct the program that passes the sockets."
    )]
    Variables {
        /// The reason.
        source: io::Error,
    },
    /// The descriptor is not a socket that accepts connections.
    #[error(
        "The descriptor {descriptor} ({name}), which LISTEN_FDS passes, {reason}. Pass listening TCP or Unix stream \
         sockets; in a unit of systemd ListenStream= with Accept=no."
    )]
    Unusable {
        /// The descriptor's number.
        descriptor: RawFd,
        /// Its name in LISTEN_FDNAMES.
        name: String,
        /// The fault.
        reason: String,
    },
}

impl InheritedSockets {
    /// Takes the sockets passed to this process, once. If the process has only one thread, it removes the variables, so
    /// that programs that it starts do not use them.
    pub fn take() -> Result<Self, InheritError> {
        let own = process::id().to_string();
        let (count, for_process) = (env::var("LISTEN_FDS").ok(), env::var("LISTEN_PID").ok());
        let other_process = for_process.clone().filter(|process| count.is_some() && *process != own);
        if count.is_none_or(|count| count == "0") || for_process.is_none() || other_process.is_some() {
            // sd_notify would report names without sockets as a contradiction.
            return Ok(Self { sockets: Vec::new(), other_process });
        }
        let is_alone = fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
        let passed: Vec<(RawFd, String)> = if is_alone {
            // SAFETY: there is no other thread that could read the environment meanwhile.
            unsafe { sd_notify::listen_fds_with_names_and_unset_env() }.map(Iterator::collect)
        } else {
            sd_notify::listen_fds_with_names().map(Iterator::collect)
        }
        .map_err(|source| InheritError::Variables { source })?;
        let sockets = passed.into_iter().map(|(descriptor, name)| InheritedSocket::check(descriptor, name));
        Ok(Self { sockets: sockets.collect::<Result<_, _>>()?, other_process: None })
    }
}

impl InheritedSocket {
    fn check(descriptor: RawFd, name: String) -> Result<Self, InheritError> {
        // SAFETY: LISTEN_FDS passes the descriptor to this process, and it was checked to be open.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        match prepare(SockRef::from(&socket)) {
            Ok(endpoint) => Ok(Self { name, endpoint, tls: false, socket: Arc::new(socket) }),
            Err(reason) => {
                // The descriptor stays open, because other code may use it.
                let descriptor = socket.into_raw_fd();
                Err(InheritError::Unusable { descriptor, name, reason })
            }
        }
    }
}

/// Gives every core a descriptor of each socket.
pub fn share(inherited: &[InheritedSocket], cores: usize) -> io::Result<Opened> {
    let mut copies = Vec::with_capacity(cores);
    for _ in 0..cores {
        let of_core = inherited.iter().map(|inherited| inherited.socket.try_clone());
        copies.push(of_core.collect::<io::Result<Vec<OwnedFd>>>()?);
    }
    let listeners = copies.into_iter().map(|copies| {
        let listeners = copies.into_iter().zip(inherited).map(|(copy, inherited)| Listener {
            socket: Socket::from_raw(copy.into_raw_fd()),
            owner: Owner::Supervisor,
            is_unix: matches!(inherited.endpoint, Endpoint::Unix(_)),
            // The server says it for all of them.
            proxy_protocol: false,
            tls: inherited.tls,
        });
        listeners.collect()
    });
    Ok(Opened {
        listeners: listeners.collect(),
        endpoints: inherited.iter().map(|inherited| inherited.endpoint.clone()).collect(),
        skipped: Vec::new(),
        files: Vec::new(),
    })
}

/// Sets the options needed for accepting, or returns the reason why the socket cannot be used.
fn prepare(socket: SockRef<'_>) -> Result<Endpoint, String> {
    let kind = socket.r#type().map_err(|_| "is not a socket".to_owned())?;
    if kind != Type::STREAM {
        return Err("is not a stream socket".to_owned());
    }
    if !socket.is_listener().unwrap_or(false) {
        return Err("does not listen".to_owned());
    }
    let address = socket.local_addr().map_err(|error| format!("has no address: {error}"))?;
    let endpoint = endpoint(&socket, &address).ok_or("is neither a TCP nor a Unix socket")?;
    let prepared = socket.set_nonblocking(true).and_then(|()| match endpoint {
        // Accepted sockets inherit it.
        Endpoint::Tcp { .. } => socket.set_tcp_nodelay(true),
        Endpoint::Unix(_) => Ok(()),
    });
    prepared.map_err(|error| format!("cannot be used: {error}"))?;
    Ok(endpoint)
}

fn endpoint(socket: &SockRef<'_>, address: &SockAddr) -> Option<Endpoint> {
    if let Some(address) = address.as_socket() {
        let is_both = matches!(address, SocketAddr::V6(address) if address.ip().is_unspecified());
        let families = match is_both.then(|| socket.only_v6().unwrap_or(false)) {
            None => AddressFamilies::Default,
            Some(true) => AddressFamilies::Ipv6,
            Some(false) => AddressFamilies::Both,
        };
        return Some(Endpoint::Tcp { address, families });
    }
    if address.domain() != Domain::UNIX {
        return None;
    }
    let name = match (address.as_pathname(), address.as_abstract_namespace()) {
        (Some(path), _) => UnixName::Path(path.to_owned()),
        (None, Some(name)) => UnixName::Abstract(String::from_utf8_lossy(name).into_owned()),
        (None, None) => return None,
    };
    Some(Endpoint::Unix(UnixAddress { name, mode: UnixAddress::MODE, group: None }))
}

impl AsFd for InheritedSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
