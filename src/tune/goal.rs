//! What the host is to carry, and what that takes. Arithmetic alone.

/// What the host is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Holds connections that others open.
    #[default]
    Server,
    /// Opens them: `ringsock bench`.
    LoadGenerator,
}

/// What the host is to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// What for.
    pub role: Role,
    /// Connections in all.
    pub connections: u64,
    /// Cores in all, each with a listener and a ring.
    pub cores: u64,
    /// Processes that share the connections and the cores.
    pub processes: u64,
}

/// How much a goal depends on something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Without it the connections cannot be held, or a crowd cannot come in.
    Required,
    /// It works without, but worse.
    Advised,
}

/// Kernel memory of an idle TCP socket with its inode, file and dentry. Measured on Linux 6.18 in the slabs.
const SOCKET_BYTES: u64 = 3640;

/// Kernel memory of what waits for its bytes: a POLL request on io_uring; on epoll it is 205. Measured likewise.
const WATCH_BYTES: u64 = 256;

/// A session in the slab and in the wheel (docs/architecture.md), and its place in the table of descriptors.
const SESSION_BYTES: u64 = 88 + 12 + 9;

/// Of a hundred connections, how many have bytes under way at once: most of a large number are silent.
const ACTIVE_PERCENT: u64 = 10;

/// Bytes under way on each of those: what a fresh socket's buffer holds.
const QUEUED_BYTES: u64 = 16 * 1024;

/// What a core has whatever its number of connections: rings, buffers, and up to 4 MiB that it keeps for reuse.
const CORE_BYTES: u64 = 8 << 20;

/// Memory that a core's rings lock: one of 4096 submissions and 32,768 completions, measured as 0.9 MiB, and the small one
/// of its runtime. Rounded up to a second such ring, because one is tried out before the cores make theirs.
const LOCKED_PER_CORE_BYTES: u64 = 2 << 20;

/// Descriptors beside the connections that are asked for: files, pipes and connections of what runs in the process.
const DESCRIPTORS_SPARE: u64 = 4096;

/// From so many connections on each core, the kernel's usual queues for those who connect are too short: 4096 is a
/// quarter, which come back within a second when a million returns over a minute to a core of 16.
const CROWD_PER_CORE: u64 = 16_384;

impl Goal {
    /// Descriptors that `ringsock serve` sets aside for each core. Held against the engine's by the program.
    pub const DESCRIPTORS_PER_CORE: u64 = 64;
    /// Descriptors it sets aside for its listener for metrics. Held against the server's by a test.
    pub const DESCRIPTORS_FOR_METRICS: u64 = 128;

    /// A server of one process.
    pub fn server(connections: u64, cores: u64) -> Self {
        Self { role: Role::Server, connections, cores, processes: 1 }
    }

    /// Connections of one process.
    pub fn connections_per_process(&self) -> u64 {
        self.connections.div_ceil(self.processes.max(1))
    }

    /// Descriptors that one process should be allowed.
    pub fn descriptors(&self) -> u64 {
        self.connections_per_process() + DESCRIPTORS_SPARE.max(self.descriptors_reserved())
    }

    /// Descriptors without which one process cannot hold its share.
    pub fn descriptors_least(&self) -> u64 {
        self.connections_per_process() + self.descriptors_reserved()
    }

    /// Memory that one idle connection takes, in the kernel and in the process.
    pub fn idle_bytes_per_connection(&self) -> u64 {
        SOCKET_BYTES + WATCH_BYTES + SESSION_BYTES
    }

    /// Bytes that are under way at once, in socket buffers.
    pub fn queued_bytes(&self) -> u64 {
        self.connections * ACTIVE_PERCENT / 100 * QUEUED_BYTES
    }

    /// Memory that all of it takes.
    pub fn memory_bytes(&self) -> u64 {
        self.connections * self.idle_bytes_per_connection() + self.queued_bytes() + self.listeners() * CORE_BYTES
    }

    /// Memory that the rings of all cores lock.
    pub fn locked_bytes(&self) -> u64 {
        self.listeners() * LOCKED_PER_CORE_BYTES
    }

    /// Whether the usual queues are too short for those who come back at once.
    pub(super) fn is_crowd(&self) -> bool {
        self.connections / self.listeners() > CROWD_PER_CORE
    }

    /// Each core listens, and a process has one at least.
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
        assert!(goal.is_crowd());
    }

    #[test]
    fn processes_share_connections_and_cores() {
        let goal = Goal { processes: 11, ..Goal::server(200_000, 22) };
        assert_eq!(goal.connections_per_process(), 18_182);
        assert_eq!(goal.descriptors(), 18_182 + 4096);
        assert_eq!(goal.descriptors_least(), 18_182 + 2 * 64 + 128);
        assert!(!goal.is_crowd());
    }
}
