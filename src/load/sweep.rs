//! A sweep: the same message rate over more and more connections, step by step, to find how many are served well.
//!
//! Each step is a run of its own, from opening to closing, so that no step inherits unfinished work from the one
//! before. Invariant: an interrupted step is not part of the outcome.

use std::io;
use std::process::Command;
use std::time::Duration;

use super::crew::CrewError;
use super::knee::{self, Knee, Point};
use super::plan::{Mode, Pace, Plan, PlanError};
use super::run::{Outcome, run};
use super::samples::Sample;

/// The default rate, as a share of what the server achieves in a closed loop.
const OFFERED_OF_SATURATED: f64 = 0.5;

/// Connections that saturate a server: enough to keep it busy, and few enough not to be a load by themselves. Limited
/// to the range of the sweep's steps.
const SATURATING: usize = 100;

/// The longest time for which the saturated rate is measured.
const SATURATED_TIME: Duration = Duration::from_secs(3);

/// The settings of a sweep.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The plan of each step, an echo. The sweep sets its connections and its pace.
    pub plan: Plan,
    /// The connections of each step, in increasing order.
    pub steps: Vec<usize>,
    /// Messages per second in all; `None` for half of what the server achieves in a closed loop.
    pub rate: Option<f64>,
}

/// The progress of a sweep.
#[derive(Clone, Copy, Debug)]
pub struct SweepProgress<'p> {
    /// The current step, from 1 on; 0 while the saturated rate is measured.
    pub step: usize,
    /// The number of steps.
    pub steps: usize,
    /// The plan of the current step.
    pub plan: &'p Plan,
}

/// The outcome of a sweep.
#[derive(Clone, Debug)]
pub struct SweepOutcome {
    /// The settings.
    pub sweep: Sweep,
    /// The closed loop that measured the saturated rate, if no rate was given.
    pub saturated: Option<Outcome>,
    /// The offered rate; 0 if none was found.
    pub rate: f64,
    /// The completed steps.
    pub steps: Vec<Outcome>,
    /// True if the sweep was interrupted.
    pub interrupted: bool,
    /// The reason why the sweep stopped early, if it did.
    pub failure: Option<String>,
}

impl Sweep {
    /// Returns the sweep if it can work.
    pub fn checked(self) -> Result<Self, PlanError> {
        let rising = self.steps.is_sorted_by(|one, next| one < next);
        let Some(&first) = self.steps.first().filter(|_| rising) else {
            return Err(PlanError::Steps { steps: self.steps });
        };
        let pace = Pace::PerSecond(self.rate.unwrap_or(1.0));
        let plan = Plan { mode: Mode::Echo, connections: first, pace, ..self.plan }.checked()?;
        Ok(Self { plan, ..self })
    }

    /// Returns the plan of the closed loop that measures the saturated rate.
    fn saturating(&self) -> Plan {
        let (first, last) = (self.steps.first().copied().unwrap_or(1), self.steps.last().copied().unwrap_or(1));
        Plan {
            connections: SATURATING.clamp(first, last),
            pace: Pace::InFlight(1),
            duration: self.plan.duration.min(SATURATED_TIME),
            ..self.plan.clone()
        }
    }
}

impl SweepOutcome {
    /// Returns whether every step was completed without faults.
    pub fn is_faultless(&self) -> bool {
        let mut all = self.saturated.iter().chain(&self.steps);
        !self.steps.is_empty() && self.failure.is_none() && all.all(Outcome::is_faultless)
    }

    /// Returns the step from which on no step was served as well as those before it.
    pub fn knee(&self) -> Option<Knee> {
        knee::find(self.steps.iter().map(|step| Point {
            connections: step.plan.connections,
            offered_per_second: self.rate,
            achieved_per_second: step.rate(),
            p99_us: step.latencies.percentile(99.0) as f64 / 1e3,
            error_rate: step.error_rate(),
        }))
    }
}

/// Carries out a checked sweep. The parameters are those of [`run`](super::run()).
pub fn sweep(
    sweep: Sweep,
    pids: &[u32],
    program: &mut dyn FnMut() -> io::Result<Command>,
    watch: &mut dyn FnMut(SweepProgress<'_>, &Sample) -> bool,
) -> Result<SweepOutcome, CrewError> {
    let steps = sweep.steps.len();
    let mut carry_out = |step: usize, plan: Plan| {
        let shown = plan.clone();
        run(plan, pids, program, &mut |sample| watch(SweepProgress { step, steps, plan: &shown }, sample))
    };
    let saturated = match sweep.rate {
        Some(_) => None,
        None => Some(carry_out(0, sweep.saturating())?),
    };
    let found = saturated.as_ref().map_or(0.0, |outcome| (outcome.rate() * OFFERED_OF_SATURATED).round());
    let rate = sweep.rate.unwrap_or(found);
    let interrupted = saturated.as_ref().is_some_and(|outcome| outcome.interrupted);
    let mut outcome = SweepOutcome { sweep, saturated, rate, steps: Vec::new(), interrupted, failure: None };
    if rate <= 0.0 {
        outcome.failure = Some("No echo arrived in the closed loop, so there is no rate to offer.".to_owned());
        return Ok(outcome);
    }
    for (number, &connections) in outcome.sweep.steps.iter().enumerate() {
        if outcome.interrupted {
            break;
        }
        let plan = Plan { connections, pace: Pace::PerSecond(rate), ..outcome.sweep.plan.clone() };
        match carry_out(number + 1, plan) {
            Ok(step) if step.interrupted => outcome.interrupted = true,
            Ok(step) => outcome.steps.push(step),
            // The completed steps are still worth showing.
            Err(error) => {
                outcome.failure = Some(format!("The step with {connections} connections failed. {error}"));
                break;
            }
        }
    }
    Ok(outcome)
}
