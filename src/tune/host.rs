//! A host as it was read.
//!
//! Plain values, which a test may change. Reads nothing; `read.rs` does.

use std::collections::BTreeMap;

/// A host, or the part of it that a container can see.
#[derive(Clone, Debug)]
pub struct Host {
    /// The kernel's release, such as 6.1.0-13-amd64.
    pub kernel: String,
    /// Processors that this process may use.
    pub processors: u64,
    /// Memory of the whole host.
    pub memory: Memory,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Files that this process may have open (RLIMIT_NOFILE).
    pub open_files: Limit,
    /// Bytes that this process's user may lock (RLIMIT_MEMLOCK).
    pub locked_memory: Limit,
    /// True if this process is exempt from that limit (CAP_IPC_LOCK).
    pub may_lock_memory: bool,
    /// The limits of this process' control group.
    pub cgroup: Cgroup,
    /// True if a seccomp filter restricts this process.
    pub is_filtered: bool,
    /// The result of creating a ring, tried by the caller: the error says why io_uring does not work.
    pub io_uring: Result<(), String>,
    /// The kernel's use of transparent huge pages: `always`, `madvise` or `never`.
    pub huge_pages: Option<String>,
    /// The congestion control of new connections.
    pub congestion_control: Option<String>,
    /// True inside a container.
    pub in_container: bool,
    /// The name of the network namespace; `None` for the host's own.
    pub own_network: Option<String>,
    /// Network interfaces with hardware, real or virtual.
    pub interfaces: Vec<Interface>,
    /// Sysctls by name; those that do not exist here are missing.
    pub sysctls: BTreeMap<&'static str, Sysctl>,
}

/// Memory of the host, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Total memory.
    pub total_bytes: u64,
    /// Memory that programs can allocate without swapping.
    pub available_bytes: u64,
    /// Swap space.
    pub swap_bytes: u64,
}

/// A limit of a process; `u64::MAX` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The limit in force.
    pub soft: u64,
    /// The ceiling up to which the process may raise it.
    pub hard: u64,
}

/// The limits of a control group and its ancestors; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cgroup {
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Swap, in bytes.
    pub swap_bytes: Option<u64>,
    /// CPU time, in processors.
    pub processors: Option<f64>,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The number of receive queues.
    pub receive_queues: u64,
    /// True if the kernel spreads the packets of a queue over several processors (RPS).
    pub is_spread: bool,
}

/// A sysctl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Its value, with single spaces between fields.
    pub value: String,
    /// True if this process may write it.
    pub is_writable: bool,
}

impl Host {
    /// Returns whether the network namespace is not the host's.
    pub fn has_own_network(&self) -> bool {
        self.own_network.is_some()
    }

    /// Returns the name of the network namespace.
    pub fn network(&self) -> &str {
        self.own_network.as_deref().unwrap_or("initial")
    }

    /// Returns the first number of a sysctl.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.sysctls.get(name)?.value.split_whitespace().next()?.parse().ok()
    }

    /// Returns the swap space that a service may use.
    pub(super) fn usable_swap_bytes(&self) -> u64 {
        self.memory.swap_bytes.min(self.cgroup.swap_bytes.unwrap_or(u64::MAX))
    }

    /// Returns the number of processors that a service may use.
    pub(super) fn usable_processors(&self) -> u64 {
        let quota = self.cgroup.processors.map_or(u64::MAX, |processors| processors.floor() as u64);
        self.processors.min(quota)
    }

    /// Returns whether the kernel is of this version or newer.
    pub(super) fn is_at_least(&self, major: u64, minor: u64) -> bool {
        let mut parts = self.kernel.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (major, minor)
    }
}
