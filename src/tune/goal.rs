//! The goal: what the host has to carry, and the resources it takes. Pure arithmetic.

/// The role of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Accepts and holds connections.
    #[default]
    Server,
    /// Opens connections: `ringsock bench`.
    LoadGenerator,
}

/// The load that a host has to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The role of the host.
    pub role: Role,
    /// Total connections.
    pub connections: u64,
    /// Total cores, each with a listener and a ring.
    pub cores: u64,
    /// Processes that share the connections and the cores.
    pub processes: u64,
}

/// The severity of an unmet requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Without it the host cannot hold the connections, or many clients at once cannot connect.
    Required,
    /// The host works without it, but worse.
    Advised,
}

/// Kernel memory of an idle TCP socket with its inode, file and dentry. Measured in the slabs of Linux 6.18.
const SOCKET_BYTES: u64 = 3640;

/// Kernel memory of the watch on a socket: a POLL request on io_uring; on epoll 205 bytes. Measured likewise.
const WATCH_BYTES: u64 = 256;

/// A session's entries in the slab and the timer wheel (docs/architecture.md) and in the descriptor table.
const SESSION_BYTES: u64 = 88 + 12 + 9;

/// The percentage of connections with bytes in flight at once: most of a large number are silent.
const ACTIVE_PERCENT: u64 = 10;

/// Bytes in flight on each of those: the buffer size of a new socket.
const QUEUED_BYTES: u64 = 16 * 1024;

/// Memory of a core without connections: rings, buffers, and up to 4 MiB that it keeps for reuse.
const CORE_BYTES: u64 = 8 << 20;

/// Memory that a core's rings lock: one with 4096 submissions and 32,768 completions, measured as 0.9 MiB, and the
/// small ring of its runtime. Rounded up to a second large ring, because one is tried before the cores create theirs.
const LOCKED_PER_CORE_BYTES: u64 = 2 << 20;

/// Descriptors recommended beyond the connections, for files, pipes and connections of other code in the process.
const DESCRIPTORS_SPARE: u64 = 4096;

/// The number of connections per core above which the kernel's default accept queue is too short: 4096 is a quarter of
/// it, which reconnects within a second when a million clients return over a minute to 16 cores.
const BURST_PER_CORE: u64 = 16_384;

impl Goal {
    /// Descriptors that `ringsock serve` reserves for each core. The program compares it with the engine's value.
    pub const DESCRIPTORS_PER_CORE: u64 = 64;
    /// Descriptors that it reserves for the metrics listener. A test compares it with the server's value.
    pub const DESCRIPTORS_FOR_METRICS: u64 = 128;

    /// Returns the goal of a server with one process.
    pub fn server(connections: u64, cores: u64) -> Self {
        Self { role: Role::Server, connections, cores, processes: 1 }
    }

    /// Returns the connections of one process.
    pub fn connections_per_process(&self) -> u64 {
        self.connections.div_ceil(self.processes.max(1))
    }

    /// Returns the recommended descriptor limit of one process.
    pub fn descriptors(&self) -> u64 {
        self.connections_per_process() + DESCRIPTORS_SPARE.max(self.descriptors_reserved())
    }

    /// Returns the lowest descriptor limit with which one process can hold its share.
    pub fn descriptors_least(&self) -> u64 {
        self.connections_per_process() + self.descriptors_reserved()
    }

    /// Returns the memory of one idle connection, in the kernel and in the process.
    pub fn idle_bytes_per_connection(&self) -> u64 {
        SOCKET_BYTES + WATCH_BYTES + SESSION_BYTES
    }

    /// Returns the bytes in flight at once, in socket buffers.
    pub fn queued_bytes(&self) -> u64 {
        self.connections * ACTIVE_PERCENT / 100 * QUEUED_BYTES
    }

    /// Returns the memory of the whole goal.
    pub fn memory_bytes(&self) -> u64 {
        self.connections * self.idle_bytes_per_connection() + self.queued_bytes() + self.listeners() * CORE_BYTES
    }

    /// Returns the memory that the rings of all cores lock.
    pub fn locked_bytes(&self) -> u64 {
        self.listeners() * LOCKED_PER_CORE_BYTES
    }

    /// Returns whether the default queues are too short when all clients reconnect at once.
    pub(super) fn expects_bursts(&self) -> bool {
        self.connections / self.listeners() > BURST_PER_CORE
    }

    /// Returns the number of listeners: one per core, and at least one per process.
    fn listeners(&self) -> u64 {
        self.cores.max(self.processes).max(1)
    }

    fn descriptors_reserved(&self) -> u64 {
        self.listeners().div_ceil(self.processes.max(1)) * Self::DESCRIPTORS_PER_CORE + Self::DESCRIPTORS_FOR_METRICS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_connections_take_what_was_measured_for_one_and_what_is_under_way() {
        let goal = Goal::server(1_000_000, 16);
        assert_eq!(goal.idle_bytes_per_connection(), 4005);
        assert_eq!(goal.queued_bytes(), 100_000 * 16_384);
        assert_eq!(goal.memory_bytes(), 4_005_000_000 + 1_638_400_000 + (128 << 20));
        assert_eq!(goal.descriptors(), 1_004_096);
        assert_eq!(goal.locked_bytes(), 32 << 20);
        assert!(goal.expects_bursts());
    }

    #[test]
    fn processes_share_connections_and_cores() {
        let goal = Goal { processes: 11, ..Goal::server(200_000, 22) };
        assert_eq!(goal.connections_per_process(), 18_182);
        assert_eq!(goal.descriptors(), 18_182 + 4096);
        assert_eq!(goal.descriptors_least(), 18_182 + 2 * 64 + 128);
        assert!(!goal.expects_bursts());
    }
}
