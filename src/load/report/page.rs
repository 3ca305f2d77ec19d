//! The outcome as one page that needs nothing else: the table, and plots over time and over the percentiles.

use std::fmt::Write;

use super::plot::{Plot, PlotError, short};
use super::table::Table;
use crate::load::plan::Mode;
use crate::load::run::Outcome;
use crate::load::samples::Sample;
use crate::load::tally::{Latencies, Stage};

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>ringsock bench</title>\n<style>\n\
    body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1500px; padding: 0 1rem; color: #1a1a1a; \
    background: #fff }\n\
    pre { background: #f4f4f4; padding: 1rem; overflow-x: auto; border-radius: 6px }\n\
    .plots { display: flex; flex-wrap: wrap; gap: 1rem }\n\
    svg { max-width: 100%; height: auto; border: 1px solid #ddd; border-radius: 6px }\n</style>\n</head>\n<body>\n";

/// Writes the page.
pub fn html(outcome: &Outcome) -> Result<String, PlotError> {
    let mut page = HEAD.to_owned();
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "<h1>ringsock bench</h1>\n<pre>{}</pre>\n<div class=\"plots\">\n",
        escaped(&Table(outcome).to_string())
    );
    for plot in plots(outcome)? {
        let _ = writeln!(page, "{plot}");
    }
    page.push_str("</div>\n</body>\n</html>\n");
    Ok(page)
}

fn plots(outcome: &Outcome) -> Result<Vec<String>, PlotError> {
    let samples = &outcome.samples;
    let over_time = |of: fn(&Sample) -> f64| samples.iter().map(|sample| (sample.at_s, of(sample))).collect::<Vec<_>>();
    let flowing = |of: fn(&Sample) -> f64| {
        let flowing = samples.iter().filter(|sample| matches!(sample.stage, Stage::WarmUp | Stage::Measure));
        flowing.map(|sample| (sample.at_s, of(sample))).collect::<Vec<_>>()
    };
    let mib = f64::from(1 << 20);
    let handshakes = matches!(outcome.plan.mode, Mode::Connect | Mode::Idle);
    let rate: (&str, fn(&Sample) -> f64) = if handshakes {
        ("Handshakes a second", |sample| sample.opened_per_second)
    } else {
        ("Messages a second that came", |sample| sample.received_per_second)
    };
    let seconds =
        |title, y, lines: &[(&str, Vec<(f64, f64)>)]| Plot { title, x: "seconds", y, lines, x_label: short }.svg();
    let drawn = [
        Plot {
            title: "Latency by percentile",
            x: "percentile",
            y: "µs",
            lines: &[("latency", distribution(&outcome.latencies))],
            x_label: percentile_label,
        }
        .svg()?,
        seconds(rate.0, "per second", &[(rate.0, over_time(rate.1))])?,
        seconds(
            "Latency over time",
            "µs",
            &[("p50", flowing(|sample| sample.p50_us)), ("p99", flowing(|sample| sample.p99_us))],
        )?,
        seconds("Connections", "open", &[("open", over_time(|sample| sample.open as f64))])?,
        seconds("Server: CPU", "% of a core", &[("CPU", over_time(|sample| sample.server_cpu_percent))])?,
        seconds(
            "Memory",
            "MiB",
            &[
                (
                    "server",
                    samples.iter().map(|sample| (sample.at_s, sample.server_resident_bytes as f64 / mib)).collect(),
                ),
                (
                    "kernel's objects",
                    samples.iter().map(|sample| (sample.at_s, sample.kernel_bytes as f64 / mib)).collect(),
                ),
            ],
        )?,
    ];
    Ok(drawn.into_iter().flatten().collect())
}

/// The latency at each percentile, at places that leave room where it matters: 90, 99 and 99.9 are equally far apart.
fn distribution(latencies: &Latencies) -> Vec<(f64, f64)> {
    let nines = (latencies.len().max(1) as f64).log10().clamp(1.0, 6.0);
    let places = (0..=60).map(|step| nines * f64::from(step) / 60.0);
    places.map(|place| (place, latencies.percentile(percent_at(place)) as f64 / 1e3)).collect()
}

fn percent_at(place: f64) -> f64 {
    100.0 - 100.0 / 10f64.powf(place)
}

fn percentile_label(place: f64) -> String {
    let percent = percent_at(place);
    let text = format!("{percent:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_stand_equally_far_apart_by_their_nines() {
        assert_eq!([0.0, 1.0, 2.0, 3.0].map(percentile_label), ["0", "90", "99", "99.9"]);
    }

    #[test]
    fn what_a_server_says_cannot_become_markup() {
        assert_eq!(escaped("<b>&"), "&lt;b&gt;&amp;");
    }
}
