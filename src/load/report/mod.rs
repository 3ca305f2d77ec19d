//! What a run has come to, for people and for programs: a table, JSON, and a page with plots.

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

use super::effort::{Limit, Load};
use super::plan::{Mode, Pace};
use super::run::Outcome;
use super::samples::Sample;
use super::tally::Latencies;

pub use document::About;
pub use page::html;
pub use sweep::{Saturated, Step, SweepSummary, SweepTable, sweep_html, sweep_json};
pub use table::Table;

/// What is shown of a run; the fields of its JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Summary<'o> {
    /// What the connections did.
    pub mode: Mode,
    /// The Host header and the request target.
    pub url: String,
    /// How many were asked for, and how many were open at once at most.
    pub connections: usize,
    /// See `connections`.
    pub open: usize,
    /// How long it took to open them, in seconds, and how many were opened a second.
    pub opening_s: f64,
    /// See `opening_s`.
    pub opened_per_second: f64,
    /// Bytes of a message.
    pub message_bytes: usize,
    /// When messages were sent.
    pub pace: Pace,
    /// Whether it ended before its time.
    pub interrupted: bool,
    /// For how long was measured, in seconds.
    pub measured_s: f64,
    /// Messages sent meanwhile.
    pub sent: u64,
    /// Messages that came, as they should be.
    pub received: u64,
    /// Those a second; handshakes where those are what is measured.
    pub per_second: f64,
    /// Megabytes a second of payload that came.
    pub megabytes_per_second: f64,
    /// How long each took, in microseconds.
    pub latency_us: Percentiles,
    /// What the load itself took.
    pub load: OwnLoad,
    /// What the server's processes used, if they were given.
    pub server: Option<Server>,
    /// Of an idle run: connections that answered in the end.
    pub answered: Option<u64>,
    /// What went wrong, and how often, from beginning to end.
    pub faults: &'o std::collections::BTreeMap<String, u64>,
    /// Everything over time.
    pub samples: &'o [Sample],
}

/// What so many of a hundred did not exceed.
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

/// What the load itself took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OwnLoad {
    /// Of its time, by its busiest thread.
    #[serde(flatten)]
    pub of_thread: Load,
    /// How late it sent messages of an open loop, in microseconds; a part of how long they took.
    pub late_us: Option<Percentiles>,
    /// Why it may be what was measured.
    pub limit: Option<Limit>,
}

impl From<&Outcome> for OwnLoad {
    fn from(outcome: &Outcome) -> Self {
        let late_us = (!outcome.lateness.is_empty()).then(|| Percentiles::from(&outcome.lateness));
        Self { of_thread: outcome.load, late_us, limit: outcome.limit() }
    }
}

/// What the server's processes used.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Server {
    /// Processor time for each message, or handshake, in microseconds.
    pub cpu_us: f64,
    /// Of a hundred of one core.
    pub cpu_percent: f64,
    /// Memory in bytes, once measuring ended.
    pub resident_bytes: u64,
    /// Memory of its own for each connection, in bytes.
    pub bytes_per_connection: f64,
    /// Memory of the kernel's objects for each connection, in bytes: of both ends, if both are on this host.
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
            url: format!("ws://{}{}", plan.host, plan.path),
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
            load: OwnLoad::from(outcome),
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
            Self::PerSecond(rate) => write!(f, "{} a second offered", number::Grouped(*rate)),
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

/// The whole of it as JSON.
pub fn json(outcome: &Outcome) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&Summary::from(outcome))
}
