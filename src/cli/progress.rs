//! The progress of a bench, in one line of a terminal. Shows nothing without a terminal.
//!
//! Owns the thread that draws. Invariant: the run never waits for the terminal, which a person may have stopped.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use ringsock::load::{Mode, Plan, Sample, Stage, SweepProgress};

/// The longest wait for a stopped terminal at the end of a run, before the outcome is printed after the line.
const CLEAR_MAX: Duration = Duration::from_millis(250);

/// The progress line.
pub struct Progress {
    frames: SyncSender<Frame>,
    /// Disconnects when the thread ends.
    drawn: Receiver<Infallible>,
    /// The current step of a sweep.
    step: String,
    mode: Mode,
    connections: usize,
    duration: Duration,
    /// The time at which measuring began, in seconds of the run.
    begun_s: Option<f64>,
}

impl Progress {
    /// Starts the display of a run.
    pub fn new(plan: &Plan) -> Self {
        let (frames, to_draw) = sync_channel(1);
        let (ends, drawn) = sync_channel(0);
        // Without a thread nothing is shown.
        let _ = thread::Builder::new().name("bench-progress".to_owned()).spawn(move || draw(to_draw, ends));
        let mut progress = Self {
            frames,
            drawn,
            step: String::new(),
            mode: plan.mode,
            connections: 0,
            duration: Duration::ZERO,
            begun_s: None,
        };
        progress.begin(plan);
        progress
    }

    fn begin(&mut self, plan: &Plan) {
        (self.mode, self.connections, self.duration) = (plan.mode, plan.connections, plan.duration);
        self.begun_s = None;
    }

    /// Shows the latest sample of a sweep.
    pub fn show_step(&mut self, progress: SweepProgress<'_>, sample: &Sample) {
        let shown = match progress.step {
            0 => "finding the rate, ".to_owned(),
            step => format!("step {step} of {}, {} connections, ", progress.steps, progress.plan.connections),
        };
        if self.step != shown {
            self.begin(progress.plan);
            self.step = shown;
        }
        self.show(sample);
    }

    /// Shows the latest sample of a run.
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
        let frame = Frame {
            per_mille: (done * 1000.0) as u64,
            message: format!(
                "{}{stage}: {} open, {rate}, p50 {:.0} µs, p99 {:.0} µs",
                self.step, sample.open, sample.p50_us, sample.p99_us
            ),
        };
        // A frame is dropped while the one before is not drawn yet.
        let _ = self.frames.try_send(frame);
    }

    /// Clears the line.
    pub fn finish(self) {
        drop(self.frames);
        let _ = self.drawn.recv_timeout(CLEAR_MAX);
    }
}

/// The content of the line at one moment.
struct Frame {
    per_mille: u64,
    message: String,
}

/// Draws frames until the sender is gone.
fn draw(frames: Receiver<Frame>, _ends: SyncSender<Infallible>) {
    let bar = ProgressBar::new(1000);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
        bar.set_style(style);
    }
    for Frame { per_mille, message } in frames {
        bar.set_position(per_mille);
        bar.set_message(message);
    }
    bar.finish_and_clear();
}
