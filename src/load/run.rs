//! A run from its first connection to its outcome: which stage it is in, and what it has come to.

use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::crew::{Crew, CrewError};
use super::effort::{Effort, Limit, Load};
use super::observe::Usage;
use super::plan::{Mode, Pace, Plan};
use super::samples::{Sample, Samples};
use super::talk::missing_fault;
use super::tally::{Counts, Interval, Latencies, Stage};

/// How often it is looked whether another stage is to begin.
const LOOK: Duration = Duration::from_millis(10);

/// A server may confirm a connection before all of its cores know what the connection is to hear.
const SUBSCRIBE_TIME: Duration = Duration::from_millis(500);

/// Silence after which nothing more is expected to come.
const SILENCE: Duration = Duration::from_millis(500);

/// How long stragglers are waited for at most once somebody wants an end: long enough for a host that is busy, and whoever
/// cannot wait interrupts twice.
const INTERRUPTED_SETTLE_MAX: Duration = Duration::from_secs(5);

/// What a run has come to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// What was to be done.
    pub plan: Plan,
    /// Whether somebody ended it before its time.
    pub interrupted: bool,
    /// The most connections that were open at once.
    pub open: usize,
    /// How long it took to open them, in seconds.
    pub opening_s: f64,
    /// For how long was measured, in seconds.
    pub measured_s: f64,
    /// What was counted meanwhile.
    pub measured: Counts,
    /// What was counted from beginning to end.
    pub whole: Counts,
    /// How long messages took while it was measured, or handshakes where those are what is measured.
    pub latencies: Latencies,
    /// What the busiest thread of the load took meanwhile; nothing if it is not known.
    pub load: Load,
    /// How late it sent messages of an open loop, by its own doing, which is a part of how long they took.
    pub lateness: Latencies,
    /// Of an idle run: connections that answered in the end.
    pub answered: u64,
    /// What the server used before anyone came, once all connections were open, when measuring began and when it ended.
    pub usage: [Usage; 4],
    /// Everything over time.
    pub samples: Vec<Sample>,
}

impl Outcome {
    /// Whether everything came that had to, as it had to.
    pub fn is_faultless(&self) -> bool {
        self.whole.faulty() == 0
    }

    /// What is measured, a second: messages that came, or handshakes.
    pub fn rate(&self) -> f64 {
        let count = match self.plan.mode {
            Mode::Connect => self.measured.opened,
            _ => self.measured.received,
        };
        count as f64 / self.measured_s.max(1e-9)
    }

    /// Of the messages that were due, also before and after it was measured, the part that did not come back as it should: lost
    /// or changed, or due on a connection that was not open. All of it if nobody could connect.
    pub fn error_rate(&self) -> f64 {
        match self.whole.sent + self.whole.unsent {
            0 if self.open == 0 => 1.0,
            0 => 0.0,
            due => 1.0 - self.whole.received.min(due) as f64 / due as f64,
        }
    }

    /// Whether it was the load that was measured, and not the server.
    pub fn limit(&self) -> Option<Limit> {
        let p99_us = |latencies: &Latencies| latencies.percentile(99.0) as f64 / 1e3;
        let late_us = matches!(self.plan.pace, Pace::PerSecond(_)).then(|| p99_us(&self.lateness));
        self.load.limit(p99_us(&self.latencies), late_us).filter(|_| self.plan.mode != Mode::Idle)
    }

    /// The server's processor time for each of those, in microseconds.
    pub fn server_cpu_us(&self) -> f64 {
        let count = self.rate() * self.measured_s;
        self.usage[3].cpu.saturating_sub(self.usage[2].cpu).as_secs_f64() * 1e6 / count.max(1.0)
    }

    /// Bytes of the server and of the kernel for each connection that was open.
    pub fn bytes_per_connection(&self) -> (f64, f64) {
        let [before, opened, ..] = &self.usage;
        let open = self.open.max(1) as f64;
        let more = |before: u64, after: u64| (after as f64 - before as f64) / open;
        (more(before.resident_bytes, opened.resident_bytes), more(before.kernel_bytes, opened.kernel_bytes))
    }
}

/// Carries out a plan. `program` starts a further process where one does not suffice, see [`super::work_for_parent`]; `pids`
/// are the server's processes, if they can be observed; `watch` is shown each sample and says whether to go on.
pub fn run(
    plan: Plan,
    pids: &[u32],
    program: &mut dyn FnMut() -> io::Result<Command>,
    watch: &mut dyn FnMut(&Sample) -> bool,
) -> Result<Outcome, CrewError> {
    let before = Usage::of(pids);
    let plan = Arc::new(plan);
    let mut crew = Crew::start(Arc::clone(&plan), program)?;
    let mut run = Run::new(&plan, pids, crew.workers(), before);
    loop {
        match crew.told().recv_timeout(LOOK) {
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

/// A run under way.
struct Run<'p> {
    outcome: Outcome,
    pids: &'p [u32],
    stage: Stage,
    started: Instant,
    stage_since: Instant,
    /// When something last came.
    heard: Instant,
    /// What each worker told last; `None` before its first word.
    workers: Vec<Option<Told>>,
    samples: Samples,
    /// For how long each worker has measured, and how much of that time it took.
    measured: Vec<(u64, Effort)>,
}

#[derive(Clone, Copy)]
struct Told {
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
                load: Load::default(),
                lateness: Latencies::default(),
                answered: 0,
                usage: [before; 4],
                samples: Vec::new(),
            },
            pids,
            stage: Stage::Open,
            started: now,
            stage_since: now,
            heard: now,
            workers: vec![None; workers],
            samples: Samples::new(workers, before),
            measured: vec![(0, Effort::default()); workers],
        }
    }

    fn note(&mut self, interval: &Interval) {
        let Interval { stage, worker, open, opening, in_flight, ref counts, ref latencies, .. } = *interval;
        if let Some(told) = self.workers.get_mut(worker) {
            *told = Some(Told { stage, open, opening, in_flight });
        }
        if counts.received > 0 || counts.opened > 0 {
            self.heard = Instant::now();
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
            // In an open loop those that came too late to be counted took longer than all others.
            (Stage::Settle, _, Pace::PerSecond(_)) => outcome.latencies += latencies,
            _ => {}
        }
        let open = self.sum(|told| told.open);
        self.outcome.open = self.outcome.open.max(open);
    }

    fn sum(&self, of: impl Fn(&Told) -> usize) -> usize {
        self.workers.iter().flatten().map(of).sum()
    }

    fn next_sample(&mut self) -> Option<Sample> {
        let open = self.sum(|told| told.open);
        self.samples.next(self.stage, open, self.pids)
    }

    /// The stage that is to begin now, if one is.
    fn next_stage(&self) -> Option<Stage> {
        let since = self.stage_since.elapsed();
        let plan = &self.outcome.plan;
        let interrupted = self.outcome.interrupted;
        let over = match self.stage {
            Stage::Open => interrupted || plan.mode == Mode::Connect || self.all_are_open(),
            Stage::WarmUp => interrupted || since >= plan.warm_up,
            Stage::Measure => interrupted || since >= plan.duration,
            Stage::Settle => {
                let settled = self.workers.iter().flatten().all(|told| told.stage >= Stage::Settle)
                    && self.sum(|told| told.in_flight as usize + told.opening) == 0
                    && self.heard.elapsed() >= SILENCE;
                let max = if interrupted { plan.settle.min(INTERRUPTED_SETTLE_MAX) } else { plan.settle };
                settled || since >= max
            }
            Stage::Close => false,
        };
        let nobody_is_there = self.outcome.open == 0 && plan.mode != Mode::Connect;
        match (over, self.stage) {
            (false, _) => None,
            (true, Stage::Open) if interrupted || nobody_is_there => Some(Stage::Close),
            (true, stage) => Some(Stage::from_number(stage as u8 + 1)),
        }
    }

    /// Whether none is opening any more, and servers have had the time to know what each is to hear.
    fn all_are_open(&self) -> bool {
        let all_told = self.workers.iter().all(|told| told.is_some_and(|told| told.opening == 0));
        let waits = self.outcome.plan.mode == Mode::Fanout;
        all_told && (!waits || self.heard.elapsed() >= SUBSCRIBE_TIME)
    }

    fn begin(&mut self, stage: Stage) {
        let usage = Usage::of(self.pids);
        match stage {
            Stage::WarmUp => {
                self.outcome.opening_s = self.heard.duration_since(self.started).as_secs_f64();
                self.outcome.usage[1] = usage;
                self.outcome.usage[2] = usage;
            }
            Stage::Measure => self.outcome.usage[2] = usage,
            Stage::Settle => self.outcome.usage[3] = usage,
            _ => {}
        }
        (self.stage, self.stage_since, self.heard) = (stage, Instant::now(), Instant::now());
    }

    /// What never came is known only now.
    fn finish(mut self) -> Outcome {
        let measured_ns: u64 = self.measured.iter().map(|(span_ns, _)| span_ns).sum();
        self.outcome.measured_s = measured_ns as f64 / 1e9 / self.measured.len().max(1) as f64;
        let loads = self.measured.iter().map(|(span_ns, effort)| effort.of(*span_ns));
        self.outcome.load = loads.fold(Load::default(), Load::busier);
        let missing = match self.outcome.plan.mode {
            Mode::Fanout => {
                let plan = &self.outcome.plan;
                let listeners = plan.connections - usize::from(!plan.hears_itself);
                let whole = &self.outcome.whole;
                (whole.sent * listeners as u64).saturating_sub(whole.received + whole.missed)
            }
            _ => self.sum(|told| told.in_flight as usize) as u64,
        };
        let mode = self.outcome.plan.mode;
        let whole = &mut self.outcome.whole;
        if missing > 0 {
            whole.fault(missing_fault(mode), missing);
        }
        let lost = self.workers.iter().filter(|told| told.is_none_or(|told| told.stage < Stage::Close)).count();
        if lost > 0 {
            whole.fault(
                "A part of the load generator ended before its time, and what it held is not known.",
                lost as u64,
            );
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
