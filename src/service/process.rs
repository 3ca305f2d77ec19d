//! This process' resource use, under the metric names that every Prometheus client uses.
//!
//! Reads /proc on demand and leaves out what cannot be read. The cost does not depend on the number of open descriptors
//! from Linux 6.2 on.

use std::fs;

use crate::proc::{bytes_after, number_after};

/// Clock ticks per second in /proc (USER_HZ): 100 on every architecture that Rust's standard library supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// The resource use of this process; `None` where /proc does not show it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// CPU time used by all threads, in seconds.
    pub(super) cpu_seconds: Option<f64>,
    /// Start time, in seconds since 1970.
    pub(super) start_time_seconds: Option<f64>,
    /// Resident memory.
    pub(super) resident_memory_bytes: Option<u64>,
    /// Mapped memory.
    pub(super) virtual_memory_bytes: Option<u64>,
    /// Open descriptors.
    pub(super) open_fds: Option<u64>,
    /// The limit of open descriptors; also `None` if there is no limit.
    pub(super) max_fds: Option<u64>,
}

impl Process {
    /// Reads the values from /proc.
    pub(super) fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (stat, status) = (read("/proc/self/stat"), read("/proc/self/status"));
        // Fields are counted after the process name, which may contain any character; field 3 of proc(5), the state, is
        // first.
        let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ').collect();
        let seconds = |number: usize| Some(fields.get(number - 3)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
        let booted = number_after(&read("/proc/stat"), "btime ").map(|seconds| seconds as f64);
        Self {
            cpu_seconds: seconds(14).zip(seconds(15)).map(|(user, system)| user + system),
            start_time_seconds: booted.zip(seconds(22)).map(|(booted, after)| booted + after),
            resident_memory_bytes: bytes_after(&status, "VmRSS:"),
            virtual_memory_bytes: bytes_after(&status, "VmSize:"),
            open_fds: open_fds(),
            max_fds: number_after(&read("/proc/self/limits"), "Max open files"),
        }
    }
}

/// Counts the open descriptors: from Linux 6.2 on the directory's size is their number, before that it is 0.
fn open_fds() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    match fs::metadata(DIRECTORY).ok()?.len() {
        // The descriptor that reads the directory is not counted.
        0 => Some((fs::read_dir(DIRECTORY).ok()?.count() as u64).saturating_sub(1)),
        open => Some(open),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        let process = Process::read();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let started = process.start_time_seconds.unwrap();
        assert!(started <= now + 1.0 && started > now - 86_400.0, "{started} at {now}");
        assert!((0.0..86_400.0).contains(&process.cpu_seconds.unwrap()));
        let resident = process.resident_memory_bytes.unwrap();
        assert!(resident > 100_000 && resident < process.virtual_memory_bytes.unwrap());
        assert!(process.open_fds.unwrap() >= 3 && process.max_fds.is_none_or(|max| max >= process.open_fds.unwrap()));
    }

    #[test]
    fn descriptors_are_counted_as_they_come() {
        let count = || open_fds().unwrap();
        // Other tests open and close some at the same time: there is an instant in which none does.
        let (begun, mut counted) = (Instant::now(), (0, 0));
        while counted.1 != counted.0 + 200 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{counted:?}");
            let before = count();
            let files: Vec<_> = (0..200).map(|_| fs::File::open("/dev/null").unwrap()).collect();
            counted = (before, count());
            drop(files);
        }
    }
}
