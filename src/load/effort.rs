//! The load generator's own CPU use: whether one of its threads was so busy, or waited so often for a processor, that
//! the run measured the load generator itself.
//!
//! Read from the kernel's scheduler statistics of the calling thread; where there are none, the utilization is 0.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::AddAssign;
use std::os::unix::fs::FileExt;
use std::str;

use serde::{Deserialize, Serialize};

use crate::proc::sched_stat;

/// Above this share of its time, in percent, a load thread is saturated. Not used in an open loop: there a thread that
/// waits a few microseconds for the next due message is busy waiting.
pub const BUSY_MAX_PERCENT: f64 = 95.0;

/// The longest time a load thread may wait for a processor, in percent: above it, one of 20 messages is sent or read
/// late, which a 99th percentile shows.
pub const WAITED_MAX_PERCENT: f64 = 5.0;

/// The share of an open loop's 99th percentile that the load generator's own delay may have.
pub const LATE_SHARE_MAX: f64 = 0.5;

/// A thread's CPU time and waiting time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effort {
    /// Time on a processor, including the kernel's work for the thread.
    pub busy_ns: u64,
    /// Time runnable, but waiting for a processor.
    pub waited_ns: u64,
}

impl AddAssign<&Self> for Effort {
    fn add_assign(&mut self, other: &Self) {
        self.busy_ns += other.busy_ns;
        self.waited_ns += other.waited_ns;
    }
}

impl Effort {
    /// Returns the utilization over a time span. The kernel accounts in steps of some milliseconds, so a span that is
    /// not much longer is meaningless.
    pub(super) fn of(self, span_ns: u64) -> Utilization {
        let percent = |ns: u64| (ns as f64 * 100.0 / span_ns.max(1) as f64).min(100.0);
        Utilization { busy_percent: percent(self.busy_ns), waited_percent: percent(self.waited_ns) }
    }
}

/// The utilization of the busiest load thread, in percent of its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Utilization {
    /// Time on a processor.
    pub busy_percent: f64,
    /// Time waiting for a processor.
    pub waited_percent: f64,
}

/// The reason why a run may have measured the load generator and not the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bottleneck {
    /// A load thread waited for a processor for more than [`WAITED_MAX_PERCENT`].
    Waited,
    /// In a closed loop, a load thread was busy for more than [`BUSY_MAX_PERCENT`].
    Busy,
    /// In an open loop, messages were sent late, by more than [`LATE_SHARE_MAX`] of the latency.
    Late,
}

/// Explains the bottleneck, and what to do about it.
impl fmt::Display for Bottleneck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waited => "the load generator waited for a processor, which adds latency: give it one of its own",
            Self::Busy => {
                "the load generator was saturated, so the server may carry more: give more --threads or hosts"
            }
            Self::Late => "half of the p99 or more is the load generator's own delay: give more --threads or hosts",
        })
    }
}

impl Utilization {
    /// Returns the bottleneck, if the load generator may have been one. `p99_us` is the 99th percentile of latency, and
    /// `late_us` that of the load generator's own delay, which is part of the latency in an open loop.
    pub(super) fn bottleneck(&self, p99_us: f64, late_us: Option<f64>) -> Option<Bottleneck> {
        if self.waited_percent > WAITED_MAX_PERCENT {
            return Some(Bottleneck::Waited);
        }
        match late_us {
            None => (self.busy_percent > BUSY_MAX_PERCENT).then_some(Bottleneck::Busy),
            Some(late_us) => (late_us > p99_us * LATE_SHARE_MAX).then_some(Bottleneck::Late),
        }
    }

    /// Returns the busier of the two.
    pub(super) fn busier(self, other: Self) -> Self {
        if other.busy_percent > self.busy_percent { other } else { self }
    }
}

/// The kernel's scheduler statistics of one thread.
#[derive(Debug)]
pub(super) struct SchedStat {
    file: io::Result<File>,
    last: Effort,
}

impl SchedStat {
    /// Opens the statistics of the calling thread, starting from now.
    pub fn open() -> Self {
        let mut sched_stat = Self { file: File::open("/proc/thread-self/schedstat"), last: Effort::default() };
        sched_stat.since_last();
        sched_stat
    }

    /// Returns the effort since the last call. Takes one system call.
    pub fn since_last(&mut self) -> Effort {
        let now = self.file.as_ref().ok().and_then(read).unwrap_or(self.last);
        let before = std::mem::replace(&mut self.last, now);
        Effort {
            busy_ns: now.busy_ns.saturating_sub(before.busy_ns),
            waited_ns: now.waited_ns.saturating_sub(before.waited_ns),
        }
    }
}

fn read(file: &File) -> Option<Effort> {
    let mut line = [0; 96];
    let length = file.read_at(&mut line, 0).ok()?;
    let (busy_ns, waited_ns) = sched_stat(str::from_utf8(&line[..length]).ok()?)?;
    Some(Effort { busy_ns, waited_ns })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_thread_that_spins_is_busy_or_waits_and_one_that_sleeps_is_neither() {
        let (mut sched_stat, mut spun) = (SchedStat::open(), Effort::default());
        let begun = Instant::now();
        // Takes as long as it takes to get that much processor time.
        while spun.busy_ns < 20_000_000 {
            spun += &sched_stat.since_last();
            assert!(begun.elapsed() < Duration::from_secs(60), "{spun:?}");
        }
        let begun = Instant::now();
        std::thread::sleep(Duration::from_millis(100));
        let slept_ns = begun.elapsed().as_nanos() as u64;
        let load = sched_stat.since_last().of(slept_ns);
        // The kernel accounts in ticks of 10 ms at most, so the last of the spinning may be included.
        assert!(load.busy_percent < 50.0, "{load:?}");
    }

    #[test]
    fn names_the_load_generator_as_the_bottleneck() {
        let bottleneck = |busy_percent, waited_percent, late_us| {
            Utilization { busy_percent, waited_percent }.bottleneck(100.0, late_us)
        };
        assert_eq!(bottleneck(95.0, 5.0, None), None);
        assert_eq!(bottleneck(95.1, 0.0, None), Some(Bottleneck::Busy));
        assert_eq!(bottleneck(60.0, 5.1, None), Some(Bottleneck::Waited));
        assert_eq!(bottleneck(99.0, 0.0, Some(50.0)), None, "it was busy waiting for due messages");
        assert_eq!(bottleneck(99.0, 0.0, Some(50.1)), Some(Bottleneck::Late));
        assert_eq!(bottleneck(99.0, 5.1, Some(50.1)), Some(Bottleneck::Waited), "waiting explains the delay");
    }

    #[test]
    fn statistics_that_cannot_be_read_count_as_zero() {
        let mut sched_stat = SchedStat { file: File::open("/no/such/file"), last: Effort::default() };
        assert_eq!(sched_stat.since_last(), Effort::default());
        assert_eq!(read(&File::open("/proc/self/comm").unwrap()), None);
    }
}
