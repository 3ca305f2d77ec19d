//! The table of sysctls: what each has to be for a goal, why, and what happens otherwise. One row is one sysctl, in the
//! order in which they are written: what bounds another comes before it.

use std::path::{Path, PathBuf};

use super::bound::Bound;
use super::goal::{Goal, Role, Weight};
use super::host::Host;

/// Where a sysctl lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Each network namespace has its own.
    Network,
    /// The host's own network namespace has it, others do not show it.
    HostNetwork,
    /// The whole host has one, and shows it everywhere.
    Host,
}

/// One sysctl.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) scope: Scope,
    /// Whose it is; `None` is both's.
    pub(super) role: Option<Role>,
    pub(super) weight: fn(&Host, &Goal) -> Weight,
    /// For each field of the value.
    pub(super) bounds: fn(&Host, &Goal) -> Vec<Bound>,
    pub(super) reason: &'static str,
    pub(super) otherwise: &'static str,
}

/// Where the kernel shows a sysctl, below a root.
pub(super) fn path(root: &Path, name: &str) -> PathBuf {
    root.join("proc/sys").join(name.replace('.', "/"))
}

/// Descriptors of the host beside the connections: a fifth more, for everything else that runs there.
fn with_a_fifth_more(connections: u64) -> i64 {
    signed(connections + connections / 5)
}

/// Numbers of connections and bytes are far below the limit of either type.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn required(_: &Host, _: &Goal) -> Weight {
    Weight::Required
}

fn advised(_: &Host, _: &Goal) -> Weight {
    Weight::Advised
}

fn required_of_a_server(_: &Host, goal: &Goal) -> Weight {
    if goal.role == Role::Server { Weight::Required } else { Weight::Advised }
}

fn required_for_a_crowd(_: &Host, goal: &Goal) -> Weight {
    if goal.is_crowd() { Weight::Required } else { Weight::Advised }
}

/// The module may be loaded without a rule that uses it; then it holds nothing.
fn required_if_tracked(host: &Host, _: &Goal) -> Weight {
    let tracked = host.number("net.netfilter.nf_conntrack_count").unwrap_or(0);
    if tracked > 0 { Weight::Required } else { Weight::Advised }
}

/// A buffer's least, first and largest size. The first one is lowered only where all connections together could take more
/// than half of the memory before the kernel has adapted any.
fn buffer(host: &Host, goal: &Goal, name: &str, largest: i64) -> Vec<Bound> {
    const FIRST: i64 = 16_384;
    let first = host.sysctls.get(name).and_then(|sysctl| sysctl.value.split(' ').nth(1)?.parse::<u64>().ok());
    let memory_bytes = host.memory.total_bytes.min(host.cgroup.memory_bytes.unwrap_or(u64::MAX));
    let fits = first.is_some_and(|first| goal.connections.saturating_mul(first) <= memory_bytes / 2);
    let first = if fits { Bound::Any(FIRST) } else { Bound::AtMost(FIRST) };
    vec![Bound::AtLeast(4096), first, Bound::AtLeast(largest)]
}

/// All rows.
pub(super) const TABLE: &[Row] = &[
    Row {
        name: "fs.nr_open",
        scope: Scope::Host,
        role: None,
        weight: required_of_a_server,
        bounds: |_, goal| {
            let share = goal.connections_per_process();
            vec![Bound::AtLeast(signed((share + share / 10).max(goal.descriptors())))]
        },
        reason: "It bounds the limit of open files of every process, and each connection is an open file.",
        otherwise: "No unit, shell or container can be given a limit above it, so the server refuses to start.",
    },
    Row {
        name: "fs.file-max",
        scope: Scope::Host,
        role: None,
        weight: required,
        bounds: |_, goal| vec![Bound::AtLeast(with_a_fifth_more(goal.connections))],
        reason: "Open files of the whole host, connections of all processes among them.",
        otherwise: "accept and open fail with ENFILE, for every program of the host.",
    },
    Row {
        name: "kernel.io_uring_disabled",
        scope: Scope::Host,
        role: None,
        weight: advised,
        bounds: |_, _| vec![Bound::exactly(0)],
        reason: "1 leaves io_uring to privileged processes and one group, 2 to nobody.",
        otherwise: "The server runs on epoll, which costs more for each message.",
    },
    Row {
        name: "net.core.somaxconn",
        scope: Scope::Network,
        role: Some(Role::Server),
        weight: required_for_a_crowd,
        bounds: |_, _| vec![Bound::AtLeast(65_535)],
        reason: "Caps how many connections wait for each core to accept them; the server asks for 65535.",
        otherwise: "When everyone comes back at once the queue overflows, and clients wait 1, 2, 4 seconds for another try.",
    },
    Row {
        name: "net.ipv4.tcp_max_syn_backlog",
        scope: Scope::Network,
        role: Some(Role::Server),
        weight: required_for_a_crowd,
        bounds: |_, _| vec![Bound::AtLeast(65_536)],
        reason: "Half-open connections of each listener, some 304 bytes each.",
        otherwise: "SYNs are dropped, or answered with cookies, which lose the client's TCP options.",
    },
    Row {
        name: "net.ipv4.tcp_syncookies",
        scope: Scope::Network,
        role: Some(Role::Server),
        weight: advised,
        bounds: |_, _| vec![Bound::exactly(1)],
        reason: "The last resort in a SYN flood. The queues above are sized so that it is never needed.",
        otherwise: "0: a SYN flood locks everyone out. 2: every connection loses its TCP options.",
    },
    Row {
        name: "net.ipv4.tcp_synack_retries",
        scope: Scope::Network,
        role: Some(Role::Server),
        weight: advised,
        bounds: |_, _| vec![Bound::AtMost(3)],
        reason: "A half-open connection of a client that went away keeps its place until the last try.",
        otherwise: "With 5 tries it lies there for 63 s, and a mass connect fills the queue with the dead.",
    },
    Row {
        name: "net.ipv4.tcp_rmem",
        scope: Scope::Network,
        role: None,
        weight: advised,
        bounds: |host, goal| buffer(host, goal, "net.ipv4.tcp_rmem", 4_194_304),
        reason: "Limits of what one socket may receive unread: least, at first, at most. Idle sockets hold nothing.",
        otherwise: "Too large at first: peers that all send at once fill the memory. Too small at most: far clients are slow.",
    },
    Row {
        name: "net.ipv4.tcp_wmem",
        scope: Scope::Network,
        role: None,
        weight: advised,
        bounds: |host, goal| buffer(host, goal, "net.ipv4.tcp_wmem", 1_048_576),
        reason: "The same for what one socket may have to send.",
        otherwise: "Too large at first: peers that do not read fill the memory. Too small at most: far clients are slow.",
    },
    Row {
        name: "net.ipv4.tcp_mem",
        scope: Scope::HostNetwork,
        role: None,
        weight: advised,
        bounds: |host, goal| {
            let bytes = goal.queued_bytes().min(host.memory.total_bytes / 2);
            let pages = signed(bytes / host.page_bytes.max(1));
            vec![Bound::AtLeast(pages / 2), Bound::AtLeast(pages / 4 * 3), Bound::AtLeast(pages)]
        },
        reason: "Pages that all TCP sockets together may have queued: easy, under pressure, at most.",
        otherwise: "Above it the kernel shrinks windows and drops what arrives, on every connection of the host.",
    },
    Row {
        name: "net.ipv4.tcp_max_tw_buckets",
        scope: Scope::Network,
        role: None,
        weight: advised,
        bounds: |_, goal| vec![Bound::AtLeast(signed(goal.connections))],
        reason: "Connections that this host closed first and that wait out their 60 s: as many as close in a minute.",
        otherwise: "They are cut short, and a late packet of an old connection can disturb a new one.",
    },
    Row {
        name: "net.ipv4.tcp_max_orphans",
        scope: Scope::HostNetwork,
        role: Some(Role::Server),
        weight: advised,
        bounds: |_, goal| vec![Bound::AtLeast(signed(goal.connections / 20))],
        reason: "Connections that are closed here while the last bytes are on their way: one in twenty at once.",
        otherwise: "When many are closed at once they are reset, and their peers lose the last message.",
    },
    Row {
        name: "net.ipv4.tcp_fin_timeout",
        scope: Scope::Network,
        role: None,
        weight: advised,
        bounds: |_, _| vec![Bound::AtMost(30)],
        reason: "How many seconds a peer has to close its side once this host has closed its own.",
        otherwise: "Peers that never do hold memory for 60 s each.",
    },
    Row {
        name: "net.ipv4.tcp_orphan_retries",
        scope: Scope::Network,
        role: Some(Role::Server),
        weight: advised,
        bounds: |_, _| vec![Bound::Between(1, 3, 3)],
        reason: "How often the last bytes for a peer that is gone are sent again. 0 means 8.",
        otherwise: "A closed connection to a peer that vanished holds its buffers for minutes.",
    },
    Row {
        name: "net.ipv4.tcp_notsent_lowat",
        scope: Scope::Network,
        role: Some(Role::Server),
        weight: advised,
        bounds: |_, _| vec![Bound::AtMost(131_072)],
        reason: "Bytes that wait in the kernel for one peer before the server is told to wait.",
        otherwise: "A slow peer's backlog lies in the kernel, where no policy can drop what is old.",
    },
    Row {
        name: "net.ipv4.tcp_slow_start_after_idle",
        scope: Scope::Network,
        role: None,
        weight: advised,
        bounds: |_, _| vec![Bound::exactly(0)],
        reason: "A WebSocket is silent most of the time, and its path is no worse for it.",
        otherwise: "After each silence a message of more than 14 KiB takes round trips more.",
    },
    Row {
        name: "net.ipv4.tcp_timestamps",
        scope: Scope::Network,
        role: None,
        weight: advised,
        bounds: |_, _| vec![Bound::Between(1, 2, 1)],
        reason: "Round-trip times, and protection against packets of old connections, for 12 bytes a packet.",
        otherwise: "Retransmission times are guessed more roughly, and old packets can get into new connections.",
    },
    Row {
        name: "net.ipv4.tcp_moderate_rcvbuf",
        scope: Scope::Network,
        role: None,
        weight: advised,
        bounds: |_, _| vec![Bound::exactly(1)],
        reason: "The kernel adapts each socket's buffer to what its peer sends, within tcp_rmem.",
        otherwise: "Every socket keeps its first size, too small for some and too large for most.",
    },
    Row {
        name: "net.ipv4.tcp_migrate_req",
        scope: Scope::Network,
        role: Some(Role::Server),
        weight: advised,
        bounds: |_, _| vec![Bound::exactly(1)],
        reason: "When a listener closes, connections in its queue go to another one of the same port.",
        otherwise: "At a restart with listen.share-port those that wait to be accepted are reset.",
    },
    Row {
        name: "net.core.netdev_max_backlog",
        scope: Scope::HostNetwork,
        role: None,
        weight: advised,
        bounds: |_, _| vec![Bound::AtLeast(10_000)],
        reason: "Packets that wait for one processor, where packets are spread over processors, and on loopback.",
        otherwise: "Bursts are dropped before TCP sees them (second column of /proc/net/softnet_stat).",
    },
    Row {
        name: "net.netfilter.nf_conntrack_buckets",
        scope: Scope::Host,
        role: None,
        weight: advised,
        bounds: |_, goal| vec![Bound::AtLeast(with_a_fifth_more(goal.connections))],
        reason: "The table in which connection tracking finds a connection: as many buckets as connections.",
        otherwise: "Every packet walks a longer chain.",
    },
    Row {
        name: "net.netfilter.nf_conntrack_max",
        scope: Scope::Host,
        role: None,
        weight: required_if_tracked,
        bounds: |_, goal| vec![Bound::AtLeast(with_a_fifth_more(goal.connections))],
        reason: "Every tracked connection takes an entry. Better still: no tracking of the server's port (NOTRACK).",
        otherwise: "When it is full, packets of new connections are dropped (\"nf_conntrack: table full\" in dmesg).",
    },
    Row {
        name: "net.netfilter.nf_conntrack_tcp_timeout_established",
        scope: Scope::Network,
        role: Some(Role::Server),
        weight: advised,
        bounds: |_, _| vec![Bound::AtLeast(120)],
        reason: "Seconds of silence after which tracking forgets a connection: twice the server's dead-peer timeout.",
        otherwise: "Silent connections are forgotten between two pings, and a firewall drops what comes next.",
    },
    Row {
        name: "vm.overcommit_memory",
        scope: Scope::Host,
        role: None,
        weight: advised,
        bounds: |_, _| vec![Bound::Between(0, 1, 0)],
        reason: "2 counts what is mapped as if it were used, and allocators map ahead.",
        otherwise: "Allocations fail while there is memory, and the process is aborted.",
    },
    Row {
        name: "net.ipv4.ip_local_port_range",
        scope: Scope::Network,
        role: Some(Role::LoadGenerator),
        weight: advised,
        bounds: |host, _| {
            // The kernel takes no range that begins below the first port for everyone.
            let first = host.number("net.ipv4.ip_unprivileged_port_start").unwrap_or(1024).max(1024);
            vec![Bound::AtMost(first), Bound::AtLeast(65_535)]
        },
        reason: "One source address has so many ports to one port of a server. Beyond that: more addresses (--source).",
        otherwise: "connect fails with EADDRNOTAVAIL after some 28,000 connections from one address.",
    },
    Row {
        name: "net.ipv4.tcp_tw_reuse",
        scope: Scope::Network,
        role: Some(Role::LoadGenerator),
        weight: advised,
        bounds: |_, _| vec![Bound::exactly(1)],
        reason: "Ports of connections that wait out their 60 s may be used again after one; 2 means on loopback only.",
        otherwise: "A run that opens and closes without pause runs out of ports.",
    },
];
