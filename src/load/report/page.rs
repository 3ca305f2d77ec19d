//! The HTML report of a run: key figures, and plots over time and over percentiles.

use super::axis::{Axis, Scale};
use super::document::{About, Document};
use super::number::{Grouped, plain, short, short_time};
use super::plot::Plot;
use super::table::Table;
use super::{Summary, mode_name};
use crate::load::plan::Mode;
use crate::load::run::Outcome;
use crate::load::samples::Sample;
use crate::load::tally::{Latencies, Stage};
use crate::units::{Bytes, MIB, Time};

/// Points per nine of a plot over percentiles.
const POINTS_PER_NINE: u32 = 12;

/// Returns the page.
pub fn html(outcome: &Outcome, about: &About) -> String {
    let summary = Summary::from(outcome);
    let title = format!("{}, {} connections", mode_name(summary.mode), Grouped(summary.connections as f64));
    let mut document = Document::new(&title, &subtitle(&summary), outcome.whole.faulty(), summary.interrupted);
    document.keys(&keys(&summary));
    document.faults(summary.faults);
    if let Some(bottleneck) = summary.load.bottleneck {
        document.note(&bottleneck.to_string());
    }
    document.plots(&plots_of(outcome));
    document.end(&Table(outcome).to_string(), about)
}

fn subtitle(summary: &Summary<'_>) -> String {
    let what = match summary.mode {
        Mode::Connect => "repeated handshakes".to_owned(),
        Mode::Idle => "opened and held".to_owned(),
        _ => format!("{} B per message, {}", summary.message_bytes, summary.pace),
    };
    format!("{} · {what} · measured for {:.1} s", summary.url, summary.measured_s)
}

fn keys(summary: &Summary<'_>) -> Vec<(String, &'static str)> {
    let latency = &summary.latency_us;
    let mut keys = match summary.mode {
        Mode::Idle => vec![
            (Grouped(summary.open as f64).to_string(), "connections open"),
            (Grouped(summary.opened_per_second).to_string(), "opened per second"),
            (Grouped(summary.answered.unwrap_or(0) as f64).to_string(), "answered at the end"),
        ],
        Mode::Connect => vec![(Grouped(summary.per_second).to_string(), "handshakes per second")],
        _ => vec![(Grouped(summary.per_second).to_string(), "messages per second")],
    };
    let percentiles =
        [(latency.p50, "p50, the median"), (latency.p99, "p99"), (latency.p99_9, "p99.9"), (latency.max, "maximum")];
    keys.extend(percentiles.map(|(us, what)| (Time(us).to_string(), what)));
    if let Some(server) = &summary.server {
        if summary.mode != Mode::Idle {
            keys.push((format!("{} µs", plain(server.cpu_us)), "server CPU each"));
        }
        if summary.mode != Mode::Connect {
            keys.push((Bytes(server.bytes_per_connection).to_string(), "memory per connection"));
        }
    }
    keys
}

fn plots_of(outcome: &Outcome) -> Vec<Plot<'static>> {
    let samples = &outcome.samples;
    let all = |of: fn(&Sample) -> f64| samples.iter().map(|sample| (sample.at_s, of(sample))).collect::<Vec<_>>();
    let flowing = |of: fn(&Sample) -> f64| {
        let flowing = samples.iter().filter(|sample| matches!(sample.stage, Stage::WarmUp | Stage::Measure));
        flowing.map(|sample| (sample.at_s, of(sample))).collect::<Vec<_>>()
    };
    let seconds = |title, written, lines| Plot {
        title,
        x: Axis::new(Scale::Linear, "seconds", plain),
        y: Axis::new(Scale::Linear, "", written),
        lines,
        mark: None,
    };
    let rate = match outcome.plan.mode {
        Mode::Connect => {
            seconds("Handshakes per second", short, vec![("handshakes", flowing(|sample| sample.opened_per_second))])
        }
        Mode::Idle => {
            seconds("Handshakes per second", short, vec![("handshakes", all(|sample| sample.opened_per_second))])
        }
        _ => seconds("Messages per second", short, vec![("messages", flowing(|sample| sample.received_per_second))]),
    };
    vec![
        rate,
        Plot {
            title: "Latency by percentile",
            x: Axis::new(Scale::Nines, "percentile", |percent| format!("{percent}")),
            y: Axis::new(Scale::Linear, "", short_time),
            lines: vec![("latency", distribution(&outcome.latencies))],
            mark: None,
        },
        seconds(
            "Latency over time",
            short_time,
            vec![("p50", flowing(|sample| sample.p50_us)), ("p99", flowing(|sample| sample.p99_us))],
        ),
        seconds("Connections", short, vec![("open", all(|sample| sample.open as f64))]),
        seconds(
            "CPU, in percent of a core",
            short,
            vec![
                ("server", all(|sample| sample.server_cpu_percent)),
                ("busiest load thread", all(|sample| sample.load.busy_percent)),
            ],
        ),
        seconds(
            "Server memory in MiB",
            short,
            vec![("memory", all(|sample| sample.server_resident_bytes as f64 / MIB))],
        ),
    ]
}

/// Returns the latency at each percentile, up to the one that a single measurement decides.
fn distribution(latencies: &Latencies) -> Vec<(f64, f64)> {
    let nines = (latencies.len().max(1) as f64).log10().clamp(1.0, 6.0);
    let points = (nines * f64::from(POINTS_PER_NINE)) as u32;
    let percentiles = (0..=points).map(|step| 100.0 - 100.0 / 10f64.powf(f64::from(step) / f64::from(POINTS_PER_NINE)));
    percentiles.map(|percent| (percent, latencies.percentile(percent) as f64 / 1e3)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_goes_no_further_than_what_was_measured() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|number| latencies.note(number * 10_000, 1));
        let points = distribution(&latencies);
        let (last, us) = points.last().copied().unwrap();
        assert!((last - 99.9).abs() < 1e-6 && (us - 9_990.0).abs() < 20.0, "{last}: {us}");
        assert!(points.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1));
    }
}
