//! Why a server does not start: the operator's to mend, or the host's.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

/// Why a server did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("Cannot listen on {address}: {source}. Choose another address, or end whatever uses it.")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The kernel's reason.
        source: io::Error,
    },
    /// io_uring was asked for and is not to be had.
    #[error(
        "io_uring is not available: {source}. It needs Linux 6.1, the sysctl kernel.io_uring_disabled=0, and in a \
         container a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register. \
         Use --reactor epoll to do without."
    )]
    UringUnavailable {
        /// The kernel's reason.
        source: io::Error,
    },
    /// The descriptor limit is below what the configuration needs.
    #[error(
        "{wanted} connections need {needed} file descriptors, but the limit is {limit}. Raise it (ulimit -Hn, \
         LimitNOFILE) or configure at most {possible} connections."
    )]
    TooFewDescriptors {
        /// Connections configured.
        wanted: usize,
        /// Descriptors they need.
        needed: usize,
        /// The hard limit.
        limit: usize,
        /// Connections the limit allows.
        possible: usize,
    },
    /// The descriptor limit leaves none for a connection.
    #[error(
        "The limit of file descriptors is {limit}, but {reserved} are set aside before the first connection. Raise it \
         (ulimit -Hn, LimitNOFILE), or configure fewer cores, or no listener for metrics (--admin-listen none)."
    )]
    NoDescriptors {
        /// Descriptors set aside for cores and the listener for metrics.
        reserved: usize,
        /// The hard limit.
        limit: usize,
    },
    /// A core could not be started.
    #[error("Core {core} could not start: {reason}.")]
    Core {
        /// Its number.
        core: usize,
        /// What went wrong.
        reason: String,
    },
    /// The process could not be set up.
    #[error("The process could not be set up: {0}.")]
    Process(io::Error),
}
