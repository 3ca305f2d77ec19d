//! The settings of a host: for each the current value, the one that a goal needs, why, and how to change it.
//!
//! Pure: derives the list from a host as it was read and a goal. Reads and writes nothing.

use std::fmt::Display;

use super::bound::{adjust, target};
use super::goal::{Goal, Role, Severity};
use super::host::{Host, Sysctl};
use super::sysctls::{Row, Scope, TABLE};
use crate::units::Bytes;

/// A setting of a host, or a resource that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The name of the sysctl, limit or resource.
    pub name: &'static str,
    /// The current value.
    pub current: String,
    /// The value that the goal needs; the current one if that suffices.
    pub wanted: String,
    /// The state: fine, or whether it can be changed from here.
    pub state: State,
    /// The severity if it is not fine.
    pub severity: Severity,
    /// The kind of setting.
    pub kind: Kind,
    /// The reason why it matters.
    pub reason: String,
    /// The consequence of leaving it as it is.
    pub otherwise: String,
    /// The way to change it; empty if nothing has to be done.
    pub how: String,
}

/// The state of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It suffices.
    Fine,
    /// It does not suffice, and this user can change it from here.
    Change,
    /// It does not suffice, and cannot be changed from here: it takes another user, the container's host, or other
    /// hardware.
    OutOfReach,
}

/// The kind of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A sysctl.
    Sysctl,
    /// A limit of the process, set where it is started.
    Limit,
    /// A limit of the control group.
    Cgroup,
    /// A filter for system calls.
    Seccomp,
    /// A kernel parameter, set at boot or in /sys.
    Kernel,
    /// A hardware resource.
    Hardware,
}

impl Setting {
    /// Returns whether the setting suffices.
    pub fn is_fine(&self) -> bool {
        self.state == State::Fine
    }

    /// Returns whether the goal cannot be met without a change.
    pub fn is_missing(&self) -> bool {
        !self.is_fine() && self.severity == Severity::Required
    }

    /// Returns whether [`apply`](super::apply::apply) can write it here.
    pub fn can_be_applied(&self) -> bool {
        self.kind == Kind::Sysctl && self.state == State::Change
    }
}

/// The most processes suggested as a way around a low open-file limit.
const PROCESSES_MAX: u64 = 64;

/// Returns all settings that matter for the goal: first those of the process, then sysctls in writing order.
pub fn settings(host: &Host, goal: &Goal) -> Vec<Setting> {
    let own = [
        Some(memory(host, goal)),
        memory_of_group(host, goal),
        Some(processors(host, goal)),
        Some(open_files(host, goal)),
        Some(locked_memory(host, goal)),
        Some(io_uring(host)),
        hash_table(host, goal),
        receive_queues(host, goal),
        huge_pages(host),
        swap(host),
    ];
    let sysctls = TABLE.iter().filter(|row| row.role.is_none_or(|role| role == goal.role));
    own.into_iter().flatten().chain(sysctls.filter_map(|row| sysctl(row, host, goal))).collect()
}

/// Formats a number of bytes; `u64::MAX` is "unlimited".
pub fn bytes(bytes: u64) -> String {
    if bytes == u64::MAX { "unlimited".to_owned() } else { Bytes(bytes as f64).to_string() }
}

/// Returns a setting that is fine; [`Setting::unless`] covers the other case.
fn setting(
    name: &'static str,
    kind: Kind,
    severity: Severity,
    reason: impl Display,
    otherwise: impl Display,
) -> Setting {
    Setting {
        name,
        current: String::new(),
        wanted: String::new(),
        state: State::Fine,
        severity,
        kind,
        reason: reason.to_string(),
        otherwise: otherwise.to_string(),
        how: String::new(),
    }
}

impl Setting {
    /// Sets the current value and, unless it is fine, the needed value, the state and the way to change it.
    fn unless(mut self, fine: bool, current: String, wanted: String, state: State, how: impl Display) -> Self {
        self.wanted = if fine { current.clone() } else { wanted };
        self.current = current;
        if !fine {
            self.state = state;
            self.how = how.to_string();
        }
        self
    }
}

/// Returns the state of a setting made where the process is started, which is outside of a container.
fn outside_of_containers(host: &Host) -> State {
    if host.in_container { State::OutOfReach } else { State::Change }
}

fn memory(host: &Host, goal: &Goal) -> Setting {
    let (needed, there) = (goal.memory_bytes(), host.memory.available_bytes);
    let reason = format!(
        "An idle connection takes {} bytes, {} are in flight at once, and each core has its rings and buffers.",
        goal.idle_bytes_per_connection(),
        bytes(goal.queued_bytes()),
    );
    let otherwise = "The kernel refuses sockets, or kills a process to free memory.";
    let how = format!("{} of {} are available now: end other programs, or add memory.", bytes(there), {
        bytes(host.memory.total_bytes)
    });
    setting("memory", Kind::Hardware, Severity::Required, reason, otherwise).unless(
        there >= needed,
        bytes(there),
        bytes(needed),
        State::OutOfReach,
        how,
    )
}

fn memory_of_group(host: &Host, goal: &Goal) -> Option<Setting> {
    let (needed, allowed) = (goal.memory_bytes(), host.cgroup.memory_bytes?);
    let how = format!("MemoryMax={needed} in the unit, or docker run --memory {needed}.");
    let reason = "Sockets and their queued bytes count towards the control group of their process.";
    let otherwise = "The kernel kills the server when the group reaches its limit.";
    Some(setting("memory.max (cgroup)", Kind::Cgroup, Severity::Required, reason, otherwise).unless(
        allowed >= needed,
        bytes(allowed),
        bytes(needed),
        outside_of_containers(host),
        how,
    ))
}

fn processors(host: &Host, goal: &Goal) -> Setting {
    let there = host.usable_processors();
    let reason = "Each core is a thread that needs a processor of its own.";
    let otherwise = "Two cores share a processor and wait for each other: more latency for the same work.";
    let how = format!(
        "Use --cores {}, or allow more processors (CPUQuota= and AllowedCPUs= in the unit, docker run --cpus {}).",
        there.max(1),
        goal.cores
    );
    let state = if host.processors >= goal.cores { outside_of_containers(host) } else { State::OutOfReach };
    setting("processors", Kind::Hardware, Severity::Required, reason, otherwise).unless(
        there >= goal.cores,
        there.to_string(),
        goal.cores.to_string(),
        state,
        how,
    )
}

fn open_files(host: &Host, goal: &Goal) -> Setting {
    let Goal { role, .. } = *goal;
    let (wanted, hard) = (goal.descriptors(), host.open_files.hard);
    let severity = if role == Role::Server { Severity::Required } else { Severity::Advised };
    let reason = "Each connection is an open file of its process, which needs a few thousand more for everything else.";
    let otherwise = match role {
        Role::Server => "The server refuses to start with this many connections.",
        Role::LoadGenerator => "ringsock bench starts more processes, each with a share of the connections.",
    };
    let reserved = goal.descriptors_least() - goal.connections_per_process();
    let processes = goal.connections.div_ceil(hard.saturating_sub(reserved).max(1));
    let mut how = format!(
        "LimitNOFILE={wanted} in the unit, * hard nofile {wanted} in limits.conf, or docker run --ulimit \
         nofile={wanted}:{wanted}."
    );
    if role == Role::Server && processes <= PROCESSES_MAX {
        how += &format!(" Without that: {processes} processes with listen.share-port (--processes {processes}).");
    }
    setting("open files (RLIMIT_NOFILE)", Kind::Limit, severity, reason, otherwise).unless(
        hard >= goal.descriptors_least(),
        count(hard),
        count(wanted),
        outside_of_containers(host),
        how,
    )
}

fn locked_memory(host: &Host, goal: &Goal) -> Setting {
    let (needed, hard) = (goal.locked_bytes(), host.locked_memory.hard);
    let reason = "The rings of all cores of one user count as locked memory, some 0.9 MiB each.";
    let otherwise = "If one core cannot create its ring, all of them use epoll.";
    let how = "LimitMEMLOCK=infinity in the unit, * hard memlock unlimited in limits.conf, or docker run --ulimit \
               memlock=-1.";
    // Without io_uring no ring is created.
    let fine = host.may_lock_memory || hard >= needed || host.io_uring.is_err();
    setting("locked memory (RLIMIT_MEMLOCK)", Kind::Limit, Severity::Required, reason, otherwise).unless(
        fine,
        bytes(hard),
        bytes(needed),
        outside_of_containers(host),
        how,
    )
}

fn io_uring(host: &Host) -> Setting {
    let reason = "The faster of the two reactors.";
    let otherwise = "The server runs on epoll, which costs more per message.";
    let works = host.io_uring.is_ok();
    let current = host.io_uring.clone().err().map_or("works".to_owned(), |error| format!("fails: {error}"));
    let disabled = host.number("kernel.io_uring_disabled").is_some_and(|value| value != 0);
    let (kind, state, how) = if disabled {
        (Kind::Kernel, State::OutOfReach, "See kernel.io_uring_disabled.")
    } else if !host.is_at_least(6, 1) {
        (Kind::Kernel, State::OutOfReach, "Boot Linux 6.1 or newer.")
    } else {
        let how = "Allow io_uring_setup, io_uring_enter and io_uring_register: docker run --security-opt \
                   seccomp=tuning/seccomp.json, or SystemCallFilter= in the unit.";
        (Kind::Seccomp, outside_of_containers(host), how)
    };
    setting("io_uring", kind, Severity::Advised, reason, otherwise).unless(
        works,
        current,
        "works".to_owned(),
        state,
        how,
    )
}

fn hash_table(host: &Host, goal: &Goal) -> Option<Setting> {
    // A namespace that shares the host's table shows its size as a negative number.
    let entries = host.number("net.ipv4.tcp_ehash_entries")?.unsigned_abs();
    let wanted = (goal.connections / 2).max(1).next_power_of_two();
    let reason = "The table in which the kernel finds a packet's connection: one entry for two connections.";
    let otherwise = "Each packet searches a longer chain.";
    let (state, how) = if host.has_own_network() {
        let how = format!(
            "On the host, before the namespace is created: sysctl -w net.ipv4.tcp_child_ehash_entries={}; or \
             thash_entries={wanted} on the kernel's command line.",
            wanted.min(1 << 24)
        );
        (State::OutOfReach, how)
    } else {
        (outside_of_containers(host), format!("thash_entries={wanted} on the kernel's command line, then reboot."))
    };
    Some(setting("TCP hash table (thash_entries)", Kind::Kernel, Severity::Advised, reason, otherwise).unless(
        entries >= wanted,
        count(entries),
        count(wanted),
        state,
        how,
    ))
}

fn receive_queues(host: &Host, goal: &Goal) -> Option<Setting> {
    let narrowest = host.interfaces.iter().min_by_key(|interface| (interface.is_spread, interface.receive_queues))?;
    let enough = |queues: u64| queues >= goal.cores.min(host.processors);
    let fine = host.interfaces.iter().all(|interface| interface.is_spread || enough(interface.receive_queues));
    let reason = "A received packet is processed by the processor that its queue of the network card interrupts.";
    let otherwise = "One processor does that work for all cores, and is the first to be saturated.";
    let spread = if narrowest.is_spread { ", spread (RPS)" } else { "" };
    let current = format!("{} on {}{spread}", narrowest.receive_queues, narrowest.name);
    let wanted = format!("{}, or spread (RPS)", goal.cores.min(host.processors));
    let how = "tuning/irq.sh shows what to change, and changes it with --apply.";
    Some(setting("receive queues", Kind::Kernel, Severity::Advised, reason, otherwise).unless(
        fine,
        current,
        wanted,
        outside_of_containers(host),
        how,
    ))
}

fn huge_pages(host: &Host) -> Option<Setting> {
    let current = host.huge_pages.clone()?;
    let reason = "Sessions allocate and free memory in small pieces.";
    let otherwise = "Memory grows in steps of 2 MiB, and less of it is returned.";
    let how = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, or transparent_hugepage=madvise on the \
               kernel's command line.";
    Some(setting("transparent huge pages", Kind::Kernel, Severity::Advised, reason, otherwise).unless(
        current != "always",
        current,
        "madvise".to_owned(),
        outside_of_containers(host),
        how,
    ))
}

fn swap(host: &Host) -> Option<Setting> {
    if host.memory.swap_bytes == 0 {
        return None;
    }
    let there = host.usable_swap_bytes();
    let reason = "The kernel swaps out connections first that have been silent for minutes.";
    let otherwise = "Their next message waits for the disk, and so does every session on the same core.";
    let how = "MemorySwapMax=0 in the unit, or docker run with --memory-swap equal to --memory.";
    Some(setting("swap", Kind::Cgroup, Severity::Advised, reason, otherwise).unless(
        there == 0,
        bytes(there),
        "none for the server".to_owned(),
        outside_of_containers(host),
        how,
    ))
}

fn sysctl(row: &Row, host: &Host, goal: &Goal) -> Option<Setting> {
    let bounds = (row.bounds)(host, goal);
    let described = setting(row.name, Kind::Sysctl, (row.severity)(host, goal), row.reason, row.otherwise);
    let Some(Sysctl { value, is_writable }) = host.sysctls.get(row.name) else {
        // A sysctl that does not exist does no harm, but one that is only hidden may, even if its value may suffice.
        let hidden = row.scope == Scope::HostNetwork && host.has_own_network();
        let wanted = target(&bounds);
        let how = format!("On the host, as root: ringsock tune --connections {} shows it.", goal.connections);
        return hidden.then(|| described.unless(false, "not visible".to_owned(), wanted, State::OutOfReach, how));
    };
    let wanted = adjust(&bounds, value);
    let is_ours = row.scope == Scope::Network || !host.has_own_network();
    let (state, how) = if is_ours && *is_writable {
        (State::Change, "ringsock tune --apply until the next boot, --write-sysctl FILE for every boot.".to_owned())
    } else if row.scope == Scope::Network && host.has_own_network() {
        let setting = quoted(row.name, &wanted);
        let how = format!("docker run --sysctl {setting}, or securityContext.sysctls of the pod.");
        (State::OutOfReach, how)
    } else if host.in_container || host.has_own_network() {
        (State::OutOfReach, on_the_host(row.name, &wanted))
    } else {
        (State::OutOfReach, "As root: ringsock tune --apply.".to_owned())
    };
    Some(described.unless(wanted == *value, value.clone(), wanted, state, how))
}

fn on_the_host(name: &str, value: &str) -> String {
    format!("On the host, as root: sysctl -w {}, or ringsock tune --apply there.", quoted(name, value))
}

/// Quotes a value for a shell.
fn quoted(name: &str, value: &str) -> String {
    if value.contains(' ') { format!("{name}=\"{value}\"") } else { format!("{name}={value}") }
}

fn count(value: u64) -> String {
    if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() }
}
