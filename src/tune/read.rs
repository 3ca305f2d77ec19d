//! Reads a host from /proc and /sys below any root, so that a test can lay out a host of its own.
//!
//! Only reads. Values that cannot be read are left out, or taken as the kernel's defaults.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use super::bound::normalized;
use super::host::{Cgroup, Host, Interface, Limit, Memory, Sysctl};
use super::sysctls;
use crate::proc::{bytes_after, rest_after, word_after};

/// Sysctls that are read, but never recommended for change.
const ALSO_READ: &[&str] = &[
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_ehash_entries",
    "net.netfilter.nf_conntrack_count",
];

/// The value that means "no limit" in control groups of version 1: the largest number of whole pages.
const NO_LIMIT_FROM: u64 = 1 << 62;

/// CAP_IPC_LOCK, as a bit of the effective capabilities.
const IPC_LOCK: u32 = 14;

/// AT_PAGESZ of the auxiliary vector.
const PAGE_SIZE_KEY: u64 = 6;

impl Host {
    /// Reads the host whose files are below `root`; `/` is this host.
    pub fn read(root: &Path, io_uring: Result<(), String>) -> Self {
        let files = Files { root };
        let status = files.text("proc/self/status");
        let limits = files.text("proc/self/limits");
        let memory = files.text("proc/meminfo");
        let bytes = |name: &str| bytes_after(&memory, name).unwrap_or(0);
        let sysctls = files.sysctls();
        // These exist only in the host's initial network namespace.
        let has_own_network = sysctls.contains_key("net.ipv4.tcp_rmem")
            && !sysctls.contains_key("net.ipv4.tcp_mem")
            && !sysctls.contains_key("net.core.netdev_max_backlog");
        let network = fs::read_link(files.path("proc/self/ns/net")).unwrap_or_default();
        Self {
            kernel: files.text("proc/sys/kernel/osrelease").trim().to_owned(),
            processors: word_after(&status, "Cpus_allowed_list:").map_or(1, processors_in).max(1),
            memory: Memory {
                total_bytes: bytes("MemTotal:"),
                available_bytes: bytes("MemAvailable:"),
                swap_bytes: bytes("SwapTotal:"),
            },
            page_bytes: files.page_bytes().unwrap_or(4096),
            open_files: limit(&limits, "Max open files"),
            locked_memory: limit(&limits, "Max locked memory"),
            may_lock_memory: word_after(&status, "CapEff:")
                .and_then(|bits| u64::from_str_radix(bits, 16).ok())
                .is_some_and(|bits| bits >> IPC_LOCK & 1 == 1),
            cgroup: files.cgroup(),
            is_filtered: word_after(&status, "Seccomp:") == Some("2"),
            io_uring,
            huge_pages: chosen(&files.text("sys/kernel/mm/transparent_hugepage/enabled")),
            congestion_control: sysctls.get("net.ipv4.tcp_congestion_control").map(|sysctl| sysctl.value.clone()),
            in_container: files.in_container(),
            own_network: has_own_network.then(|| network.display().to_string()),
            interfaces: files.interfaces(),
            sysctls,
        }
    }
}

/// The files below a root.
struct Files<'a> {
    root: &'a Path,
}

impl Files<'_> {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Returns the content of a file, or an empty text if it cannot be read.
    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    fn sysctls(&self) -> BTreeMap<&'static str, Sysctl> {
        let names = sysctls::TABLE.iter().map(|row| row.name).chain(ALSO_READ.iter().copied());
        let read = names.filter_map(|name| {
            let path = sysctls::path(self.root, name);
            let value = normalized(&fs::read_to_string(&path).ok()?);
            // Opening checks permission at the kernel, and whether /proc is mounted read-only.
            let is_writable = OpenOptions::new().write(true).open(&path).is_ok();
            Some((name, Sysctl { value, is_writable }))
        });
        read.collect()
    }

    fn page_bytes(&self) -> Option<u64> {
        let vector = fs::read(self.path("proc/self/auxv")).ok()?;
        let words = vector.chunks_exact(size_of::<usize>());
        let words: Vec<u64> =
            words.filter_map(|word| Some(usize::from_ne_bytes(word.try_into().ok()?) as u64)).collect();
        words.chunks_exact(2).find(|pair| pair[0] == PAGE_SIZE_KEY).map(|pair| pair[1])
    }

    fn in_container(&self) -> bool {
        let marked = [".dockerenv", "run/.containerenv"].iter().any(|mark| self.path(mark).exists());
        marked || self.text("proc/1/environ").split('\0').any(|variable| variable.starts_with("container="))
    }

    /// Returns the tightest limits of this process' control group and its ancestors, in version 1 or 2.
    fn cgroup(&self) -> Cgroup {
        let groups = self.text("proc/self/cgroup");
        let mut allowed = Cgroup::default();
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(id), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            if id == "0" {
                for directory in self.group_and_above(&["sys/fs/cgroup", "sys/fs/cgroup/unified"], path) {
                    allowed.tighten(&self.group_v2(&directory));
                }
                continue;
            }
            let controllers: Vec<&str> = controllers.split(',').collect();
            if controllers.contains(&"memory") {
                for directory in self.group_and_above(&["sys/fs/cgroup/memory"], path) {
                    allowed.tighten(&self.group_v1_memory(&directory));
                }
            }
            if controllers.contains(&"cpu") {
                for directory in self.group_and_above(&["sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"], path) {
                    allowed.tighten(&self.group_v1_cpu(&directory));
                }
            }
        }
        allowed
    }

    /// Returns the existing directories of a group and its ancestors. A container may see its own group at the mount
    /// point, but with the path that the host uses, so missing directories are skipped.
    fn group_and_above(&self, mounts: &[&str], path: &str) -> Vec<PathBuf> {
        let group = Path::new(path.trim_start_matches('/'));
        let mut found = Vec::new();
        for mount in mounts {
            found.extend(group.ancestors().map(|part| self.path(mount).join(part)).filter(|path| path.is_dir()));
        }
        found
    }

    fn group_v2(&self, directory: &Path) -> Cgroup {
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
        let cpu = read("cpu.max");
        let mut cpu = cpu.split_whitespace().map(number);
        Cgroup {
            memory_bytes: number(read("memory.max").trim()),
            swap_bytes: number(read("memory.swap.max").trim()),
            processors: quota(cpu.next().flatten(), cpu.next().flatten()),
        }
    }

    fn group_v1_memory(&self, directory: &Path) -> Cgroup {
        let read = |name: &str| {
            let bytes = number(fs::read_to_string(directory.join(name)).ok()?.trim())?;
            (bytes < NO_LIMIT_FROM).then_some(bytes)
        };
        let memory_bytes = read("memory.limit_in_bytes");
        let both = read("memory.memsw.limit_in_bytes");
        let swap_bytes = both.zip(memory_bytes).map(|(both, memory)| both.saturating_sub(memory));
        Cgroup { memory_bytes, swap_bytes, processors: None }
    }

    fn group_v1_cpu(&self, directory: &Path) -> Cgroup {
        let read = |name: &str| number(fs::read_to_string(directory.join(name)).ok()?.trim());
        Cgroup { processors: quota(read("cpu.cfs_quota_us"), read("cpu.cfs_period_us")), ..Cgroup::default() }
    }

    /// Returns the interfaces with a device; bridges, tunnels and the container ends of pairs have none.
    fn interfaces(&self) -> Vec<Interface> {
        let Ok(entries) = fs::read_dir(self.path("sys/class/net")) else { return Vec::new() };
        let entries = entries.filter_map(Result::ok).filter(|entry| entry.path().join("device").exists());
        let mut interfaces: Vec<Interface> = entries.map(|entry| interface(&entry.path())).collect();
        interfaces.sort_by(|one, other| one.name.cmp(&other.name));
        interfaces
    }
}

impl Cgroup {
    /// Tightens each limit to the lower of the two.
    fn tighten(&mut self, other: &Cgroup) {
        fn least<T: PartialOrd>(one: Option<T>, other: Option<T>) -> Option<T> {
            match (one, other) {
                (Some(one), Some(other)) => Some(if other < one { other } else { one }),
                (one, other) => one.or(other),
            }
        }
        self.memory_bytes = least(self.memory_bytes, other.memory_bytes);
        self.swap_bytes = least(self.swap_bytes, other.swap_bytes);
        self.processors = least(self.processors, other.processors);
    }
}

fn interface(path: &Path) -> Interface {
    let queues = fs::read_dir(path.join("queues")).map(Vec::from_iter).unwrap_or_default();
    let queues = queues.into_iter().filter_map(Result::ok).map(|entry| entry.path());
    let receiving: Vec<PathBuf> = queues
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("rx-")))
        .collect();
    let is_spread = receiving.iter().any(|path| {
        let mask = fs::read_to_string(path.join("rps_cpus")).unwrap_or_default();
        mask.chars().any(|c| c.is_ascii_hexdigit() && c != '0')
    });
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Interface { name, receive_queues: receiving.len() as u64, is_spread }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

fn quota(quota_us: Option<u64>, period_us: Option<u64>) -> Option<f64> {
    let (quota, period) = quota_us.zip(period_us)?;
    (period > 0).then(|| quota as f64 / period as f64)
}

/// Parses a row of /proc/self/limits; a missing row means no limit.
fn limit(limits: &str, name: &str) -> Limit {
    let rest = rest_after(limits, name).unwrap_or_default();
    let mut values = rest.split_whitespace().map(|word| number(word).unwrap_or(u64::MAX));
    Limit { soft: values.next().unwrap_or(u64::MAX), hard: values.next().unwrap_or(u64::MAX) }
}

/// Counts the processors in a list such as 0-3,8.
fn processors_in(list: &str) -> u64 {
    let ranges = list.split(',').filter_map(|range| match range.split_once('-') {
        Some((first, last)) => Some(number(last)?.checked_sub(number(first)?)? + 1),
        None => number(range).map(|_| 1),
    });
    ranges.sum()
}

/// Returns the choice in brackets.
fn chosen(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_understood() {
        let host = Host::read(Path::new("/"), Ok(()));
        assert!(host.is_at_least(3, 0) && !host.is_at_least(100, 0), "{}", host.kernel);
        assert!(host.processors >= 1 && host.page_bytes.is_power_of_two(), "{host:?}");
        assert!(host.memory.total_bytes > 100 << 20 && host.memory.available_bytes <= host.memory.total_bytes);
        assert!(host.open_files.soft >= 3 && host.open_files.soft <= host.open_files.hard, "{host:?}");
        assert!(host.sysctls["fs.nr_open"].value.parse::<u64>().unwrap() >= 1024);
    }

    #[test]
    fn a_root_without_files_gives_a_host_of_defaults() {
        let host = Host::read(Path::new("/nonexistent"), Err("no".to_owned()));
        assert_eq!((host.processors, host.page_bytes, host.memory.total_bytes), (1, 4096, 0));
        assert_eq!(host.open_files, Limit { soft: u64::MAX, hard: u64::MAX });
        assert!(host.sysctls.is_empty() && !host.in_container && !host.has_own_network());
    }

    #[test]
    fn formats_of_the_kernel_are_parsed() {
        assert_eq!(processors_in("0-3,8"), 5);
        assert_eq!(processors_in("7"), 1);
        assert_eq!(processors_in("nonsense,3-1"), 0);
        assert_eq!(chosen("always [madvise] never\n").as_deref(), Some("madvise"));
        assert_eq!(quota(Some(150_000), Some(100_000)), Some(1.5));
        assert_eq!(quota(None, Some(100_000)), None);
        let limits = "Max open files            1024                 524288               files     \n\
                      Max locked memory         unlimited            unlimited            bytes     \n";
        assert_eq!(limit(limits, "Max open files"), Limit { soft: 1024, hard: 524_288 });
        assert_eq!(limit(limits, "Max locked memory").soft, u64::MAX);
    }
}
