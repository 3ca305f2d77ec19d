//! The outcome of a run as a text table.

use std::collections::BTreeMap;
use std::fmt;

use super::number::Grouped;
use super::{LoadGenerator, Summary, mode_name};
use crate::load::plan::Mode;
use crate::load::run::Outcome;
use crate::units::{Bytes, Time};

/// The fewest connections for which kernel memory is shown: it is that of the whole host, which varies by more than
/// fewer connections take.
const KERNEL_SHOWN_FROM: usize = 500;

/// An outcome displayed as a text table.
#[derive(Debug)]
pub struct Table<'o>(pub &'o Outcome);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = Summary::from(self.0);
        let mut row = |name: &str, value: fmt::Arguments<'_>| writeln!(f, "  {name:<13}{value}");
        let mode = mode_name(summary.mode).to_lowercase();
        row(&mode, format_args!("{}{}", summary.url, if summary.interrupted { ", interrupted" } else { "" }))?;
        if summary.mode != Mode::Connect {
            row(
                "connections",
                format_args!(
                    "{} of {}, opened in {:.2} s, {:.0} per second",
                    summary.open, summary.connections, summary.opening_s, summary.opened_per_second
                ),
            )?;
        }
        match (summary.mode, summary.answered) {
            (_, Some(answered)) => row("answered", format_args!("{answered} of {} at the end", summary.open))?,
            (Mode::Connect, _) => {
                row(
                    "handshakes",
                    format_args!("{:.0} per second for {:.2} s", summary.per_second, summary.measured_s),
                )?;
            }
            _ => {
                row(
                    "messages",
                    format_args!(
                        "{} B, {}: {} sent, {} received in {:.2} s",
                        summary.message_bytes, summary.pace, summary.sent, summary.received, summary.measured_s
                    ),
                )?;
                row(
                    "rate",
                    format_args!("{:.0} per second, {:.1} MB/s", summary.per_second, summary.megabytes_per_second),
                )?;
            }
        }
        let latency = summary.latency_us;
        row(
            "latency",
            format_args!(
                "mean {}, p50 {}, p90 {}, p99 {}, p99.9 {}, p99.99 {}, max {}",
                Time(latency.mean),
                Time(latency.p50),
                Time(latency.p90),
                Time(latency.p99),
                Time(latency.p99_9),
                Time(latency.p99_99),
                Time(latency.max)
            ),
        )?;
        if let Some(server) = &summary.server {
            if summary.answered.is_none() {
                row(
                    "server",
                    format_args!("{:.3} µs of CPU each, {:.0} % of a core", server.cpu_us, server.cpu_percent),
                )?;
            }
            let own = format!(
                "{} in all, {:.0} B per connection",
                Bytes(server.resident_bytes as f64),
                server.bytes_per_connection
            );
            if summary.open < KERNEL_SHOWN_FROM {
                row("memory", format_args!("{own}"))?;
            } else {
                let kernel = server.kernel_bytes_per_connection;
                row("memory", format_args!("{own}, and {kernel:.0} B of kernel memory for both ends"))?;
            }
            if summary.answered.is_some() && summary.open >= KERNEL_SHOWN_FROM {
                for connections in [1e6, 10e6] {
                    // The server's process is visible, so both ends are on this host.
                    let (own, kernel) = (server.bytes_per_connection, server.kernel_bytes_per_connection / 2.0);
                    row(
                        "to hold",
                        format_args!(
                            "{} connections: {} of server memory and {} of kernel memory",
                            Grouped(connections),
                            Bytes(own * connections),
                            Bytes(kernel * connections)
                        ),
                    )?;
                }
            }
        }
        let LoadGenerator { busiest_thread: load, late_us, bottleneck } = summary.load;
        if load.busy_percent > 0.0 && summary.answered.is_none() {
            let late = late_us.map(|late| format!("; own delay p50 {}, p99 {}", Time(late.p50), Time(late.p99)));
            row(
                "load",
                format_args!(
                    "busiest thread {:.0} % busy, {:.1} % waiting for a processor{}",
                    load.busy_percent,
                    load.waited_percent,
                    late.unwrap_or_default()
                ),
            )?;
        }
        if let Some(bottleneck) = bottleneck {
            row("NOTE", format_args!("{bottleneck}"))?;
        }
        write_faults(f, summary.faults)
    }
}

/// Writes the last lines of a table: the faults.
pub(super) fn write_faults(f: &mut fmt::Formatter<'_>, faults: &BTreeMap<String, u64>) -> fmt::Result {
    if faults.is_empty() {
        return writeln!(f, "  {:<13}none", "faults");
    }
    faults.iter().try_for_each(|(what, times)| writeln!(f, "  {:<13}{times} × {what}", "FAULT"))
}
