//! Samples: the workers' reports, added up for each quarter of a second.
//!
//! Invariant: a rate is a count divided by the time in which it was counted, by the workers' own clocks, so that a
//! steady rate is a steady line whenever reports arrive.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::effort::Utilization;
use super::observe::Usage;
use super::tally::{Counts, Interval, Latencies, SAMPLE, Stage};

/// How long a late report is waited for.
const PATIENCE: Duration = Duration::from_millis(4 * SAMPLE.as_millis() as u64);

/// The figures of one interval of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// The end of the interval, in seconds since the start of the run.
    pub at_s: f64,
    /// The stage.
    pub stage: Stage,
    /// Open connections.
    pub open: usize,
    /// Handshakes per second.
    pub opened_per_second: f64,
    /// Sent messages per second.
    pub sent_per_second: f64,
    /// Received messages per second.
    pub received_per_second: f64,
    /// The median latency, in microseconds.
    pub p50_us: f64,
    /// The 99th percentile of latency, in microseconds.
    pub p99_us: f64,
    /// Utilization of the busiest load thread.
    pub load: Utilization,
    /// CPU time of the server, in percent of one core.
    pub server_cpu_percent: f64,
    /// Memory of the server in bytes.
    pub server_resident_bytes: u64,
    /// Memory of the kernel's objects in bytes.
    pub kernel_bytes: u64,
}

/// A stage and a sample within it.
type Place = (Stage, u32);

/// The incomplete samples of a run.
#[derive(Debug)]
pub(super) struct Samples {
    clock: Clock,
    started_ns: u64,
    pending: BTreeMap<Place, Pending>,
    /// The last sample that each worker has completed; `None` before its first.
    completed: Vec<Option<Place>>,
    /// The time when the last sample was returned.
    last_returned: Instant,
    patience: Duration,
    /// The last reading of the server's CPU time: when, its value, and the percentage since the reading before.
    observed: Instant,
    used: Usage,
    cpu_percent: f64,
    /// The last known utilization of the load generator.
    load: Utilization,
}

#[derive(Debug, Default)]
struct Pending {
    /// The sum of the workers' intervals.
    span_ns: u64,
    at_ns: u64,
    /// `None` until a worker reports an interval long enough.
    load: Option<Utilization>,
    counts: Counts,
    latencies: Latencies,
}

impl Samples {
    /// Creates the samples of a run that starts now.
    pub fn new(workers: usize, used: Usage) -> Self {
        let (clock, now) = (Clock::new(), Instant::now());
        Self {
            clock,
            started_ns: clock.now_ns(),
            pending: BTreeMap::new(),
            completed: vec![None; workers],
            last_returned: now,
            patience: PATIENCE,
            observed: now,
            used,
            cpu_percent: 0.0,
            load: Utilization::default(),
        }
    }

    /// Adds a worker's report.
    pub fn note(&mut self, interval: &Interval) {
        let place = (interval.stage, interval.sample);
        let pending = self.pending.entry(place).or_default();
        pending.span_ns += interval.span_ns;
        pending.at_ns = pending.at_ns.max(interval.at_ns);
        if interval.span_ns >= SAMPLE.as_nanos() as u64 / 2 {
            let load = interval.effort.of(interval.span_ns);
            pending.load = Some(pending.load.map_or(load, |other| other.busier(load)));
        }
        pending.counts += &interval.counts;
        pending.latencies += &interval.latencies;
        if let Some(completed) = self.completed.get_mut(interval.worker).filter(|_| interval.completes_sample) {
            *completed = Some(place);
        }
    }

    /// Returns the next sample that all workers have reported, or that was waited for in vain. `open` is the current
    /// number of open connections.
    pub fn next(&mut self, stage: Stage, open: usize, pids: &[u32]) -> Option<Sample> {
        // `None`, which sorts first, if a worker has not completed any.
        let by_all = self.completed.iter().min().copied().flatten();
        while let Some((&place, _)) = self.pending.first_key_value() {
            if by_all.is_none_or(|by_all| place > by_all) && self.last_returned.elapsed() < self.patience {
                return None;
            }
            let pending = self.pending.remove(&place).unwrap_or_default();
            // The last part of a stage may be too short to be meaningful.
            let is_rest = place.1 > 0 && self.span_s(&pending) < SAMPLE.as_secs_f64() / 2.0;
            if !is_rest {
                return Some(self.sample(place.0, &pending, open, pids));
            }
        }
        // A sample is due even if no reports arrive: its receiver decides whether to go on.
        if self.last_returned.elapsed() < self.patience {
            return None;
        }
        let silence = Pending { at_ns: self.clock.now_ns(), ..Pending::default() };
        Some(self.sample(stage, &silence, open, pids))
    }

    /// Returns the length of a sample, averaged over the workers.
    fn span_s(&self, pending: &Pending) -> f64 {
        pending.span_ns as f64 / 1e9 / self.completed.len().max(1) as f64
    }

    fn sample(&mut self, stage: Stage, pending: &Pending, open: usize, pids: &[u32]) -> Sample {
        self.last_returned = Instant::now();
        let used = self.observe(pids);
        self.load = pending.load.unwrap_or(self.load);
        let span_s = self.span_s(pending).max(1e-9);
        let per_second = |count: u64| count as f64 / span_s;
        Sample {
            at_s: pending.at_ns.saturating_sub(self.started_ns) as f64 / 1e9,
            stage,
            open,
            opened_per_second: per_second(pending.counts.opened),
            sent_per_second: per_second(pending.counts.sent),
            received_per_second: per_second(pending.counts.received),
            p50_us: pending.latencies.percentile(50.0) as f64 / 1e3,
            p99_us: pending.latencies.percentile(99.0) as f64 / 1e3,
            load: self.load,
            server_cpu_percent: self.cpu_percent,
            server_resident_bytes: used.resident_bytes,
            kernel_bytes: used.kernel_bytes,
        }
    }
    /// Reads the server's resource use. The kernel accounts CPU time in steps of some milliseconds, so the percentage
    /// is updated only after half a sample.
    fn observe(&mut self, pids: &[u32]) -> Usage {
        let used = Usage::of(pids);
        let past = self.observed.elapsed();
        if past >= SAMPLE / 2 {
            let cpu = used.cpu.saturating_sub(self.used.cpu);
            self.cpu_percent = cpu.as_secs_f64() * 100.0 / past.as_secs_f64();
            (self.observed, self.used) = (Instant::now(), used);
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::effort::Effort;

    const SAMPLE_NS: u64 = SAMPLE.as_nanos() as u64;

    /// Returns the reports of a worker that receives a message each microsecond and reports this late after each
    /// sample.
    fn reports(worker: usize, late_ns: [u64; 9]) -> Vec<Interval> {
        let mut reported_ns = 0;
        let intervals = late_ns.iter().enumerate().map(|(sample, late_ns)| {
            let at_ns = (sample as u64 + 1) * SAMPLE_NS + late_ns;
            let span_ns = at_ns - std::mem::replace(&mut reported_ns, at_ns);
            let counts = Counts { received: span_ns / 1000, ..Counts::default() };
            let (stage, sample) = (Stage::Measure, sample as u32);
            Interval { stage, sample, completes_sample: true, at_ns, span_ns, worker, counts, ..Interval::default() }
        });
        intervals.collect()
    }

    /// Returns the samples of these reports, however busy the processors are.
    fn samples(workers: usize, reports: &[Interval]) -> Vec<Sample> {
        let mut samples = Samples { patience: Duration::MAX, ..Samples::new(workers, Usage::default()) };
        let mut returned = Vec::new();
        for interval in reports {
            samples.note(interval);
            returned.extend(std::iter::from_fn(|| samples.next(Stage::Measure, 1, &[])));
        }
        returned
    }

    #[test]
    fn a_steady_rate_is_a_steady_line_however_late_workers_tell() {
        let ms = 1_000_000;
        let mut both = reports(0, [0, 20 * ms, 0, 90 * ms, 3 * ms, 0, 70 * ms, 1, 0]);
        both.extend(reports(1, [40 * ms, 0, 0, 10 * ms, 0, 80 * ms, 0, 0, 5 * ms]));
        both.sort_by_key(|interval| interval.at_ns);
        let samples = samples(2, &both);
        assert_eq!(samples.len(), 9);
        for sample in samples {
            assert!((sample.received_per_second - 2e6).abs() < 100.0, "{sample:?}");
        }
    }

    #[test]
    fn a_sample_waits_for_the_slowest() {
        let (first, second) = (reports(0, [0; 9]), reports(1, [0; 9]));
        assert!(samples(2, &first).is_empty());
        assert_eq!(samples(2, &[&first[..], &second[..4]].concat()).len(), 4);
    }

    #[test]
    fn a_worker_that_does_not_tell_is_not_waited_for_without_end() {
        let mut samples = Samples { patience: Duration::ZERO, ..Samples::new(2, Usage::default()) };
        reports(0, [0; 9]).iter().for_each(|interval| samples.note(interval));
        assert_eq!(samples.next(Stage::Measure, 1, &[]).unwrap().received_per_second, 2e6, "as if it were as quick");
    }

    #[test]
    fn a_time_that_is_too_short_says_nothing_of_the_load() {
        let effort = Effort { busy_ns: 4_000_000, waited_ns: 0 };
        let reports =
            |sample, span_ns| Interval { sample, span_ns, effort, completes_sample: true, ..Interval::default() };
        let busy = |reports: &[Interval]| samples(1, reports)[0].load.busy_percent;
        assert_eq!(busy(&[reports(0, 30_000)]), 0.0, "a tick of the kernel, accounted in 30 µs");
        assert!((busy(&[reports(0, SAMPLE_NS)]) - 1.6).abs() < 1e-9);
    }

    #[test]
    fn the_rest_of_a_stage_is_a_sample_only_if_it_is_the_whole_stage() {
        let short = |sample| Interval { sample, completes_sample: true, span_ns: 1_000_000, ..Interval::default() };
        assert_eq!(samples(1, &[short(0), short(1)]).len(), 1);
    }
}
