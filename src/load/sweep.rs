//! A sweep: the same rate over more and more connections, step by step, to find how many are served well.
//!
//! Each step is a run of its own, from opening to closing, so that no step inherits what the one before left waiting.
//! Invariant: a step that was interrupted is none.

use std::io;
use std::process::Command;
use std::time::Duration;

use super::crew::CrewError;
use super::knee::{self, Knee, Point};
use super::plan::{Mode, Pace, Plan, PlanError};
use super::run::{Outcome, run};
use super::samples::Sample;

/// Of the rate that the server achieves in a closed loop, the part that is offered if nothing else is said.
const OFFERED_OF_SATURATED: f64 = 0.5;

/// Connections that saturate a server: enough that one always has something to do, and not so many that they are a load by
/// themselves. A first step with more is taken instead, and a last step with fewer.
const SATURATING: usize = 100;

/// How long the saturated rate is measured at most.
const SATURATED_TIME: Duration = Duration::from_secs(3);

/// What is to be swept.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// What each step does: an echo. Its connections and its pace are the sweep's to choose.
    pub plan: Plan,
    /// The connections of each step, rising.
    pub steps: Vec<usize>,
    /// Messages a second in all; `None` for half of what the server achieves in a closed loop.
    pub rate: Option<f64>,
}

/// Which part of a sweep is under way.
#[derive(Clone, Copy, Debug)]
pub struct Part<'p> {
    /// The step, from 1 on; 0 while the saturated rate is measured.
    pub step: usize,
    /// How many steps there are.
    pub steps: usize,
    /// What is done in it.
    pub plan: &'p Plan,
}

/// What a sweep has come to.
#[derive(Clone, Debug)]
pub struct SweepOutcome {
    /// What was to be done.
    pub sweep: Sweep,
    /// The closed loop that told the saturated rate, if it was asked for.
    pub saturated: Option<Outcome>,
    /// The rate that was offered; 0 if none was found.
    pub rate: f64,
    /// Each step, as far as they were carried out.
    pub steps: Vec<Outcome>,
    /// Whether somebody ended it before its time.
    pub interrupted: bool,
    /// Why it could not go on, if it could not.
    pub broken: Option<String>,
}

impl Sweep {
    /// Refuses what cannot work.
    pub fn checked(self) -> Result<Self, PlanError> {
        let rising = self.steps.is_sorted_by(|one, next| one < next);
        let Some(&first) = self.steps.first().filter(|_| rising) else {
            return Err(PlanError::Steps { steps: self.steps });
        };
        let pace = Pace::PerSecond(self.rate.unwrap_or(1.0));
        let plan = Plan { mode: Mode::Echo, connections: first, pace, ..self.plan }.checked()?;
        Ok(Self { plan, ..self })
    }

    /// The closed loop that measures the saturated rate.
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
    /// Whether every step was carried out and every answer was right.
    pub fn is_faultless(&self) -> bool {
        let mut all = self.saturated.iter().chain(&self.steps);
        !self.steps.is_empty() && self.broken.is_none() && all.all(Outcome::is_faultless)
    }

    /// The step from which on none was served as those before it.
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

/// Carries out a sweep that was checked; see [`run`](super::run()) for the rest.
pub fn sweep(
    sweep: Sweep,
    pids: &[u32],
    program: &mut dyn FnMut() -> io::Result<Command>,
    watch: &mut dyn FnMut(Part<'_>, &Sample) -> bool,
) -> Result<SweepOutcome, CrewError> {
    let steps = sweep.steps.len();
    let mut carry_out = |step: usize, plan: Plan| {
        let shown = plan.clone();
        run(plan, pids, program, &mut |sample| watch(Part { step, steps, plan: &shown }, sample))
    };
    let saturated = match sweep.rate {
        Some(_) => None,
        None => Some(carry_out(0, sweep.saturating())?),
    };
    let found = saturated.as_ref().map_or(0.0, |outcome| (outcome.rate() * OFFERED_OF_SATURATED).round());
    let rate = sweep.rate.unwrap_or(found);
    let interrupted = saturated.as_ref().is_some_and(|outcome| outcome.interrupted);
    let mut outcome = SweepOutcome { sweep, saturated, rate, steps: Vec::new(), interrupted, broken: None };
    if rate <= 0.0 {
        outcome.broken = Some("No message came back in the closed loop, so there is no rate to offer.".to_owned());
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
            // What there is is worth showing.
            Err(error) => {
                outcome.broken = Some(format!("The step with {connections} connections could not be done. {error}"));
                break;
            }
        }
    }
    Ok(outcome)
}
