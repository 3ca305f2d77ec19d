//! A host as it was read: what a goal is held against.
//!
//! Plain values: a test may change any of them. Reads nothing; `read.rs` does.

use std::collections::BTreeMap;

/// A host, or what a container shows of it.
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
    /// Whether that limit does not hold for this process (CAP_IPC_LOCK).
    pub may_lock_memory: bool,
    /// What the control group of this process allows.
    pub cgroup: Cgroup,
    /// Whether a seccomp filter decides on this process's system calls.
    pub is_filtered: bool,
    /// Whether io_uring works here, and why not. Tried out by the caller.
    pub io_uring: Result<(), String>,
    /// When the kernel takes transparent huge pages: `always`, `madvise` or `never`.
    pub huge_pages: Option<String>,
    /// The congestion control of new connections.
    pub congestion_control: Option<String>,
    /// Whether this is inside a container.
    pub in_container: bool,
    /// Whether the network namespace is another than the host's.
    pub has_own_network: bool,
    /// Names the network namespace.
    pub network: String,
    /// Network interfaces with hardware, or a virtual machine's stand-in for it.
    pub interfaces: Vec<Interface>,
    /// Sysctls by name. One that is missing does not exist here.
    pub sysctls: BTreeMap<&'static str, Sysctl>,
}

/// Memory of the host, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// All of it.
    pub total_bytes: u64,
    /// What programs could have now without swapping.
    pub available_bytes: u64,
    /// Swap space.
    pub swap_bytes: u64,
}

/// A limit of a process; `u64::MAX` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds.
    pub soft: u64,
    /// Up to where the process may raise it.
    pub hard: u64,
}

/// What a control group allows, over all groups above it; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cgroup {
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// Swap.
    pub swap_bytes: Option<u64>,
    /// Processors' time, in processors.
    pub processors: Option<f64>,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Queues for what it receives.
    pub receive_queues: u64,
    /// Whether the kernel spreads what each of them receives over several processors (RPS).
    pub is_spread: bool,
}

/// A sysctl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Its value, with single spaces between fields.
    pub value: String,
    /// Whether this process could write it.
    pub is_writable: bool,
}

impl Host {
    /// The first number of a sysctl.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.sysctls.get(name)?.value.split_whitespace().next()?.parse().ok()
    }

    /// Swap that a service could be swapped out to.
    pub(super) fn swap_there_bytes(&self) -> u64 {
        self.memory.swap_bytes.min(self.cgroup.swap_bytes.unwrap_or(u64::MAX))
    }

    /// Processors that a service could use.
    pub(super) fn processors_there(&self) -> u64 {
        let quota = self.cgroup.processors.map_or(u64::MAX, |processors| processors.floor() as u64);
        self.processors.min(quota)
    }

    /// Whether the kernel is of this version or newer.
    pub(super) fn is_at_least(&self, major: u64, minor: u64) -> bool {
        let mut parts = self.kernel.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (major, minor)
    }
}
