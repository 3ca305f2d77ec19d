//! Why a server does not start: the operator's to mend, or the host's.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use thiserror::Error;

/// Descriptors a core needs for itself: its rings, event counters, listener and spare, with room to spare.
pub const DESCRIPTORS_PER_CORE: usize = 64;

/// How much memory the processes of a user may lock, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockedMemory(pub u64);

impl fmt::Display for LockedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        if self.0 < MIB { write!(f, "{} KiB", self.0 / KIB) } else { write!(f, "{} MiB", self.0 / MIB) }
    }
}

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
    /// The rings of all cores do not fit into the memory that may be locked.
    #[error(
        "The rings of io_uring, some 0.9 MiB for each core, cannot be had on all cores ({cores}): {source}. They count as \
         locked memory, of which all processes of this user together may have {limit} (RLIMIT_MEMLOCK). Raise that \
         (ulimit -l, LimitMEMLOCK), configure fewer cores, or use --reactor epoll to do without."
    )]
    LockedMemory {
        /// Cores configured.
        cores: usize,
        /// The limit in force.
        limit: LockedMemory,
        /// The kernel's reason.
        source: io::Error,
    },
    /// epoll is not to be had.
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
    /// A core's thread was refused.
    #[error(
        "The thread of core {core} could not be created: {source}. Raise the limit of threads (ulimit -u, TasksMax, the \
         cgroup's pids.max), or configure fewer cores."
    )]
    Thread {
        /// The core.
        core: usize,
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
