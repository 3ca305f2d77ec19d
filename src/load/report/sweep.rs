//! Reports of a sweep: a table, JSON, and an HTML page with the knee marked.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::axis::{Axis, Scale};
use super::document::{About, Document};
use super::markup::escaped;
use super::number::{Grouped, Percent, plain, short, short_time};
use super::plot::Plot;
use super::table::write_faults;
use super::{LoadGenerator, Percentiles, Server, Summary};
use crate::load::effort::Bottleneck;
use crate::load::knee::{ACHIEVED_MIN, ERRORS_MAX, Knee, SLOW_US, SLOWER_TIMES, Sign};
use crate::load::run::Outcome;
use crate::load::sweep::SweepOutcome;
use crate::units::{Bytes, MIB, Time};

/// The figures of a sweep; the fields of its JSON.
#[derive(Clone, Debug, Serialize)]
pub struct SweepSummary {
    /// Always "sweep".
    pub mode: &'static str,
    /// The Host header and the request target.
    pub url: String,
    /// Bytes per message.
    pub message_bytes: usize,
    /// Offered messages per second, over all connections.
    pub offered_per_second: f64,
    /// The closed loop whose rate was halved, if no rate was given.
    pub saturated: Option<Saturated>,
    /// True if the sweep was interrupted.
    pub interrupted: bool,
    /// The knee.
    pub knee: Option<Knee>,
    /// The steps.
    pub steps: Vec<Step>,
    /// Faults of all steps, and how often each occurred.
    pub faults: BTreeMap<String, u64>,
}

/// The closed loop that measured what the server can carry.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Saturated {
    /// Connections, each with one message in flight.
    pub connections: usize,
    /// Messages per second.
    pub per_second: f64,
}

/// A step of the sweep.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Requested connections, and the peak number of open ones.
    pub connections: usize,
    /// See `connections`.
    pub open: usize,
    /// Received messages per second.
    pub achieved_per_second: f64,
    /// Latency from when a message was due, in microseconds.
    pub latency_us: Percentiles,
    /// The share of messages that failed, from 0 to 1.
    pub error_rate: f64,
    /// The load generator's own resource use.
    pub load: LoadGenerator,
    /// The resource use of the server's processes, if they were given.
    pub server: Option<Server>,
    /// Faults, and how often each occurred.
    pub faults: BTreeMap<String, u64>,
}

impl From<&Outcome> for Step {
    fn from(outcome: &Outcome) -> Self {
        let Summary { connections, open, per_second, latency_us, load, server, faults, .. } = Summary::from(outcome);
        let error_rate = outcome.error_rate();
        let faults = faults.clone();
        Self { connections, open, achieved_per_second: per_second, latency_us, error_rate, load, server, faults }
    }
}

impl From<&SweepOutcome> for SweepSummary {
    fn from(outcome: &SweepOutcome) -> Self {
        let plan = &outcome.sweep.plan;
        let mut faults = BTreeMap::new();
        for run in outcome.saturated.iter().chain(&outcome.steps) {
            run.whole.faults.iter().for_each(|(what, times)| *faults.entry(what.clone()).or_insert(0) += times);
        }
        faults.extend(outcome.failure.iter().map(|why| (why.clone(), 1)));
        Self {
            mode: "sweep",
            url: plan.url(),
            message_bytes: plan.size,
            offered_per_second: outcome.rate,
            saturated: outcome
                .saturated
                .as_ref()
                .map(|saturated| Saturated { connections: saturated.plan.connections, per_second: saturated.rate() }),
            interrupted: outcome.interrupted,
            knee: outcome.knee(),
            steps: outcome.steps.iter().map(Step::from).collect(),
            faults,
        }
    }
}

impl SweepSummary {
    fn offered(&self) -> String {
        let offered = format!("{} B, {} per second offered", self.message_bytes, Grouped(self.offered_per_second));
        match &self.saturated {
            None => offered,
            Some(saturated) => format!(
                "{offered}: half of the {} that {} connections achieve in a closed loop",
                Grouped(saturated.per_second),
                saturated.connections
            ),
        }
    }

    fn verdict(&self) -> String {
        let Some(knee) = &self.knee else {
            return match self.steps.last() {
                Some(last) => format!("none up to {} connections", Grouped(last.connections as f64)),
                None => "no step was carried out".to_owned(),
            };
        };
        let sign = match knee.sign {
            Sign::Errors { error_rate } => format!("{} of the messages failed", Percent(error_rate)),
            Sign::Behind { achieved } => format!("only {} of the offered rate was achieved", Percent(achieved)),
            Sign::Slow { p99_us, lowest_us } => {
                let times = p99_us / lowest_us.max(1.0);
                format!("p99 is {}, {times:.1} times the lowest before ({})", Time(p99_us), Time(lowest_us))
            }
        };
        let served = match knee.served {
            Some(served) => format!("{} are served well", Grouped(served as f64)),
            None => "no step is served well".to_owned(),
        };
        format!("at {} connections: {sign}; {served}", Grouped(knee.connections as f64))
    }
}

/// Returns a note for each bottleneck of the load generator, with the steps it affected.
fn notes(steps: &[Step]) -> impl Iterator<Item = String> {
    [Bottleneck::Waited, Bottleneck::Busy, Bottleneck::Late].into_iter().filter_map(|bottleneck| {
        let limited = steps.iter().filter(|step| step.load.bottleneck == Some(bottleneck));
        let connections: Vec<_> = limited.map(|step| Grouped(step.connections as f64).to_string()).collect();
        (!connections.is_empty()).then(|| format!("with {} connections {bottleneck}", connections.join("; ")))
    })
}

/// Returns the definition of the knee.
fn definition() -> String {
    format!(
        "the first step from which on every step has more than {} % errors, less than {} % of the offered rate, or \
         a p99 above {} and above {SLOWER_TIMES} times the lowest of the earlier steps",
        plain(ERRORS_MAX * 100.0),
        plain(ACHIEVED_MIN * 100.0),
        short_time(SLOW_US),
    )
}

/// A sweep displayed as a text table.
#[derive(Debug)]
pub struct SweepTable<'o>(pub &'o SweepOutcome);

impl fmt::Display for SweepTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = SweepSummary::from(self.0);
        writeln!(f, "  sweep        {}{}", summary.url, if summary.interrupted { ", interrupted" } else { "" })?;
        writeln!(f, "  messages     {}\n", summary.offered())?;
        let server = summary.steps.iter().any(|step| step.server.is_some());
        let row = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
            let widths = [13, 13, 13, 9, 9, 9, 9, 10, 9, 8, 11];
            for (cell, width) in cells.iter().zip(widths) {
                write!(f, "{cell:>width$}")?;
            }
            writeln!(f)
        };
        row(f, &heads(server))?;
        for step in &summary.steps {
            row(f, &cells(step, summary.offered_per_second, server))?;
        }
        writeln!(f, "\n  knee         {}", summary.verdict())?;
        // Wrapped for a terminal of common width.
        writeln!(f, "               ({})", definition().replace(", or ", ",\n                or "))?;
        notes(&summary.steps).try_for_each(|note| writeln!(f, "  {:<13}{note}", "NOTE"))?;
        write_faults(f, &summary.faults)
    }
}

fn heads(server: bool) -> Vec<String> {
    let heads = [
        "connections",
        "offered/s",
        "achieved/s",
        "average",
        "p50",
        "p99",
        "p99.9",
        "late p99",
        "errors",
        "CPU",
        "memory",
    ];
    heads[..if server { 11 } else { 9 }].iter().map(|head| (*head).to_owned()).collect()
}

fn cells(step: &Step, offered: f64, server: bool) -> Vec<String> {
    let latency = &step.latency_us;
    let mut cells = vec![
        Grouped(step.connections as f64).to_string(),
        Grouped(offered).to_string(),
        Grouped(step.achieved_per_second).to_string(),
    ];
    cells.extend([latency.mean, latency.p50, latency.p99, latency.p99_9].map(|us| Time(us).to_string()));
    cells.push(step.load.late_us.map_or_else(|| "–".to_owned(), |late| Time(late.p99).to_string()));
    cells.push(Percent(step.error_rate).to_string());
    match &step.server {
        Some(server) => {
            cells.push(format!("{:.0} %", server.cpu_percent));
            cells.push(Bytes(server.resident_bytes as f64).to_string());
        }
        None if server => cells.extend(["–".to_owned(), "–".to_owned()]),
        None => {}
    }
    cells
}

/// Returns the outcome as JSON.
pub fn sweep_json(outcome: &SweepOutcome) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&SweepSummary::from(outcome))
}

/// Returns the page.
pub fn sweep_html(outcome: &SweepOutcome, about: &About) -> String {
    let summary = SweepSummary::from(outcome);
    let steps = &summary.steps;
    let title = match (steps.first(), steps.last()) {
        (Some(first), Some(last)) => format!(
            "Sweep from {} to {} connections",
            Grouped(first.connections as f64),
            Grouped(last.connections as f64)
        ),
        _ => "Sweep".to_owned(),
    };
    let subtitle = format!("{} · {}", summary.url, summary.offered());
    let mut document = Document::new(&title, &subtitle, summary.faults.values().sum(), summary.interrupted);
    document.keys(&keys(&summary));
    document.markup(&format!(
        "<div class=\"card knee {}\"><b>Knee: {}</b><br>The knee is {}.</div>\n",
        if summary.knee.is_some() { "found" } else { "none" },
        escaped(&summary.verdict()),
        escaped(&definition())
    ));
    notes(steps).for_each(|note| document.note(&note));
    document.faults(&summary.faults);
    document.plots(&plots_of(&summary));
    document.markup(&table(&summary));
    document.end(&SweepTable(outcome).to_string(), about)
}

fn keys(summary: &SweepSummary) -> Vec<(String, &'static str)> {
    let mut keys = vec![(Grouped(summary.offered_per_second).to_string(), "messages per second offered")];
    match (&summary.knee, summary.steps.last()) {
        (Some(Knee { served: Some(served), .. }), _) => {
            keys.push((Grouped(*served as f64).to_string(), "connections served well"));
        }
        (Some(_), _) => keys.push(("none".to_owned(), "of the steps served well")),
        (None, Some(last)) => keys.push((Grouped(last.connections as f64).to_string(), "connections, all served well")),
        (None, None) => {}
    }
    let served = summary.knee.map_or(usize::MAX, |knee| knee.served.unwrap_or(0));
    if let Some(step) = summary.steps.iter().rfind(|step| step.connections <= served) {
        keys.push((Time(step.latency_us.p50).to_string(), "p50 at that number"));
        keys.push((Time(step.latency_us.p99).to_string(), "p99 at that number"));
        keys.push((Time(step.latency_us.p99_9).to_string(), "p99.9 at that number"));
    }
    keys
}

fn plots_of(summary: &SweepSummary) -> Vec<Plot<'static>> {
    let over_connections = |of: &dyn Fn(&Step) -> Option<f64>| {
        let points = summary.steps.iter().filter_map(|step| Some((step.connections as f64, of(step)?)));
        points.collect::<Vec<_>>()
    };
    let plot = |title, scale, written, lines| {
        let mut x = Axis::new(Scale::Logarithmic, "connections", short);
        x.ticks = summary.steps.iter().map(|step| step.connections as f64).collect();
        let mark = summary.knee.map(|knee| (knee.connections as f64, "knee".to_owned()));
        Plot { title, x, y: Axis::new(scale, "", written), lines, mark }
    };
    // A latency of 0 means that nothing was received.
    let latency =
        |of: fn(&Percentiles) -> f64| over_connections(&|step| Some(of(&step.latency_us)).filter(|us| *us > 0.0));
    let percent = |part: f64| Percent(part / 100.0).to_string();
    vec![
        plot(
            "Latency over connections",
            Scale::Logarithmic,
            short_time,
            vec![
                ("p50", latency(|latency| latency.p50)),
                ("p99", latency(|latency| latency.p99)),
                ("p99.9", latency(|latency| latency.p99_9)),
                ("late p99", over_connections(&|step| Some(step.load.late_us?.p99))),
            ],
        ),
        plot(
            "Messages per second",
            Scale::Linear,
            short,
            vec![
                ("achieved", over_connections(&|step| Some(step.achieved_per_second))),
                ("offered", over_connections(&|_| Some(summary.offered_per_second))),
            ],
        ),
        plot(
            "Errors",
            Scale::Linear,
            percent,
            vec![("errors", over_connections(&|step| Some(step.error_rate * 100.0)))],
        ),
        plot(
            "CPU, in percent of a core",
            Scale::Linear,
            short,
            vec![
                ("server", over_connections(&|step| Some(step.server?.cpu_percent))),
                ("busiest load thread", over_connections(&|step| Some(step.load.busiest_thread.busy_percent))),
            ],
        ),
        plot(
            "Server memory in MiB",
            Scale::Linear,
            short,
            vec![("memory", over_connections(&|step| Some(step.server?.resident_bytes as f64 / MIB)))],
        ),
    ]
}

fn table(summary: &SweepSummary) -> String {
    let server = summary.steps.iter().any(|step| step.server.is_some());
    let mut table = "<h2>Steps</h2>\n<div class=\"scroll\"><table>\n<tr>".to_owned();
    heads(server).iter().for_each(|head| table.push_str(&format!("<th>{head}</th>")));
    table.push_str("</tr>\n");
    for step in &summary.steps {
        let is_knee = summary.knee.is_some_and(|knee| knee.connections == step.connections);
        table.push_str(if is_knee { "<tr class=\"is-knee\">" } else { "<tr>" });
        let cells = cells(step, summary.offered_per_second, server);
        cells.iter().for_each(|cell| table.push_str(&format!("<td>{}</td>", escaped(cell))));
        table.push_str("</tr>\n");
    }
    table + "</table></div>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::effort::Utilization;
    use crate::load::tally::Latencies;

    fn step(connections: usize, bottleneck: Option<Bottleneck>) -> Step {
        Step {
            connections,
            open: connections,
            achieved_per_second: 1.0,
            latency_us: Percentiles::from(&Latencies::default()),
            error_rate: 0.0,
            load: LoadGenerator { busiest_thread: Utilization::default(), late_us: None, bottleneck },
            server: None,
            faults: BTreeMap::new(),
        }
    }

    #[test]
    fn says_in_which_steps_the_load_measured_itself() {
        let [late, waited] = [Some(Bottleneck::Late), Some(Bottleneck::Waited)];
        let steps = [step(100, None), step(1000, waited), step(5000, late), step(18_000, late)];
        let notes: Vec<_> = notes(&steps).collect();
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with("with 1,000 connections the load generator waited for a processor"), "{notes:?}");
        assert!(notes[1].starts_with("with 5,000; 18,000 connections half of the p99"), "{notes:?}");
        assert_eq!(super::notes(&steps[..1]).count(), 0);
    }
}
