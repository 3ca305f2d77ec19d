//! The server's resource use under load: CPU time and memory of its processes, and memory of the kernel.
//!
//! Read from /proc, without help from the server. Values that cannot be read count as 0.

use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::proc::{bytes_after, sched_stat};

/// The resource use of the server's processes and of the kernel at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time of the server's processes since they started, including the kernel's work for them.
    pub cpu: Duration,
    /// Resident memory of the processes, in bytes (VmRSS).
    pub resident_bytes: u64,
    /// Memory of kernel objects, in bytes (Slab): of the whole host, so of both ends of local connections.
    pub kernel_bytes: u64,
}

impl Usage {
    /// Reads the resource use of these processes.
    pub fn of(pids: &[u32]) -> Self {
        let total = |of: fn(u32) -> Option<u64>| pids.iter().filter_map(|pid| of(*pid)).sum();
        Self {
            cpu: Duration::from_nanos(total(cpu_ns)),
            resident_bytes: total(resident_bytes),
            kernel_bytes: read("/proc/meminfo").and_then(|text| bytes_after(&text, "Slab:")).unwrap_or(0),
        }
    }
}

/// Returns the names of these processes, without arguments, which may be secret; `None` if there are no processes.
pub(super) fn names(pids: &[u32]) -> Option<String> {
    let names = pids.iter().map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("{} (process {pid})", if name.is_empty() { "unknown" } else { name.trim() })
    });
    (!pids.is_empty()).then(|| names.collect::<Vec<_>>().join(", "))
}

/// Returns a description of this host: its processors and its kernel.
pub(super) fn host() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processors", |(_, model)| model.trim());
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{count} × {model}, Linux {}", kernel.trim())
}

/// Returns the CPU time of all threads in nanoseconds; `/proc/PID/stat` only counts hundredths of a second.
fn cpu_ns(pid: u32) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let spent = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        sched_stat(&text).map(|(busy_ns, _)| busy_ns)
    });
    Some(spent.sum())
}

fn resident_bytes(pid: u32) -> Option<u64> {
    bytes_after(&read(&format!("/proc/{pid}/status"))?, "VmRSS:")
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_time_and_memory() {
        let own = std::process::id();
        let before = Usage::of(&[own]);
        assert!(before.resident_bytes > 1 << 20 && before.kernel_bytes > 1 << 20);
        let begun = std::time::Instant::now();
        // Takes as long as it takes to get that much processor time.
        while Usage::of(&[own]).cpu < before.cpu + Duration::from_millis(5) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{before:?}");
        }
    }

    #[test]
    fn a_host_and_its_processes_have_names() {
        assert!(host().contains(" × ") && host().contains("Linux "), "{}", host());
        let own = std::process::id();
        assert!(names(&[own]).unwrap().ends_with(&format!("(process {own})")));
        assert_eq!(names(&[u32::MAX]).unwrap(), format!("unknown (process {})", u32::MAX));
        assert_eq!(names(&[]), None);
    }

    #[test]
    fn a_process_that_does_not_exist_uses_nothing() {
        let nobody = Usage::of(&[u32::MAX]);
        assert_eq!((nobody.cpu, nobody.resident_bytes), (Duration::ZERO, 0));
    }
}
