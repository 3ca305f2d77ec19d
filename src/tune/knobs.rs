//! The knobs of a host: what each is, what it has to be for a goal, why, what happens otherwise, and who can turn it.
//!
//! Pure: a host as it was read and a goal make the list. Nothing is read or written here.

use std::fmt::Display;

use super::bound::{bring, target};
use super::goal::{Goal, Role, Weight};
use super::host::{Host, Sysctl};
use super::sysctls::{Row, Scope, TABLE};

/// One thing that can be set, bought or allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knob {
    /// Its name: that of the sysctl or limit where there is one.
    pub name: &'static str,
    /// What it is.
    pub current: String,
    /// What it has to be, the same if that is good enough.
    pub wanted: String,
    /// Whether it is good enough, and if not, whether it can be changed from here.
    pub state: State,
    /// Whether the goal depends on it.
    pub weight: Weight,
    /// What kind of thing it is.
    pub reach: Reach,
    /// Why it matters.
    pub reason: String,
    /// What happens if it stays as it is.
    pub otherwise: String,
    /// What to do and where; empty if nothing is to be done.
    pub how: String,
}

/// Whether a knob is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is.
    Fine,
    /// It is not, and whoever runs this can change it.
    Change,
    /// It is not, and it cannot be changed from here: it takes another user, the container's host, or other hardware.
    OutOfReach,
}

/// What kind of thing a knob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A sysctl.
    Sysctl,
    /// A limit of the process, set by whoever starts it.
    Limit,
    /// A limit of its control group.
    Cgroup,
    /// A filter of system calls.
    Seccomp,
    /// A choice made when the kernel starts, or below /sys.
    Kernel,
    /// Something to buy.
    Hardware,
}

impl Knob {
    /// Whether it is good enough.
    pub fn is_fine(&self) -> bool {
        self.state == State::Fine
    }

    /// Whether the goal fails on it.
    pub fn is_missing(&self) -> bool {
        !self.is_fine() && self.weight == Weight::Required
    }

    /// Whether [`apply`](super::apply::apply) can write it here.
    pub fn can_be_applied(&self) -> bool {
        self.reach == Reach::Sysctl && self.state == State::Change
    }
}

/// More processes than these are no way out of a limit of open files that is too low.
const PROCESSES_MAX: u64 = 64;

/// Every knob that matters for the goal, those of the process first, sysctls in the order in which they are written.
pub fn knobs(host: &Host, goal: &Goal) -> Vec<Knob> {
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

/// Bytes for people.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes == u64::MAX {
        return "unlimited".to_owned();
    }
    let mut value = bytes as f64;
    let mut unit = "bytes";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "bytes" || value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// A knob that is fine as it is; [`Knob::unless`] tells of the other case.
fn knob(name: &'static str, reach: Reach, weight: Weight, reason: impl Display, otherwise: impl Display) -> Knob {
    Knob {
        name,
        current: String::new(),
        wanted: String::new(),
        state: State::Fine,
        weight,
        reach,
        reason: reason.to_string(),
        otherwise: otherwise.to_string(),
        how: String::new(),
    }
}

impl Knob {
    /// What it is, and, unless it is fine, what it has to be and how it becomes so.
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

/// For what is set where the process is started: from inside a container it cannot be.
fn outside_of_containers(host: &Host) -> State {
    if host.in_container { State::OutOfReach } else { State::Change }
}

fn memory(host: &Host, goal: &Goal) -> Knob {
    let (needed, there) = (goal.memory_bytes(), host.memory.available_bytes);
    let reason = format!(
        "An idle connection takes {} bytes, {} are under way at once, and each core has its rings and buffers.",
        goal.idle_bytes_per_connection(),
        bytes(goal.queued_bytes()),
    );
    let otherwise = "The kernel refuses sockets, or ends a process to have memory.";
    let how = format!("{} of {} are available now: end what takes the rest, or give it more memory.", bytes(there), {
        bytes(host.memory.total_bytes)
    });
    knob("memory", Reach::Hardware, Weight::Required, reason, otherwise).unless(
        there >= needed,
        bytes(there),
        bytes(needed),
        State::OutOfReach,
        how,
    )
}

fn memory_of_group(host: &Host, goal: &Goal) -> Option<Knob> {
    let (needed, allowed) = (goal.memory_bytes(), host.cgroup.memory_bytes?);
    let how = format!("MemoryMax={needed} in the unit, or docker run --memory {needed}.");
    let reason = "Sockets and what they have queued count for the control group of the process that holds them.";
    let otherwise = "The kernel ends the server when the group is at its limit.";
    Some(knob("memory.max (cgroup)", Reach::Cgroup, Weight::Required, reason, otherwise).unless(
        allowed >= needed,
        bytes(allowed),
        bytes(needed),
        outside_of_containers(host),
        how,
    ))
}

fn processors(host: &Host, goal: &Goal) -> Knob {
    let there = host.processors_there();
    let reason = "Each core is a thread that has a processor to itself.";
    let otherwise = "Two cores share a processor, and each waits for the other: more latency for the same work.";
    let how = format!(
        "Use --cores {}, or give it more processors (CPUQuota= and AllowedCPUs= in the unit, docker run --cpus {}).",
        there.max(1),
        goal.cores
    );
    let state = if host.processors >= goal.cores { outside_of_containers(host) } else { State::OutOfReach };
    knob("processors", Reach::Hardware, Weight::Required, reason, otherwise).unless(
        there >= goal.cores,
        there.to_string(),
        goal.cores.to_string(),
        state,
        how,
    )
}

fn open_files(host: &Host, goal: &Goal) -> Knob {
    let Goal { role, .. } = *goal;
    let (wanted, hard) = (goal.descriptors(), host.open_files.hard);
    let weight = if role == Role::Server { Weight::Required } else { Weight::Advised };
    let reason = "Each connection is an open file of its process, and some thousand more are for everything else.";
    let otherwise = match role {
        Role::Server => "The server refuses to start with so many connections.",
        Role::LoadGenerator => "ringsock bench starts more processes, each with a share of the connections.",
    };
    let reserved = goal.descriptors_least() - goal.connections_per_process();
    let processes = goal.connections.div_ceil(hard.saturating_sub(reserved).max(1));
    let mut how = format!(
        "LimitNOFILE={wanted} in the unit, * hard nofile {wanted} in limits.conf, or docker run --ulimit nofile={wanted}:{wanted}."
    );
    if role == Role::Server && processes <= PROCESSES_MAX {
        how += &format!(" Without that: {processes} processes with listen.share-port (--processes {processes}).");
    }
    knob("open files (RLIMIT_NOFILE)", Reach::Limit, weight, reason, otherwise).unless(
        hard >= goal.descriptors_least(),
        count(hard),
        count(wanted),
        outside_of_containers(host),
        how,
    )
}

fn locked_memory(host: &Host, goal: &Goal) -> Knob {
    let (needed, hard) = (goal.locked_bytes(), host.locked_memory.hard);
    let reason = "The rings of all cores of one user count as locked memory, some 0.9 MiB each.";
    let otherwise = "If one core cannot have its ring, all of them run on epoll.";
    let how = "LimitMEMLOCK=infinity in the unit, * hard memlock unlimited in limits.conf, or docker run --ulimit memlock=-1.";
    // Nobody asks for a ring where there is none to be had.
    let fine = host.may_lock_memory || hard >= needed || host.io_uring.is_err();
    knob("locked memory (RLIMIT_MEMLOCK)", Reach::Limit, Weight::Required, reason, otherwise).unless(
        fine,
        bytes(hard),
        bytes(needed),
        outside_of_containers(host),
        how,
    )
}

fn io_uring(host: &Host) -> Knob {
    let reason = "The faster of the two reactors.";
    let otherwise = "The server runs on epoll, which costs more for each message.";
    let works = host.io_uring.is_ok();
    let current = host.io_uring.clone().err().map_or("works".to_owned(), |error| format!("fails: {error}"));
    let disabled = host.number("kernel.io_uring_disabled").is_some_and(|value| value != 0);
    let (reach, state, how) = if disabled {
        (Reach::Kernel, State::OutOfReach, "See kernel.io_uring_disabled.")
    } else if !host.is_at_least(6, 1) {
        (Reach::Kernel, State::OutOfReach, "Boot Linux 6.1 or newer.")
    } else {
        let how = "Allow io_uring_setup, io_uring_enter and io_uring_register: docker run --security-opt \
                   seccomp=tuning/seccomp.json, or SystemCallFilter= in the unit.";
        (Reach::Seccomp, outside_of_containers(host), how)
    };
    knob("io_uring", reach, Weight::Advised, reason, otherwise).unless(works, current, "works".to_owned(), state, how)
}

fn hash_table(host: &Host, goal: &Goal) -> Option<Knob> {
    // A namespace that uses the host's table shows its size as a negative number.
    let entries = host.number("net.ipv4.tcp_ehash_entries")?.unsigned_abs();
    let wanted = (goal.connections / 2).max(1).next_power_of_two();
    let reason = "The table in which the kernel finds a packet's connection: one entry for two connections.";
    let otherwise = "Every packet walks a longer chain.";
    let (state, how) = if host.has_own_network {
        let how = format!(
            "On the host, before the namespace is made: sysctl -w net.ipv4.tcp_child_ehash_entries={}; or \
             thash_entries={wanted} on the kernel's command line.",
            wanted.min(1 << 24)
        );
        (State::OutOfReach, how)
    } else {
        (outside_of_containers(host), format!("thash_entries={wanted} on the kernel's command line, and boot."))
    };
    Some(knob("TCP hash table (thash_entries)", Reach::Kernel, Weight::Advised, reason, otherwise).unless(
        entries >= wanted,
        count(entries),
        count(wanted),
        state,
        how,
    ))
}

fn receive_queues(host: &Host, goal: &Goal) -> Option<Knob> {
    let narrowest = host.interfaces.iter().min_by_key(|interface| (interface.is_spread, interface.receive_queues))?;
    let enough = |queues: u64| queues >= goal.cores.min(host.processors);
    let fine = host.interfaces.iter().all(|interface| interface.is_spread || enough(interface.receive_queues));
    let reason = "Packets are taken in by the processor that a queue of the network card interrupts.";
    let otherwise = "One processor does that work for all cores, and is the first to be full.";
    let spread = if narrowest.is_spread { ", spread (RPS)" } else { "" };
    let current = format!("{} on {}{spread}", narrowest.receive_queues, narrowest.name);
    let wanted = format!("{}, or spread (RPS)", goal.cores.min(host.processors));
    let how = "tuning/irq.sh shows what to change, and does it with --apply.";
    Some(knob("receive queues", Reach::Kernel, Weight::Advised, reason, otherwise).unless(
        fine,
        current,
        wanted,
        outside_of_containers(host),
        how,
    ))
}

fn huge_pages(host: &Host) -> Option<Knob> {
    let current = host.huge_pages.clone()?;
    let reason = "Memory of sessions comes and goes in small pieces.";
    let otherwise = "It grows in steps of 2 MiB, and gives back less of it.";
    let how = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, or transparent_hugepage=madvise on the kernel's command line.";
    Some(knob("transparent huge pages", Reach::Kernel, Weight::Advised, reason, otherwise).unless(
        current != "always",
        current,
        "madvise".to_owned(),
        outside_of_containers(host),
        how,
    ))
}

fn swap(host: &Host) -> Option<Knob> {
    if host.memory.swap_bytes == 0 {
        return None;
    }
    let there = host.swap_there_bytes();
    let reason = "A connection that is silent for minutes is what the kernel would swap out first.";
    let otherwise = "Its next message waits for the disk, and so does everyone else on the same core.";
    let how = "MemorySwapMax=0 in the unit, or docker run with --memory-swap equal to --memory.";
    Some(knob("swap", Reach::Cgroup, Weight::Advised, reason, otherwise).unless(
        there == 0,
        bytes(there),
        "none for the server".to_owned(),
        outside_of_containers(host),
        how,
    ))
}

fn sysctl(row: &Row, host: &Host, goal: &Goal) -> Option<Knob> {
    let bounds = (row.bounds)(host, goal);
    let described = knob(row.name, Reach::Sysctl, (row.weight)(host, goal), row.reason, row.otherwise);
    let Some(Sysctl { value, is_writable }) = host.sysctls.get(row.name) else {
        // What the kernel does not have does no harm, but what it only hides may. It may be better than wanted, too.
        let hidden = row.scope == Scope::HostNetwork && host.has_own_network;
        let wanted = target(&bounds);
        let how = format!("On the host, as root: ringsock tune --connections {} says.", goal.connections);
        return hidden.then(|| described.unless(false, "not visible".to_owned(), wanted, State::OutOfReach, how));
    };
    let wanted = bring(&bounds, value);
    let is_ours = row.scope == Scope::Network || !host.has_own_network;
    let (state, how) = if is_ours && *is_writable {
        (State::Change, "ringsock tune --apply for now, --write-sysctl FILE for every start.".to_owned())
    } else if row.scope == Scope::Network && host.has_own_network {
        let setting = quoted(row.name, &wanted);
        let how = format!("docker run --sysctl {setting}, or securityContext.sysctls of the pod.");
        (State::OutOfReach, how)
    } else if host.in_container || host.has_own_network {
        (State::OutOfReach, on_the_host(row.name, &wanted))
    } else {
        (State::OutOfReach, "As root: ringsock tune --apply.".to_owned())
    };
    Some(described.unless(wanted == *value, value.clone(), wanted, state, how))
}

fn on_the_host(name: &str, value: &str) -> String {
    format!("On the host, as root: sysctl -w {}, or ringsock tune --apply there.", quoted(name, value))
}

/// As a shell takes it.
fn quoted(name: &str, value: &str) -> String {
    if value.contains(' ') { format!("{name}=\"{value}\"") } else { format!("{name}={value}") }
}

fn count(value: u64) -> String {
    if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_the_unit_that_fits() {
        for (value, shown) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (8 << 20, "8 MiB"),
            (25_276_035_072, "23.5 GiB"),
            (u64::MAX, "unlimited"),
        ] {
            assert_eq!(bytes(value), shown);
        }
    }
}
