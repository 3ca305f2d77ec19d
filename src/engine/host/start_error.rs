//! The reasons why a server does not start: for the operator to fix, or the host's.

use std::io;

use thiserror::Error;

use crate::address::{Endpoint, UnixName};

/// Descriptors of a core for itself: its rings, event counters, listener and spare, with some reserve.
pub const DESCRIPTORS_PER_CORE: usize = 64;

/// The reason why a server did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The server cannot listen on an address.
    #[error("Cannot listen on {endpoint}: {source}. {}", advice(endpoint, source))]
    Listen {
        /// The address.
        endpoint: Endpoint,
        /// The kernel's reason.
        source: io::Error,
    },
    /// io_uring was requested and is not available.
    #[error(
        "io_uring is not available: {source}. It needs Linux 6.1, the sysctl kernel.io_uring_disabled=0, and in a \
         container a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register. \
         Otherwise choose the reactor epoll."
    )]
    UringUnavailable {
        /// The kernel's reason.
        source: io::Error,
    },
    /// The rings of all cores exceed the memory that may be locked.
    #[error(
        "The rings of io_uring, some 0.9 MiB for each core, cannot be created on all cores ({cores}): {source}. They \
         count as locked memory, of which all processes of this user together may have {} (RLIMIT_MEMLOCK). Raise \
         that (ulimit -l, LimitMEMLOCK), configure fewer cores, or choose the reactor epoll.",
        in_binary_units(*limit_bytes)
    )]
    LockedMemory {
        /// The configured cores.
        cores: usize,
        /// The memory that all processes of the user together may lock, in bytes.
        limit_bytes: u64,
        /// The kernel's reason.
        source: io::Error,
    },
    /// epoll is not available.
    #[error(
        "Core {core} cannot use epoll: {source}. It needs the system calls epoll_create1, epoll_ctl, epoll_wait and \
         eventfd2, and some {DESCRIPTORS_PER_CORE} file descriptors."
    )]
    EpollUnavailable {
        /// The core.
        core: usize,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The thread of a core could not be created.
    #[error(
        "The thread of core {core} could not be created: {source}. Raise the limit of threads (ulimit -u, TasksMax, \
         the cgroup's pids.max), or configure fewer cores."
    )]
    Thread {
        /// The core.
        core: usize,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The limit of descriptors is below what the configuration needs.
    #[error(
        "{wanted} connections need {needed} file descriptors, but the limit is {limit}. Raise it (ulimit -Hn, \
         LimitNOFILE) or configure at most {possible} connections."
    )]
    TooFewDescriptors {
        /// The configured connections.
        wanted: usize,
        /// The descriptors that they need.
        needed: usize,
        /// The hard limit.
        limit: usize,
        /// The connections that the limit allows.
        possible: usize,
    },
    /// The limit of descriptors leaves none for a connection.
    #[error(
        "The limit of file descriptors is {limit}, but {reserved} are reserved before the first connection. Raise it \
         (ulimit -Hn, LimitNOFILE), or configure fewer cores, or no listener for metrics (admin_listen)."
    )]
    NoDescriptors {
        /// Descriptors reserved for cores and the metrics listener.
        reserved: usize,
        /// The hard limit.
        limit: usize,
    },
    /// A signal ended the server before it had started.
    #[error("The server was told to end before it had started.")]
    Cancelled,
    /// A core could not be started.
    #[error("Core {core} could not start: {reason}.")]
    Core {
        /// Its number.
        core: usize,
        /// The reason.
        reason: String,
    },
    /// The process could not be set up.
    #[error("The process could not be set up: {0}.")]
    Process(io::Error),
    /// Signals cannot be caught.
    #[error(
        "Signals cannot be caught: {source}. It needs a thread (ulimit -u, TasksMax, the cgroup's pids.max), two file \
         descriptors, and the system calls rt_sigaction and socketpair."
    )]
    Signals {
        /// The kernel's reason.
        source: io::Error,
    },
}

/// Returns a number of bytes in KiB or MiB, rounded down.
fn in_binary_units(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}

/// Returns what the operator can do if the kernel refuses to listen.
fn advice(endpoint: &Endpoint, error: &io::Error) -> &'static str {
    let port = endpoint.socket_address().map(|address| address.port());
    match (error.raw_os_error(), endpoint) {
        (Some(libc::EADDRINUSE), _) => "Choose another address, or end the process that uses it.",
        (Some(libc::EACCES), Endpoint::Tcp { .. }) if port.is_some_and(|port| port < 1024) => {
            "Ports below 1024 are reserved for root: give the program the capability CAP_NET_BIND_SERVICE (in a unit \
             of systemd AmbientCapabilities=), lower the sysctl net.ipv4.ip_unprivileged_port_start, or choose \
             another port."
        }
        (Some(libc::EADDRNOTAVAIL), _) => {
            "No interface of this host has this address: `ip address` lists those that exist. To listen before one has \
             it, set the sysctl net.ipv4.ip_nonlocal_bind, or net.ipv6.ip_nonlocal_bind, to 1."
        }
        (Some(libc::EAFNOSUPPORT), _) => {
            "This host has no addresses of this family, or the service may not use them (RestrictAddressFamilies=). \
             Remove the address."
        }
        (Some(libc::EINVAL), _) => "The address may belong to another interface: `ip address` shows which one.",
        (_, Endpoint::Unix(unix)) if matches!(unix.name, UnixName::Path(_)) => unix_advice(error),
        _ => "Choose another address.",
    }
}

fn unix_advice(error: &io::Error) -> &'static str {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::AlreadyExists, _) => "Move that file away, or choose another path.",
        (io::ErrorKind::NotFound, Some(_)) => "The directory does not exist: create it, or choose another.",
        (io::ErrorKind::PermissionDenied, Some(libc::EPERM)) => {
            "The server's user must be a member of the group that the socket is given to."
        }
        (io::ErrorKind::PermissionDenied, _) => {
            "The server's user must be allowed to write to the directory, and to a socket that exists there."
        }
        (io::ErrorKind::NotFound, None) => "Choose a group that exists.",
        _ => "Choose another path.",
    }
}
