//! The table of sysctls: for each the bounds that a goal needs, the reason, and the consequence otherwise. One row is
//! one sysctl, in writing order: a sysctl that bounds another comes before it.

use std::path::{Path, PathBuf};

use super::bound::Bound;
use super::goal::{Goal, Role, Severity};
use super::host::Host;

/// The scope of a sysctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// One value per network namespace.
    Network,
    /// Present in the host's initial network namespace only.
    HostNetwork,
    /// One value for the whole host, visible everywhere.
    Host,
}

/// One sysctl.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) scope: Scope,
    /// The role it applies to; `None`: both.
    pub(super) role: Option<Role>,
    pub(super) severity: fn(&Host, &Goal) -> Severity,
    /// The bounds of each field.
    pub(super) bounds: fn(&Host, &Goal) -> Vec<Bound>,
    pub(super) reason: &'static str,
    pub(super) otherwise: &'static str,
}

/// Returns the path of a sysctl below a root.
pub(super) fn path(root: &Path, name: &str) -> PathBuf {
    root.join("proc/sys").join(name.replace('.', "/"))
}

/// Adds a fifth to a number of connections, for everything else on the host that uses descriptors.
fn with_a_fifth_more(connections: u64) -> i64 {
    signed(connections + connections / 5)
}

/// Converts to a signed number; connections and bytes are far below the limit of either type.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn required(_: &Host, _: &Goal) -> Severity {
    Severity::Required
}

fn advised(_: &Host, _: &Goal) -> Severity {
    Severity::Advised
}

fn required_of_a_server(_: &Host, goal: &Goal) -> Severity {
    if goal.role == Role::Server { Severity::Required } else { Severity::Advised }
}

fn required_for_bursts(_: &Host, goal: &Goal) -> Severity {
    if goal.expects_bursts() { Severity::Required } else { Severity::Advised }
}

/// Requires the setting only if connections are tracked: the module may be loaded without a rule that uses it.
fn required_if_tracked(host: &Host, _: &Goal) -> Severity {
    let tracked = host.number("net.netfilter.nf_conntrack_count").unwrap_or(0);
    if tracked > 0 { Severity::Required } else { Severity::Advised }
}

/// Returns the bounds of a buffer's minimum, initial and maximum size. The initial size is lowered only if all
/// connections together could take more than half of the memory before the kernel adapts any.
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
        severity: required_of_a_server,
        bounds: |_, goal| {
            let share = goal.connections_per_process();
            vec![Bound::AtLeast(signed((share + share / 10).max(goal.descriptors())))]
        },
        reason: "The upper bound of every process' open-file limit; each connection is an open file.",
        otherwise: "No unit, shell or container can be given a higher limit, so the server refuses to start.",
    },
    Row {
        name: "fs.file-max",
        scope: Scope::Host,
        role: None,
        severity: required,
        bounds: |_, goal| vec![Bound::AtLeast(with_a_fifth_more(goal.connections))],
        reason: "The limit of open files of the whole host, including the connections of all processes.",
        otherwise: "accept and open fail with ENFILE in every program on the host.",
    },
    Row {
        name: "kernel.io_uring_disabled",
        scope: Scope::Host,
        role: None,
        severity: advised,
        bounds: |_, _| vec![Bound::exactly(0)],
        reason: "1 limits io_uring to privileged processes and one group; 2 disables it.",
        otherwise: "The server runs on epoll, which costs more per message.",
    },
    Row {
        name: "net.core.somaxconn",
        scope: Scope::Network,
        role: Some(Role::Server),
        severity: required_for_bursts,
        bounds: |_, _| vec![Bound::AtLeast(65_535)],
        reason: "The cap on connections that wait for each core to accept them; the server asks for 65535.",
        otherwise: "When all clients reconnect at once the queue overflows, and they wait 1, 2, 4 seconds to retry.",
    },
    Row {
        name: "net.ipv4.tcp_max_syn_backlog",
        scope: Scope::Network,
        role: Some(Role::Server),
        severity: required_for_bursts,
        bounds: |_, _| vec![Bound::AtLeast(65_536)],
        reason: "The limit of half-open connections of each listener, some 304 bytes each.",
        otherwise: "SYNs are dropped, or answered with cookies, which lose the client's TCP options.",
    },
    Row {
        name: "net.ipv4.tcp_syncookies",
        scope: Scope::Network,
        role: Some(Role::Server),
        severity: advised,
        bounds: |_, _| vec![Bound::exactly(1)],
        reason: "The last resort in a SYN flood. The queues above are sized so that it is never needed.",
        otherwise: "0: a SYN flood locks all clients out. 2: every connection loses its TCP options.",
    },
    Row {
        name: "net.ipv4.tcp_synack_retries",
        scope: Scope::Network,
        role: Some(Role::Server),
        severity: advised,
        bounds: |_, _| vec![Bound::AtMost(3)],
        reason: "A half-open connection of a client that went away keeps its place until the last retry.",
        otherwise: "With 5 retries it stays for 63 s, and a mass reconnect fills the queue with dead entries.",
    },
    Row {
        name: "net.ipv4.tcp_rmem",
        scope: Scope::Network,
        role: None,
        severity: advised,
        bounds: |host, goal| buffer(host, goal, "net.ipv4.tcp_rmem", 4_194_304),
        reason: "Minimum, initial and maximum receive buffer of a socket. Idle sockets use none of it.",
        otherwise: "Initial size too large: many senders at once exhaust memory. Maximum too small: far clients lag.",
    },
    Row {
        name: "net.ipv4.tcp_wmem",
        scope: Scope::Network,
        role: None,
        severity: advised,
        bounds: |host, goal| buffer(host, goal, "net.ipv4.tcp_wmem", 1_048_576),
        reason: "Minimum, initial and maximum send buffer of a socket.",
        otherwise: "Initial size too large: peers that do not read exhaust memory. Maximum too small: far clients lag.",
    },
    Row {
        name: "net.ipv4.tcp_mem",
        scope: Scope::HostNetwork,
        role: None,
        severity: advised,
        bounds: |host, goal| {
            let bytes = goal.queued_bytes().min(host.memory.total_bytes / 2);
            let pages = signed(bytes / host.page_bytes.max(1));
            vec![Bound::AtLeast(pages / 2), Bound::AtLeast(pages / 4 * 3), Bound::AtLeast(pages)]
        },
        reason: "Pages that all TCP sockets together may queue: without pressure, under pressure, at most.",
        otherwise: "Above it the kernel shrinks windows and drops packets on every connection of the host.",
    },
    Row {
        name: "net.ipv4.tcp_max_tw_buckets",
        scope: Scope::Network,
        role: None,
        severity: advised,
        bounds: |_, goal| vec![Bound::AtLeast(signed(goal.connections))],
        reason: "Connections that this host closed first and that wait out their 60 s: as many as close in a minute.",
        otherwise: "They are cut short, and a late packet of an old connection can disturb a new one.",
    },
    Row {
        name: "net.ipv4.tcp_max_orphans",
        scope: Scope::HostNetwork,
        role: Some(Role::Server),
        severity: advised,
        bounds: |_, goal| vec![Bound::AtLeast(signed(goal.connections / 20))],
        reason: "Closed connections whose last bytes are still in flight: one in twenty at once.",
        otherwise: "When many connections close at once they are reset, and their peers lose the last message.",
    },
    Row {
        name: "net.ipv4.tcp_fin_timeout",
        scope: Scope::Network,
        role: None,
        severity: advised,
        bounds: |_, _| vec![Bound::AtMost(30)],
        reason: "The seconds that a peer has to close its side after this host has closed its own.",
        otherwise: "Peers that never close hold memory for 60 s each.",
    },
    Row {
        name: "net.ipv4.tcp_orphan_retries",
        scope: Scope::Network,
        role: Some(Role::Server),
        severity: advised,
        bounds: |_, _| vec![Bound::Between(1, 3, 3)],
        reason: "How often the last bytes are resent to a peer that is gone. 0 means 8.",
        otherwise: "A closed connection to a vanished peer holds its buffers for minutes.",
    },
    Row {
        name: "net.ipv4.tcp_notsent_lowat",
        scope: Scope::Network,
        role: Some(Role::Server),
        severity: advised,
        bounds: |_, _| vec![Bound::AtMost(131_072)],
        reason: "Unsent bytes in the kernel for one peer above which the server has to wait.",
        otherwise: "A slow peer's queue grows in the kernel, where no overflow policy can drop old messages.",
    },
    Row {
        name: "net.ipv4.tcp_slow_start_after_idle",
        scope: Scope::Network,
        role: None,
        severity: advised,
        bounds: |_, _| vec![Bound::exactly(0)],
        reason: "A WebSocket is silent most of the time, and its path is no worse for it.",
        otherwise: "After each silence a message of more than 14 KiB takes additional round trips.",
    },
    Row {
        name: "net.ipv4.tcp_timestamps",
        scope: Scope::Network,
        role: None,
        severity: advised,
        bounds: |_, _| vec![Bound::Between(1, 2, 1)],
        reason: "Round-trip times, and protection against packets of old connections, for 12 bytes per packet.",
        otherwise: "Retransmission timeouts are less accurate, and old packets can get into new connections.",
    },
    Row {
        name: "net.ipv4.tcp_moderate_rcvbuf",
        scope: Scope::Network,
        role: None,
        severity: advised,
        bounds: |_, _| vec![Bound::exactly(1)],
        reason: "The kernel adapts each socket's buffer to its peer, within tcp_rmem.",
        otherwise: "Every socket keeps its initial size, too small for some and too large for most.",
    },
    Row {
        name: "net.ipv4.tcp_migrate_req",
        scope: Scope::Network,
        role: Some(Role::Server),
        severity: advised,
        bounds: |_, _| vec![Bound::exactly(1)],
        reason: "When a listener closes, the connections in its queue move to another one on the same port.",
        otherwise: "During a restart with listen.share-port, connections that wait to be accepted are reset.",
    },
    Row {
        name: "net.core.netdev_max_backlog",
        scope: Scope::HostNetwork,
        role: None,
        severity: advised,
        bounds: |_, _| vec![Bound::AtLeast(10_000)],
        reason: "Packets that may wait for one processor, with packet spreading (RPS) and on loopback.",
        otherwise: "Bursts are dropped before TCP sees them (second column of /proc/net/softnet_stat).",
    },
    Row {
        name: "net.netfilter.nf_conntrack_buckets",
        scope: Scope::Host,
        role: None,
        severity: advised,
        bounds: |_, goal| vec![Bound::AtLeast(with_a_fifth_more(goal.connections))],
        reason: "The table in which connection tracking finds a connection: as many buckets as connections.",
        otherwise: "Each packet searches a longer chain.",
    },
    Row {
        name: "net.netfilter.nf_conntrack_max",
        scope: Scope::Host,
        role: None,
        severity: required_if_tracked,
        bounds: |_, goal| vec![Bound::AtLeast(with_a_fifth_more(goal.connections))],
        reason: "The limit of tracked connections. Better still: no tracking of the server's port (NOTRACK).",
        otherwise: "When it is full, packets of new connections are dropped (\"nf_conntrack: table full\" in dmesg).",
    },
    Row {
        name: "net.netfilter.nf_conntrack_tcp_timeout_established",
        scope: Scope::Network,
        role: Some(Role::Server),
        severity: advised,
        bounds: |_, _| vec![Bound::AtLeast(120)],
        reason: "Seconds of silence after which tracking drops a connection: twice the server's dead-peer timeout.",
        otherwise: "Silent connections are dropped between two pings, and a firewall rejects their next packets.",
    },
    Row {
        name: "vm.overcommit_memory",
        scope: Scope::Host,
        role: None,
        severity: advised,
        bounds: |_, _| vec![Bound::Between(0, 1, 0)],
        reason: "2 counts mapped memory as used, and allocators map ahead.",
        otherwise: "Allocations fail although memory is free, and the process is aborted.",
    },
    Row {
        name: "net.ipv4.ip_local_port_range",
        scope: Scope::Network,
        role: Some(Role::LoadGenerator),
        severity: advised,
        bounds: |host, _| {
            // The kernel rejects a range that begins below the first unprivileged port.
            let first = host.number("net.ipv4.ip_unprivileged_port_start").unwrap_or(1024).max(1024);
            vec![Bound::AtMost(first), Bound::AtLeast(65_535)]
        },
        reason: "The source ports per address to one server port. For more connections use more addresses (--source).",
        otherwise: "connect fails with EADDRNOTAVAIL after some 28,000 connections from one address.",
    },
    Row {
        name: "net.ipv4.tcp_tw_reuse",
        scope: Scope::Network,
        role: Some(Role::LoadGenerator),
        severity: advised,
        bounds: |_, _| vec![Bound::exactly(1)],
        reason: "Allows reuse of ports after one of the 60 s that closed connections wait; 2 means on loopback only.",
        otherwise: "A run that opens and closes continuously runs out of ports.",
    },
];
