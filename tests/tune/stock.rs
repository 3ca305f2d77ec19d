//! Hosts as files below a directory: /proc and /sys of a Debian 12 with 16 processors and 64 GiB, as installed.

use std::fs;
use std::path::{Path, PathBuf};

use ringsock::tune::{Goal, Host, Setting, settings};

/// The goal that the files are prepared for.
pub const MILLION: Goal = Goal { connections: 1_000_000, cores: 16, role: ringsock::tune::Role::Server, processes: 1 };

/// The sysctls of a fresh host.
const SYSCTLS: &[(&str, &str)] = &[
    ("fs.file-max", "9223372036854775807"),
    ("fs.nr_open", "1048576"),
    ("kernel.io_uring_disabled", "0"),
    ("kernel.osrelease", "6.12.41-amd64"),
    ("net.core.netdev_max_backlog", "1000"),
    ("net.core.somaxconn", "4096"),
    ("net.ipv4.ip_local_port_range", "32768\t60999"),
    ("net.ipv4.ip_unprivileged_port_start", "1024"),
    ("net.ipv4.tcp_congestion_control", "cubic"),
    ("net.ipv4.tcp_ehash_entries", "524288"),
    ("net.ipv4.tcp_fin_timeout", "60"),
    ("net.ipv4.tcp_max_orphans", "262144"),
    ("net.ipv4.tcp_max_syn_backlog", "4096"),
    ("net.ipv4.tcp_max_tw_buckets", "262144"),
    ("net.ipv4.tcp_mem", "768000\t1024000\t1536000"),
    ("net.ipv4.tcp_migrate_req", "0"),
    ("net.ipv4.tcp_moderate_rcvbuf", "1"),
    ("net.ipv4.tcp_notsent_lowat", "4294967295"),
    ("net.ipv4.tcp_orphan_retries", "0"),
    ("net.ipv4.tcp_rmem", "4096\t131072\t6291456"),
    ("net.ipv4.tcp_slow_start_after_idle", "1"),
    ("net.ipv4.tcp_synack_retries", "5"),
    ("net.ipv4.tcp_syncookies", "1"),
    ("net.ipv4.tcp_timestamps", "1"),
    ("net.ipv4.tcp_tw_reuse", "2"),
    ("net.ipv4.tcp_wmem", "4096\t16384\t4194304"),
    ("net.netfilter.nf_conntrack_buckets", "262144"),
    ("net.netfilter.nf_conntrack_count", "12"),
    ("net.netfilter.nf_conntrack_max", "262144"),
    ("net.netfilter.nf_conntrack_tcp_timeout_established", "432000"),
    ("vm.overcommit_memory", "0"),
];

/// The sysctls that a million connections on 16 cores need, by the rules; the others are good as they are.
pub const FOR_A_MILLION: &[(&str, &str)] = &[
    ("fs.nr_open", "1100000"),
    ("net.core.netdev_max_backlog", "10000"),
    ("net.core.somaxconn", "65535"),
    ("net.ipv4.tcp_fin_timeout", "30"),
    ("net.ipv4.tcp_max_syn_backlog", "65536"),
    ("net.ipv4.tcp_max_tw_buckets", "1000000"),
    ("net.ipv4.tcp_migrate_req", "1"),
    ("net.ipv4.tcp_notsent_lowat", "131072"),
    ("net.ipv4.tcp_orphan_retries", "3"),
    ("net.ipv4.tcp_rmem", "4096 16384 6291456"),
    ("net.ipv4.tcp_slow_start_after_idle", "0"),
    ("net.ipv4.tcp_synack_retries", "3"),
    ("net.netfilter.nf_conntrack_buckets", "1200000"),
    ("net.netfilter.nf_conntrack_max", "1200000"),
];

/// A host below a directory, which is deleted with this value.
pub struct Stock {
    root: PathBuf,
}

impl Stock {
    /// Lays out a host as installed. Each test has a name of its own.
    pub fn new(name: &str) -> Self {
        let stock = Self { root: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("host-{name}")) };
        let _ = fs::remove_dir_all(&stock.root);
        SYSCTLS.iter().for_each(|(name, value)| stock.set(name, value));
        for (path, text) in [
            ("proc/meminfo", "MemTotal:       65536000 kB\nMemAvailable:   60000000 kB\nSwapTotal:             0 kB\n"),
            ("proc/self/cgroup", "0::/system.slice/ringsock.service\n"),
            ("proc/self/status", "CapEff:\t0000000000000000\nSeccomp:\t0\nCpus_allowed_list:\t0-15\n"),
            ("sys/class/net/eth0/device/vendor", "0x15b3\n"),
            ("sys/class/net/lo/queues/rx-0/rps_cpus", "0\n"),
            ("sys/fs/cgroup/system.slice/ringsock.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/ringsock.service/cpu.max", "max 100000\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
        ] {
            stock.write(path, text);
        }
        for queue in 0..16 {
            stock.write(&format!("sys/class/net/eth0/queues/rx-{queue}/rps_cpus"), "0000\n");
        }
        stock.limits("1024", "524288", "8388608");
        stock
    }

    /// Lays out a host that is ready for a million connections on 16 cores.
    pub fn prepared(name: &str) -> Self {
        let stock = Self::new(name);
        FOR_A_MILLION.iter().for_each(|(name, value)| stock.set(name, value));
        stock.limits("1004096", "1004096", "unlimited");
        stock
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn set(&self, sysctl: &str, value: &str) {
        self.write(&format!("proc/sys/{}", sysctl.replace('.', "/")), &format!("{value}\n"));
    }

    pub fn sysctl(&self, sysctl: &str) -> String {
        let path = self.root.join("proc/sys").join(sysctl.replace('.', "/"));
        fs::read_to_string(path).unwrap().trim_end().to_owned()
    }

    pub fn remove(&self, sysctl: &str) {
        fs::remove_file(self.root.join("proc/sys").join(sysctl.replace('.', "/"))).unwrap();
    }

    pub fn limits(&self, open_files: &str, open_files_hard: &str, locked_bytes: &str) {
        let text = format!(
            "Limit                     Soft Limit           Hard Limit           Units\n\
             Max open files            {open_files:20} {open_files_hard:20} files\n\
             Max locked memory         {locked_bytes:20} {locked_bytes:20} bytes\n"
        );
        self.write("proc/self/limits", &text);
    }

    /// Changes the sysctls to those that a network namespace of its own shows.
    pub fn enter_own_network(&self) {
        for name in ["net.ipv4.tcp_mem", "net.ipv4.tcp_max_orphans", "net.core.netdev_max_backlog"] {
            self.remove(name);
        }
    }

    pub fn host(&self) -> Host {
        Host::read(&self.root, Ok(()))
    }

    /// Returns the settings that it lacks for a million connections.
    pub fn wrong(&self) -> Vec<Setting> {
        settings(&self.host(), &MILLION).into_iter().filter(|setting| !setting.is_fine()).collect()
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}
