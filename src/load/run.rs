//! A run from its first connection to its outcome.
//!
//! Owns the sequence of stages and the outcome. Opens no sockets; workers do. Invariant: every message that was sent is
//! received, or counted as a fault.

use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::crew::{Crew, CrewError};
use super::effort::{Bottleneck, Effort, Utilization};
use super::observe::Usage;
use super::plan::{Mode, Pace, Plan};
use super::samples::{Sample, Samples};
use super::tally::{Counts, Interval, Latencies, Stage};
use super::traffic::missing_fault;

/// The longest wait between two checks whether the next stage is due.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The wait after the last subscription of a fan-out: a server may confirm it before all of its cores know of it.
const SUBSCRIBE_TIME: Duration = Duration::from_millis(500);

/// Silence after which no further message is expected.
const SILENCE: Duration = Duration::from_millis(500);

/// The longest wait for messages in flight after an interrupt: enough for a busy host; a second interrupt ends the run
/// at once.
const INTERRUPTED_SETTLE_MAX: Duration = Duration::from_secs(5);

/// The outcome of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The plan.
    pub plan: Plan,
    /// True if the run was interrupted.
    pub interrupted: bool,
    /// The peak number of open connections.
    pub open: usize,
    /// The time it took to open them, in seconds.
    pub opening_s: f64,
    /// The measured time, in seconds.
    pub measured_s: f64,
    /// The counts of the measured time.
    pub measured: Counts,
    /// The counts of the whole run.
    pub whole: Counts,
    /// Latencies of the measured time: of messages, or of handshakes in [`Mode::Connect`].
    pub latencies: Latencies,
    /// Utilization of the busiest load thread during the measured time; 0 if unknown.
    pub utilization: Utilization,
    /// The delay of messages of an open loop that the load generator itself caused; it is part of their latency.
    pub lateness: Latencies,
    /// Idle: connections that answered at the end.
    pub answered: u64,
    /// The server's resource use: before the run, once all connections were open, and at the start and end of
    /// measuring.
    pub usage: [Usage; 4],
    /// The figures over time.
    pub samples: Vec<Sample>,
}

impl Outcome {
    /// Returns whether the run had no faults.
    pub fn is_faultless(&self) -> bool {
        self.whole.faulty() == 0
    }

    /// Returns the measured rate per second: of received messages, or of handshakes in [`Mode::Connect`].
    pub fn rate(&self) -> f64 {
        let count = match self.plan.mode {
            Mode::Connect => self.measured.opened,
            _ => self.measured.received,
        };
        count as f64 / self.measured_s.max(1e-9)
    }

    /// Returns the share of messages that failed, from 0 to 1, over the whole run: lost, changed, or due on a
    /// connection that was not open. Returns 1 if no connection could be opened.
    pub fn error_rate(&self) -> f64 {
        match self.whole.sent + self.whole.unsent {
            0 if self.open == 0 => 1.0,
            0 => 0.0,
            due => 1.0 - self.whole.received.min(due) as f64 / due as f64,
        }
    }

    /// Returns why the result may be limited by the load generator and not by the server, if it may.
    pub fn bottleneck(&self) -> Option<Bottleneck> {
        let p99_us = |latencies: &Latencies| latencies.percentile(99.0) as f64 / 1e3;
        let late_us = matches!(self.plan.pace, Pace::PerSecond(_)).then(|| p99_us(&self.lateness));
        self.utilization.bottleneck(p99_us(&self.latencies), late_us).filter(|_| self.plan.mode != Mode::Idle)
    }

    /// Returns the server's CPU time for each message or handshake, in microseconds.
    pub fn server_cpu_us(&self) -> f64 {
        let count = self.rate() * self.measured_s;
        self.usage[3].cpu.saturating_sub(self.usage[2].cpu).as_secs_f64() * 1e6 / count.max(1.0)
    }

    /// Returns the memory per open connection, in bytes: of the server and of the kernel.
    pub fn bytes_per_connection(&self) -> (f64, f64) {
        let [before, opened, ..] = &self.usage;
        let open = self.open.max(1) as f64;
        let more = |before: u64, after: u64| (after as f64 - before as f64) / open;
        (more(before.resident_bytes, opened.resident_bytes), more(before.kernel_bytes, opened.kernel_bytes))
    }
}

/// Carries out a plan. `program` creates further processes where one does not suffice (see
/// [`super::work_for_parent`]); `pids` are the server's processes, if known; `watch` receives each sample and returns
/// whether to go on.
pub fn run(
    plan: Plan,
    pids: &[u32],
    program: &mut dyn FnMut() -> io::Result<Command>,
    watch: &mut dyn FnMut(&Sample) -> bool,
) -> Result<Outcome, CrewError> {
    let before = Usage::of(pids);
    let plan = Arc::new(plan);
    let mut crew = Crew::start(Arc::clone(&plan), program)?;
    let mut run = Run::new(&plan, pids, crew.count(), before);
    loop {
        match crew.reports().recv_timeout(POLL_INTERVAL) {
            Ok(interval) => run.note(&interval),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        while let Some(sample) = run.next_sample() {
            run.outcome.interrupted |= !watch(&sample);
            run.outcome.samples.push(sample);
        }
        if let Some(stage) = run.next_stage() {
            crew.go_to(stage);
            run.begin(stage);
        }
    }
    Ok(run.finish())
}

/// A run in progress.
struct Run<'p> {
    outcome: Outcome,
    pids: &'p [u32],
    stage: Stage,
    started: Instant,
    stage_since: Instant,
    /// The time when a message or handshake was last received.
    last_received: Instant,
    /// The latest report of each worker; `None` before its first.
    workers: Vec<Option<WorkerState>>,
    samples: Samples,
    /// For each worker, the measured time and the CPU time it used in it.
    measured: Vec<(u64, Effort)>,
}

#[derive(Clone, Copy)]
struct WorkerState {
    stage: Stage,
    open: usize,
    opening: usize,
    in_flight: u64,
}

impl<'p> Run<'p> {
    fn new(plan: &Plan, pids: &'p [u32], workers: usize, before: Usage) -> Self {
        let now = Instant::now();
        Self {
            outcome: Outcome {
                plan: plan.clone(),
                interrupted: false,
                open: 0,
                opening_s: 0.0,
                measured_s: 0.0,
                measured: Counts::default(),
                whole: Counts::default(),
                latencies: Latencies::default(),
                utilization: Utilization::default(),
                lateness: Latencies::default(),
                answered: 0,
                usage: [before; 4],
                samples: Vec::new(),
            },
            pids,
            stage: Stage::Open,
            started: now,
            stage_since: now,
            last_received: now,
            workers: vec![None; workers],
            samples: Samples::new(workers, before),
            measured: vec![(0, Effort::default()); workers],
        }
    }

    fn note(&mut self, interval: &Interval) {
        let Interval { stage, worker, open, opening, in_flight, ref counts, ref latencies, .. } = *interval;
        if let Some(state) = self.workers.get_mut(worker) {
            *state = Some(WorkerState { stage, open, opening, in_flight });
        }
        if counts.received > 0 || counts.opened > 0 {
            self.last_received = Instant::now();
        }
        self.samples.note(interval);
        let outcome = &mut self.outcome;
        outcome.whole += counts;
        match (stage, outcome.plan.mode, outcome.plan.pace) {
            (Stage::Measure, ..) => {
                outcome.measured += counts;
                outcome.latencies += latencies;
                outcome.lateness += &interval.lateness;
                if let Some((span_ns, effort)) = self.measured.get_mut(worker) {
                    *span_ns += interval.span_ns;
                    *effort += &interval.effort;
                }
            }
            (Stage::Settle, Mode::Idle, _) => {
                outcome.answered += counts.received;
                outcome.latencies += latencies;
            }
            // In an open loop, messages that arrive after the measured time took longest, so they count.
            (Stage::Settle, _, Pace::PerSecond(_)) => outcome.latencies += latencies,
            _ => {}
        }
        let open = self.sum(|state| state.open);
        self.outcome.open = self.outcome.open.max(open);
    }

    fn sum(&self, of: impl Fn(&WorkerState) -> usize) -> usize {
        self.workers.iter().flatten().map(of).sum()
    }

    fn next_sample(&mut self) -> Option<Sample> {
        let open = self.sum(|state| state.open);
        self.samples.next(self.stage, open, self.pids)
    }

    /// Returns the stage to begin now, if the current one is over.
    fn next_stage(&self) -> Option<Stage> {
        let since = self.stage_since.elapsed();
        let plan = &self.outcome.plan;
        let interrupted = self.outcome.interrupted;
        let over = match self.stage {
            Stage::Open => interrupted || plan.mode == Mode::Connect || self.all_are_open(),
            Stage::WarmUp => interrupted || since >= plan.warm_up,
            Stage::Measure => interrupted || since >= plan.duration,
            Stage::Settle => {
                let settled = self.workers.iter().flatten().all(|state| state.stage >= Stage::Settle)
                    && self.sum(|state| state.in_flight as usize + state.opening) == 0
                    && self.last_received.elapsed() >= SILENCE;
                let max = if interrupted { plan.settle.min(INTERRUPTED_SETTLE_MAX) } else { plan.settle };
                settled || since >= max
            }
            Stage::Close => false,
        };
        let none_open = self.outcome.open == 0 && plan.mode != Mode::Connect;
        match (over, self.stage) {
            (false, _) => None,
            (true, Stage::Open) if interrupted || none_open => Some(Stage::Close),
            (true, stage) => Some(Stage::from_number(stage as u8 + 1)),
        }
    }

    /// Returns whether all connections are open or have failed, and subscriptions have had time to take effect.
    fn all_are_open(&self) -> bool {
        let all_opened = self.workers.iter().all(|state| state.is_some_and(|state| state.opening == 0));
        let waits = self.outcome.plan.mode == Mode::Fanout;
        all_opened && (!waits || self.last_received.elapsed() >= SUBSCRIBE_TIME)
    }

    fn begin(&mut self, stage: Stage) {
        let usage = Usage::of(self.pids);
        match stage {
            Stage::WarmUp => {
                self.outcome.opening_s = self.last_received.duration_since(self.started).as_secs_f64();
                self.outcome.usage[1] = usage;
                self.outcome.usage[2] = usage;
            }
            Stage::Measure => self.outcome.usage[2] = usage,
            Stage::Settle => self.outcome.usage[3] = usage,
            _ => {}
        }
        (self.stage, self.stage_since, self.last_received) = (stage, Instant::now(), Instant::now());
    }

    /// Returns the outcome, with messages that never arrived counted as faults.
    fn finish(mut self) -> Outcome {
        let measured_ns: u64 = self.measured.iter().map(|(span_ns, _)| span_ns).sum();
        self.outcome.measured_s = measured_ns as f64 / 1e9 / self.measured.len().max(1) as f64;
        let loads = self.measured.iter().map(|(span_ns, effort)| effort.of(*span_ns));
        self.outcome.utilization = loads.fold(Utilization::default(), Utilization::busier);
        let missing = match self.outcome.plan.mode {
            Mode::Fanout => {
                let plan = &self.outcome.plan;
                let listeners = plan.connections - usize::from(!plan.receives_own);
                let whole = &self.outcome.whole;
                (whole.sent * listeners as u64).saturating_sub(whole.received + whole.missed)
            }
            _ => self.sum(|state| state.in_flight as usize) as u64,
        };
        let mode = self.outcome.plan.mode;
        let whole = &mut self.outcome.whole;
        if missing > 0 {
            whole.fault(missing_fault(mode), missing);
        }
        let lost = self.workers.iter().filter(|state| state.is_none_or(|state| state.stage < Stage::Close)).count();
        if lost > 0 {
            whole.fault("A part of the load generator ended early, and its results are lost.", lost as u64);
        }
        if self.outcome.interrupted && measured_ns == 0 {
            whole.fault("The run was interrupted before anything was measured.", 1);
        }
        if whole.opened == 0 && whole.faulty() == 0 {
            whole.fault("No connection was opened.", 1);
        }
        self.outcome
    }
}
