//! What the load itself takes of its host: whether a thread of it was so busy, or so often kept waiting for a processor, that
//! it measures itself.
//!
//! Read from the kernel's books of the thread that asks; where there are none, nothing is known and nothing is said.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::AddAssign;
use std::os::unix::fs::FileExt;
use std::str;

use serde::{Deserialize, Serialize};

/// Of a hundred, the part of its time from which on a thread has nothing left for what is still to come. In an open loop it
/// says nothing: a thread that waits for the next message that is due, some microseconds, is busy with that.
pub const BUSY_MAX_PERCENT: f64 = 95.0;

/// Of a hundred, the part of its time that a thread may wait for a processor: one of 20 messages is then sent late or read
/// late, which is what a 99th percentile sees.
pub const WAITED_MAX_PERCENT: f64 = 5.0;

/// The part of the 99th percentile of an open loop that may be how late the load itself has sent.
pub const LATE_PART_MAX: f64 = 0.5;

/// How much of its time a thread took, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effort {
    /// For how long it ran, the kernel's work for it included.
    pub busy_ns: u64,
    /// For how long it could have run, but others had the processor.
    pub waited_ns: u64,
}

impl AddAssign<&Self> for Effort {
    fn add_assign(&mut self, other: &Self) {
        self.busy_ns += other.busy_ns;
        self.waited_ns += other.waited_ns;
    }
}

impl Effort {
    /// As a part of all the time that it had. The kernel books in steps of some milliseconds, so a time that is not much
    /// longer says nothing.
    pub(super) fn of(self, span_ns: u64) -> Load {
        let percent = |ns: u64| (ns as f64 * 100.0 / span_ns.max(1) as f64).min(100.0);
        Load { busy_percent: percent(self.busy_ns), waited_percent: percent(self.waited_ns) }
    }
}

/// What the busiest thread of the load took of its time, of a hundred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// For how long it ran.
    pub busy_percent: f64,
    /// For how long it waited for a processor.
    pub waited_percent: f64,
}

/// Why a measurement may be one of the load and not of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// It waited for a processor for more than [`WAITED_MAX_PERCENT`].
    Waited,
    /// In a closed loop it was busy for more than [`BUSY_MAX_PERCENT`].
    Busy,
    /// In an open loop it sent late, by more than [`LATE_PART_MAX`] of what messages took.
    Late,
}

/// What it means, and what to do.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waited => "the load waited for a processor, which counts as latency: leave it one of its own",
            Self::Busy => {
                "the load was busy all the time, so the server may carry more: give --threads, or further hosts"
            }
            Self::Late => "half of the p99 or more is how late the load sent: give --threads, or further hosts",
        })
    }
}

impl Load {
    /// Whether it was the load that was measured, where messages took so long. In an open loop they include `late_us`, how
    /// late they were sent; both at the 99th percentile.
    pub(super) fn limit(&self, p99_us: f64, late_us: Option<f64>) -> Option<Limit> {
        if self.waited_percent > WAITED_MAX_PERCENT {
            return Some(Limit::Waited);
        }
        match late_us {
            None => (self.busy_percent > BUSY_MAX_PERCENT).then_some(Limit::Busy),
            Some(late_us) => (late_us > p99_us * LATE_PART_MAX).then_some(Limit::Late),
        }
    }

    /// The busier of the two.
    pub(super) fn busier(self, other: Self) -> Self {
        if other.busy_percent > self.busy_percent { other } else { self }
    }
}

/// The kernel's books of one thread.
#[derive(Debug)]
pub(super) struct Books {
    file: io::Result<File>,
    told: Effort,
}

impl Books {
    /// Those of the thread that asks, from now on.
    pub fn open() -> Self {
        let mut books = Self { file: File::open("/proc/thread-self/schedstat"), told: Effort::default() };
        books.since_last();
        books
    }

    /// What it took since it was last asked. Costs one system call.
    pub fn since_last(&mut self) -> Effort {
        let now = self.file.as_ref().ok().and_then(read).unwrap_or(self.told);
        let before = std::mem::replace(&mut self.told, now);
        Effort {
            busy_ns: now.busy_ns.saturating_sub(before.busy_ns),
            waited_ns: now.waited_ns.saturating_sub(before.waited_ns),
        }
    }
}

/// The first two of three numbers.
fn read(file: &File) -> Option<Effort> {
    let mut line = [0; 96];
    let length = file.read_at(&mut line, 0).ok()?;
    let mut numbers = str::from_utf8(&line[..length]).ok()?.split_whitespace().map_while(|number| number.parse().ok());
    Some(Effort { busy_ns: numbers.next()?, waited_ns: numbers.next()? })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_thread_that_spins_is_busy_or_waits_and_one_that_sleeps_is_neither() {
        let (mut books, mut spun) = (Books::open(), Effort::default());
        let begun = Instant::now();
        // However long it takes until it is given so much of a processor.
        while spun.busy_ns < 20_000_000 {
            spun += &books.since_last();
            assert!(begun.elapsed() < Duration::from_secs(60), "{spun:?}");
        }
        let begun = Instant::now();
        std::thread::sleep(Duration::from_millis(100));
        let slept_ns = begun.elapsed().as_nanos() as u64;
        let load = books.since_last().of(slept_ns);
        // The kernel books in steps of a tick, which is 10 ms at most: the last of the spinning may be among it.
        assert!(load.busy_percent < 50.0, "{load:?}");
    }

    #[test]
    fn who_is_busy_or_kept_waiting_or_late_measures_itself() {
        let limit = |busy_percent, waited_percent, late_us| Load { busy_percent, waited_percent }.limit(100.0, late_us);
        assert_eq!(limit(95.0, 5.0, None), None);
        assert_eq!(limit(95.1, 0.0, None), Some(Limit::Busy));
        assert_eq!(limit(60.0, 5.1, None), Some(Limit::Waited));
        assert_eq!(limit(99.0, 0.0, Some(50.0)), None, "it was busy waiting for what is due");
        assert_eq!(limit(99.0, 0.0, Some(50.1)), Some(Limit::Late));
        assert_eq!(limit(99.0, 5.1, Some(50.1)), Some(Limit::Waited), "which is why it was late");
    }

    #[test]
    fn books_that_cannot_be_read_say_nothing() {
        let mut books = Books { file: File::open("/no/such/file"), told: Effort::default() };
        assert_eq!(books.since_last(), Effort::default());
        assert_eq!(read(&File::open("/proc/self/comm").unwrap()), None);
    }
}
