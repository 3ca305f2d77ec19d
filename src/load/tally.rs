//! What was counted and measured, of one worker for a quarter of a second or of all of them for a whole run.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::effort::Effort;

/// The longest time that is told from a longer one: a minute, in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

/// How long a sample lasts: short enough to be seen live, and long enough for percentiles.
pub(super) const SAMPLE: Duration = Duration::from_millis(250);

/// Kinds of faults that are told apart; further ones are counted together.
const FAULTS_MAX: usize = 20;

/// Counts of what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Handshakes that were accepted.
    pub opened: u64,
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that came, as they should be.
    pub received: u64,
    /// Their bytes, without headers.
    pub received_bytes: u64,
    /// Messages of a publisher that never came, though later ones did; they are faults too.
    pub missed: u64,
    /// Messages of an open loop that were due on a connection that was not open. Why it was not is a fault.
    pub unsent: u64,
    /// What went wrong, and how often. Anything here makes the run a failure.
    pub faults: BTreeMap<String, u64>,
}

impl Counts {
    /// Notes something that went wrong.
    pub fn fault(&mut self, what: impl Into<String>, times: u64) {
        let what = what.into();
        let known = self.faults.len() < FAULTS_MAX || self.faults.contains_key(&what);
        let what = if known { what } else { "Something else went wrong.".to_owned() };
        *self.faults.entry(what).or_insert(0) += times;
    }

    /// How many things went wrong.
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

/// How long things took, in nanoseconds to three digits; longer than a minute counts as a minute.
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
    /// Notes that something took so long, so many times. Costs a few nanoseconds.
    pub fn note(&mut self, took_ns: u64, times: u64) {
        self.0.saturating_record_n(took_ns.max(1), times);
    }

    /// How many were noted.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nanoseconds that `percent` of a hundred do not exceed; 0 when none was noted.
    pub fn percentile(&self, percent: f64) -> u64 {
        self.0.value_at_percentile(percent)
    }

    /// Their mean in nanoseconds.
    pub fn mean(&self) -> f64 {
        self.0.mean()
    }

    /// The longest in nanoseconds.
    pub fn max(&self) -> u64 {
        self.0.max()
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Each time that was noted, and how often.
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

/// What a worker did since it last told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The stage it was in; what it tells of is of no other.
    pub stage: Stage,
    /// Which of the stage's samples it belongs to: each lasts a quarter of a second, counted from when the stage began.
    pub sample: u32,
    /// Whether that sample is over for this worker.
    pub completes_sample: bool,
    /// When it ends, in nanoseconds since 1970, and how long it lasted.
    pub at_ns: u64,
    /// See `at_ns`.
    pub span_ns: u64,
    /// How much of that time it took.
    pub effort: Effort,
    /// Whose it is, of those of one process.
    pub worker: usize,
    /// Connections it has open, and that are still opening or waiting to be opened.
    pub open: usize,
    /// See `open`.
    pub opening: usize,
    /// Messages under way.
    pub in_flight: u64,
    /// What was counted.
    pub counts: Counts,
    /// How long messages took, or handshakes where those are what is measured.
    pub latencies: Latencies,
    /// How late messages of an open loop were sent, by the load's own doing.
    pub lateness: Latencies,
}

/// What all workers do at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Stage {
    /// Connections are opened.
    #[default]
    Open,
    /// Messages flow, and nothing counts yet.
    WarmUp,
    /// Everything counts.
    Measure,
    /// Nothing more is sent; what is under way may arrive.
    Settle,
    /// Connections are closed.
    Close,
}

impl Stage {
    /// The stage of that number.
    pub fn from_number(number: u8) -> Self {
        [Self::Open, Self::WarmUp, Self::Measure, Self::Settle].get(usize::from(number)).copied().unwrap_or(Self::Close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_workers_counted_adds_up() {
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
