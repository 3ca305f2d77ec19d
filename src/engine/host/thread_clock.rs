//! The times of a thread of this process, from the kernel's counters in /proc.

use std::fs;

use crate::engine::host::watchdog::ThreadTimes;

/// Returns the times of a thread since it began; `None` if the kernel does not provide them.
pub(in crate::engine) fn spent(thread: u32) -> Option<ThreadTimes> {
    let read = |name| fs::read_to_string(format!("/proc/self/task/{thread}/{name}")).ok();
    parse(&read("schedstat")?, &read("stat")?)
}

/// Parses `schedstat`, the nanoseconds run and waited, and `stat`, whose state follows the name, which may hold
/// anything.
fn parse(schedstat: &str, stat: &str) -> Option<ThreadTimes> {
    let mut fields = schedstat.split_ascii_whitespace();
    let mut milliseconds = || Some(fields.next()?.parse::<u64>().ok()? / 1_000_000);
    let (_, state) = stat.rsplit_once(") ")?;
    Some(ThreadTimes { ran_ms: milliseconds()?, waited_ms: milliseconds()?, is_runnable: state.starts_with('R') })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_times_of_the_kernel_are_parsed() {
        let stat = "4711 (a) R (b) S 1 4711 4711 0 -1";
        let spent = ThreadTimes { ran_ms: 12, waited_ms: 3, is_runnable: false };
        assert_eq!(parse("12345678 3999999 17\n", stat), Some(spent));
        assert_eq!(
            parse("12345678 3999999 17\n", &stat.replace("S 1", "R 1")),
            Some(ThreadTimes { is_runnable: true, ..spent })
        );
        assert_eq!(parse("", stat), None);
    }
}
