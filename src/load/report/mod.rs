//! Reports of a run: a table for terminals, JSON for programs, and an HTML page with plots.

mod axis;
mod document;
mod markup;
mod number;
mod page;
mod plot;
mod sweep;
mod table;

use std::fmt;

use serde::Serialize;

use super::effort::{Bottleneck, Utilization};
use super::plan::{Mode, Pace};
use super::run::Outcome;
use super::samples::Sample;
use super::tally::Latencies;

pub use document::About;
pub use page::html;
pub use sweep::{Saturated, Step, SweepSummary, SweepTable, sweep_html, sweep_json};
pub use table::Table;

/// The figures of a run; the fields of its JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Summary<'o> {
    /// The workload.
    pub mode: Mode,
    /// The Host header and the request target.
    pub url: String,
    /// Requested connections, and the peak number of open ones.
    pub connections: usize,
    /// See `connections`.
    pub open: usize,
    /// The time it took to open them, in seconds, and the rate per second.
    pub opening_s: f64,
    /// See `opening_s`.
    pub opened_per_second: f64,
    /// Bytes per message.
    pub message_bytes: usize,
    /// The rule for when messages were sent.
    pub pace: Pace,
    /// True if the run was interrupted.
    pub interrupted: bool,
    /// The measured time, in seconds.
    pub measured_s: f64,
    /// Messages sent in that time.
    pub sent: u64,
    /// Messages received correctly in that time.
    pub received: u64,
    /// Received messages per second, or handshakes in mode connect.
    pub per_second: f64,
    /// Received payload, in megabytes per second.
    pub megabytes_per_second: f64,
    /// Latency, in microseconds.
    pub latency_us: Percentiles,
    /// The load generator's own resource use.
    pub load: LoadGenerator,
    /// The resource use of the server's processes, if they were given.
    pub server: Option<Server>,
    /// Idle: connections that answered at the end.
    pub answered: Option<u64>,
    /// Faults of the whole run, and how often each occurred.
    pub faults: &'o std::collections::BTreeMap<String, u64>,
    /// The figures over time.
    pub samples: &'o [Sample],
}

/// Percentiles of a distribution.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub p99_99: f64,
    pub max: f64,
}

/// The load generator's own resource use.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LoadGenerator {
    /// Utilization of the busiest load thread.
    #[serde(flatten)]
    pub busiest_thread: Utilization,
    /// The load generator's own delay in an open loop, in microseconds; it is part of the latency.
    pub late_us: Option<Percentiles>,
    /// The reason why the run may have measured the load generator, if any.
    pub bottleneck: Option<Bottleneck>,
}

impl From<&Outcome> for LoadGenerator {
    fn from(outcome: &Outcome) -> Self {
        let late_us = (!outcome.lateness.is_empty()).then(|| Percentiles::from(&outcome.lateness));
        Self { busiest_thread: outcome.utilization, late_us, bottleneck: outcome.bottleneck() }
    }
}

/// The resource use of the server's processes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Server {
    /// CPU time per message or handshake, in microseconds.
    pub cpu_us: f64,
    /// CPU time in percent of one core.
    pub cpu_percent: f64,
    /// Resident memory at the end of measuring, in bytes.
    pub resident_bytes: u64,
    /// Resident memory per connection, in bytes.
    pub bytes_per_connection: f64,
    /// Kernel memory per connection, in bytes: of both ends, if both are on this host.
    pub kernel_bytes_per_connection: f64,
}

impl From<&Latencies> for Percentiles {
    fn from(latencies: &Latencies) -> Self {
        let at = |percent| latencies.percentile(percent) as f64 / 1e3;
        Self {
            mean: latencies.mean() / 1e3,
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p99_9: at(99.9),
            p99_99: at(99.99),
            max: latencies.max() as f64 / 1e3,
        }
    }
}

impl<'o> From<&'o Outcome> for Summary<'o> {
    fn from(outcome: &'o Outcome) -> Self {
        let plan = &outcome.plan;
        let (bytes_per_connection, kernel_bytes_per_connection) = outcome.bytes_per_connection();
        let [.., from, to] = &outcome.usage;
        let measured_s = outcome.measured_s.max(1e-9);
        let server = (to.resident_bytes > 0).then(|| Server {
            cpu_us: outcome.server_cpu_us(),
            cpu_percent: to.cpu.saturating_sub(from.cpu).as_secs_f64() * 100.0 / measured_s,
            resident_bytes: to.resident_bytes,
            bytes_per_connection,
            kernel_bytes_per_connection,
        });
        Self {
            mode: plan.mode,
            url: plan.url(),
            connections: plan.connections,
            open: outcome.open,
            opening_s: outcome.opening_s,
            opened_per_second: outcome.open as f64 / outcome.opening_s.max(1e-9),
            message_bytes: plan.size,
            pace: plan.pace,
            interrupted: outcome.interrupted,
            measured_s: outcome.measured_s,
            sent: outcome.measured.sent,
            received: outcome.measured.received,
            per_second: outcome.rate(),
            megabytes_per_second: outcome.measured.received_bytes as f64 / measured_s / 1e6,
            latency_us: Percentiles::from(&outcome.latencies),
            load: LoadGenerator::from(outcome),
            server,
            answered: (plan.mode == Mode::Idle).then_some(outcome.answered),
            faults: &outcome.whole.faults,
            samples: &outcome.samples,
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFlight(count) => write!(f, "{count} in flight"),
            Self::PerSecond(rate) => write!(f, "{} per second offered", number::Grouped(*rate)),
        }
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Echo => "Echo",
        Mode::Fanout => "Fan-out",
        Mode::Connect => "Connect",
        Mode::Idle => "Idle",
        Mode::Mixed => "Mixed",
    }
}

/// Returns the outcome as JSON.
pub fn json(outcome: &Outcome) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&Summary::from(outcome))
}
