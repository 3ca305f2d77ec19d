//! Counts and latencies: of one worker for a quarter of a second, or of all workers for a whole run.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::effort::Effort;

/// The longest latency that is recorded exactly: a minute, in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

/// The length of a sample: short enough for a live display, and long enough for percentiles.
pub(super) const SAMPLE: Duration = Duration::from_millis(250);

/// Kinds of faults that are counted separately; further kinds are counted together.
const FAULTS_MAX: usize = 20;

/// Event counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Accepted handshakes.
    pub opened: u64,
    /// Sent messages.
    pub sent: u64,
    /// Correctly received messages.
    pub received: u64,
    /// Their payload bytes.
    pub received_bytes: u64,
    /// Messages of a publisher that were skipped, as later ones arrived; they are faults too.
    pub missed: u64,
    /// Messages of an open loop that were due on a closed connection; the reason it was closed is a fault of its own.
    pub unsent: u64,
    /// Faults, and how often each occurred. Any fault makes the run a failure.
    pub faults: BTreeMap<String, u64>,
}

impl Counts {
    /// Counts a fault.
    pub fn fault(&mut self, what: impl Into<String>, times: u64) {
        let what = what.into();
        let known = self.faults.len() < FAULTS_MAX || self.faults.contains_key(&what);
        let what = if known { what } else { "Other faults.".to_owned() };
        *self.faults.entry(what).or_insert(0) += times;
    }

    /// Returns the total number of faults.
    pub fn faulty(&self) -> u64 {
        self.faults.values().sum()
    }
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        self.opened += other.opened;
        self.sent += other.sent;
        self.received += other.received;
        self.received_bytes += other.received_bytes;
        self.missed += other.missed;
        self.unsent += other.unsent;
        other.faults.iter().for_each(|(what, times)| self.fault(what, *times));
    }
}

/// A histogram of latencies in nanoseconds, with three significant digits; above a minute counts as a minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Vec<(u64, u64)>", from = "Vec<(u64, u64)>")]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "these bounds are valid, as every test shows")]
        Self(Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("bounds"))
    }
}

impl Latencies {
    /// Records a latency `times` times. Takes a few nanoseconds.
    pub fn note(&mut self, took_ns: u64, times: u64) {
        self.0.saturating_record_n(took_ns.max(1), times);
    }

    /// Returns the number of recorded latencies.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Returns whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the latency, in nanoseconds, that `percent` percent do not exceed; 0 if nothing was recorded.
    pub fn percentile(&self, percent: f64) -> u64 {
        self.0.value_at_percentile(percent)
    }

    /// Returns the mean in nanoseconds.
    pub fn mean(&self) -> f64 {
        self.0.mean()
    }

    /// Returns the longest latency in nanoseconds.
    pub fn max(&self) -> u64 {
        self.0.max()
    }

    /// Removes all recorded latencies.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Returns each recorded latency and its count.
    pub fn recorded(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter_recorded().map(|value| (value.value_iterated_to(), value.count_at_value()))
    }
}

impl AddAssign<&Self> for Latencies {
    fn add_assign(&mut self, other: &Self) {
        // Both have the same bounds, so this cannot fail.
        let _ = self.0.add(&other.0);
    }
}

impl From<Latencies> for Vec<(u64, u64)> {
    fn from(latencies: Latencies) -> Self {
        latencies.recorded().collect()
    }
}

impl From<Vec<(u64, u64)>> for Latencies {
    fn from(recorded: Vec<(u64, u64)>) -> Self {
        let mut latencies = Self::default();
        recorded.into_iter().for_each(|(took_ns, times)| latencies.note(took_ns, times));
        latencies
    }
}

/// A worker's report of what it did since its last report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The stage; a report covers a single stage.
    pub stage: Stage,
    /// The sample within the stage: each lasts a quarter of a second, counted from the start of the stage.
    pub sample: u32,
    /// True if this report completes the worker's sample.
    pub completes_sample: bool,
    /// The end of the interval in nanoseconds since 1970, and its length.
    pub at_ns: u64,
    /// See `at_ns`.
    pub span_ns: u64,
    /// The worker's CPU time in the interval.
    pub effort: Effort,
    /// The number of the worker within its process.
    pub worker: usize,
    /// The worker's connections that are open, and those that are opening or waiting to be opened.
    pub open: usize,
    /// See `open`.
    pub opening: usize,
    /// Messages in flight.
    pub in_flight: u64,
    /// The counts of the interval.
    pub counts: Counts,
    /// Latencies of messages, or of handshakes in [`Mode::Connect`](super::plan::Mode::Connect).
    pub latencies: Latencies,
    /// Delays of messages of an open loop that the load generator itself caused.
    pub lateness: Latencies,
}

/// The stage of a run, the same for all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Stage {
    /// Connections are opened.
    #[default]
    Open,
    /// Messages flow, but are not measured.
    WarmUp,
    /// Messages flow and are measured.
    Measure,
    /// Sending has stopped; messages in flight may still arrive.
    Settle,
    /// Connections are closed.
    Close,
}

impl Stage {
    /// Returns the stage with this number; unknown numbers are [`Stage::Close`].
    pub fn from_number(number: u8) -> Self {
        [Self::Open, Self::WarmUp, Self::Measure, Self::Settle].get(usize::from(number)).copied().unwrap_or(Self::Close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_two_workers_add_up() {
        let mut all = Counts { opened: 1, sent: 2, received: 3, received_bytes: 4, ..Counts::default() };
        all.fault("This.", 2);
        let mut other = all.clone();
        other.fault("That.", 1);
        all += &other;
        assert_eq!((all.opened, all.sent, all.received, all.received_bytes), (2, 4, 6, 8));
        assert_eq!(all.faults, BTreeMap::from([("This.".to_owned(), 4), ("That.".to_owned(), 1)]));
        assert_eq!(all.faulty(), 5);
    }

    #[test]
    fn no_more_kinds_of_faults_are_kept_than_the_limit() {
        let mut counts = Counts::default();
        (0..1000).for_each(|number| counts.fault(format!("{number}"), 1));
        assert_eq!(counts.faults.len(), FAULTS_MAX + 1);
        assert_eq!(counts.faulty(), 1000);
    }

    #[test]
    fn times_survive_their_way_from_process_to_process() {
        let mut latencies = Latencies::default();
        for took_ns in [0, 1, 999, 1_234_567, 59_999_999_999, u64::MAX] {
            latencies.note(took_ns, 3);
        }
        let text = serde_json::to_string(&latencies).unwrap();
        let back: Latencies = serde_json::from_str(&text).unwrap();
        assert_eq!(back.recorded().collect::<Vec<_>>(), latencies.recorded().collect::<Vec<_>>());
        assert_eq!((back.len(), back.max()), (18, latencies.max()));
    }

    #[test]
    fn percentiles_are_exact_to_three_digits() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|number| latencies.note(number * 10_000, 1));
        for (percent, expected) in
            [(50.0, 5_000_000.0), (99.0, 9_900_000.0), (99.9, 9_990_000.0), (100.0, 10_000_000.0)]
        {
            let off = latencies.percentile(percent) as f64 / expected - 1.0;
            assert!(off.abs() < 0.002, "{percent}: {off}");
        }
    }

    #[test]
    fn stages_survive_as_numbers() {
        for stage in [Stage::Open, Stage::WarmUp, Stage::Measure, Stage::Settle, Stage::Close] {
            assert_eq!(Stage::from_number(stage as u8), stage);
        }
    }
}
