//! How a bench gets on, in one line of a terminal. Where there is none, nothing is shown.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use ringsock::load::{Mode, Part, Plan, Sample, Stage};

/// The line.
pub struct Progress {
    bar: ProgressBar,
    /// Which part of several this is.
    part: String,
    mode: Mode,
    connections: usize,
    duration: Duration,
    /// When measuring began, in seconds of the run.
    begun_s: Option<f64>,
}

impl Progress {
    /// For a run that has yet to begin.
    pub fn new(plan: &Plan) -> Self {
        let bar = ProgressBar::new(1000);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
            bar.set_style(style);
        }
        let mut progress =
            Self { bar, part: String::new(), mode: plan.mode, connections: 0, duration: Duration::ZERO, begun_s: None };
        progress.begin(plan);
        progress
    }

    fn begin(&mut self, plan: &Plan) {
        (self.mode, self.connections, self.duration) = (plan.mode, plan.connections, plan.duration);
        self.begun_s = None;
    }

    /// Shows what was seen last in a part of a sweep.
    pub fn show_part(&mut self, part: Part<'_>, sample: &Sample) {
        let shown = match part.step {
            0 => "finding the rate, ".to_owned(),
            step => format!("step {step} of {}, {} connections, ", part.steps, part.plan.connections),
        };
        if self.part != shown {
            self.begin(part.plan);
            self.part = shown;
        }
        self.show(sample);
    }

    /// Shows what was seen last.
    pub fn show(&mut self, sample: &Sample) {
        let begun_s = match sample.stage {
            Stage::Measure => *self.begun_s.get_or_insert(sample.at_s),
            _ => sample.at_s,
        };
        let done = match sample.stage {
            Stage::Open => sample.open as f64 / self.connections.max(1) as f64,
            Stage::WarmUp => 0.0,
            Stage::Measure => (sample.at_s - begun_s) / self.duration.as_secs_f64().max(0.001),
            Stage::Settle | Stage::Close => 1.0,
        };
        let stage = match sample.stage {
            Stage::Open => "opening",
            Stage::WarmUp => "warming up",
            Stage::Measure => "measuring",
            Stage::Settle => "settling",
            Stage::Close => "closing",
        };
        let rate = match self.mode {
            Mode::Connect | Mode::Idle => format!("{:.0} handshakes/s", sample.opened_per_second),
            _ => format!("{:.0} messages/s", sample.received_per_second),
        };
        self.bar.set_position((done * 1000.0) as u64);
        self.bar.set_message(format!(
            "{}{stage}: {} open, {rate}, p50 {:.0} µs, p99 {:.0} µs",
            self.part, sample.open, sample.p50_us, sample.p99_us
        ));
    }

    /// Clears the line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
