//! What a server has counted, as text that Prometheus reads.
//!
//! The format is Prometheus' own (version 0.0.4) rather than OpenMetrics: everything that reads metrics understands it.
//! Reads counters that cores write, and never makes a core do anything. Every name, reason and code is there from the
//! start, at 0, so that a rate is right from the first event on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::process::Process;
use crate::engine::{Counters, Limits, ReactorKind, Status};

/// A server's metrics. Cheap to clone; what it says is as fresh as the moment it is asked.
#[derive(Clone, Debug)]
pub struct Metrics {
    cores: Vec<(String, Arc<Counters>)>,
    status: Arc<Status>,
    reactor: ReactorKind,
    connections_max: u64,
    log_lines_dropped: Option<Arc<AtomicU64>>,
}

impl Metrics {
    /// What [`Metrics::text`] is, for the header Content-Type.
    pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

    /// The metrics of a server with these cores.
    pub fn new(cores: &[Arc<Counters>], status: Arc<Status>, reactor: ReactorKind, limits: &Limits) -> Self {
        let cores = cores.iter().enumerate().map(|(core, counters)| (core.to_string(), Arc::clone(counters)));
        let connections_max = limits.connections_max as u64;
        Self { cores: cores.collect(), status, reactor, connections_max, log_lines_dropped: None }
    }

    /// Adds the lines of the application's log that were dropped, which it counts there.
    pub fn with_log_lines_dropped(self, lines: Arc<AtomicU64>) -> Self {
        Self { log_lines_dropped: Some(lines), ..self }
    }

    /// Whether the server serves.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// All of it, some 10 KB for each core. Costs some 100 µs, and reads from /proc.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn encode_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut cores: Vec<_> = self.cores.iter().map(|(core, counters)| (core, counters.all().into_iter())).collect();
        // The cores' lists are alike, so they are walked side by side.
        while let Some(families) = next_of_each(&mut cores) {
            let Some((_, first)) = families.first() else { break };
            let name = format!("ringsock_{}", first.name);
            let mut metric = encoder.encode_descriptor(&name, first.help, None, MetricType::Counter)?;
            for (core, family) in &families {
                for (reason, count) in &family.counts {
                    let labels = [("core", core.as_str()), (family.label, *reason)];
                    let labels = if family.label.is_empty() { &labels[..1] } else { &labels[..] };
                    metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
                }
            }
        }
        if let Some(lines) = &self.log_lines_dropped {
            let help = "Lines of the log and of the start that were dropped, because nobody took them.";
            let mut metric =
                encoder.encode_descriptor("ringsock_log_lines_dropped", help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&lines.load(Ordering::Relaxed), None)?;
        }
        Ok(())
    }

    fn encode_gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Connections that there are now.";
        self.encode_per_core(encoder, "ringsock_connections", help, Counters::connections)?;
        self.encode_per_core(encoder, "ringsock_sessions", "WebSocket sessions that there are now.", |counters| {
            let closed = counters.sessions_closed.read();
            counters.upgraded.read().saturating_sub(closed)
        })?;
        let help =
            "When the core made its last turn, in seconds since the server began; an idle one makes two a second.";
        self.encode_per_core(encoder, "ringsock_last_turn_seconds", help, |counters| {
            counters.last_turn_ms.read() as f64 / 1000.0
        })?;
        let help = "Connections that there may be, over all cores.";
        encode_gauge(encoder, "ringsock_connections_max", help, &self.connections_max)?;
        let help = "Whether the server takes load (1), or drains or has a core that is stalled (0).";
        encode_gauge(encoder, "ringsock_ready", help, &u32::from(self.status.is_ready()))?;
        let help = "Always 1; the labels tell which version serves, and how its cores talk to the kernel.";
        let labels = [("version", env!("CARGO_PKG_VERSION").to_owned()), ("reactor", self.reactor.to_string())];
        encode_labelled(encoder, "ringsock_build_info", help, [(labels, 1u32)])
    }

    fn encode_per_core<V: EncodeGaugeValue>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&Counters) -> V,
    ) -> fmt::Result {
        let cores = self.cores.iter().map(|(core, counters)| ([("core", core.as_str())], value(counters)));
        encode_labelled(encoder, name, help, cores)
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_counters(&mut encoder)?;
        self.encode_gauges(&mut encoder)?;
        encode_process(&mut encoder, &Process::read())
    }
}

/// The next item of each list, with its owner; `None` when a list is at its end.
fn next_of_each<'a, T>(lists: &mut [(&'a String, impl Iterator<Item = T>)]) -> Option<Vec<(&'a String, T)>> {
    lists.iter_mut().map(|(owner, list)| Some((*owner, list.next()?))).collect()
}

fn encode_process(encoder: &mut DescriptorEncoder<'_>, process: &Process) -> fmt::Result {
    if let Some(seconds) = process.cpu_seconds {
        let help = "CPU time that the process has used, in user and kernel mode, in seconds.";
        let mut metric = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, f64>(&seconds, None)?;
    }
    if let Some(seconds) = process.start_time_seconds {
        let help = "When the process began, in seconds since 1970.";
        encode_gauge(encoder, "process_start_time_seconds", help, &seconds)?;
    }
    let gauges = [
        ("process_resident_memory_bytes", "Memory that the process occupies, in bytes.", process.resident_memory_bytes),
        ("process_virtual_memory_bytes", "Memory that the process has mapped, in bytes.", process.virtual_memory_bytes),
        ("process_open_fds", "File descriptors that the process has open.", process.open_fds),
        ("process_max_fds", "File descriptors that the process may have open.", process.max_fds),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            encode_gauge(encoder, name, help, &value)?;
        }
    }
    Ok(())
}

fn encode_gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: &impl EncodeGaugeValue,
) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(value)
}

fn encode_labelled<L: EncodeLabelSet, V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, V)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{DropReason, End};

    fn two_cores() -> (Metrics, Vec<Arc<Counters>>) {
        let cores: Vec<Arc<Counters>> = vec![Arc::default(), Arc::default()];
        (Metrics::new(&cores, Arc::default(), ReactorKind::Epoll, &Limits::default()), cores)
    }

    #[test]
    fn counts_stand_under_their_core_and_reason() {
        let (metrics, cores) = two_cores();
        cores[0].messages_received.add(3);
        cores[1].messages_received.add(4);
        cores[1].messages_dropped.add(&DropReason::Closing);
        (0..5).for_each(|_| cores[0].accepted.add(1));
        cores[0].closed.add(&End::DeadPeer);
        let text = metrics.text().unwrap();
        for line in [
            "# HELP ringsock_messages_received_total Messages that were received.",
            "# TYPE ringsock_messages_received_total counter",
            "ringsock_messages_received_total{core=\"0\"} 3",
            "ringsock_messages_received_total{core=\"1\"} 4",
            "ringsock_messages_dropped_total{core=\"0\",reason=\"closing\"} 0",
            "ringsock_messages_dropped_total{core=\"1\",reason=\"closing\"} 1",
            "ringsock_connections_closed_total{core=\"0\",reason=\"dead_peer\"} 1",
            "ringsock_connections_accepted_total{core=\"0\"} 5",
            "ringsock_close_frames_sent_total{core=\"1\",code=\"4000-4999\"} 0",
            "ringsock_ready 0",
            concat!("ringsock_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\",reactor=\"epoll\"} 1"),
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("ringsock_connections{core=\"0\"} 4"), "{text}");
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn lines_that_a_log_has_dropped_are_told_where_there_is_one_that_counts_them() {
        let metrics = two_cores().0;
        assert!(!metrics.text().unwrap().contains("log_lines_dropped"));
        let lines = Arc::new(AtomicU64::new(0));
        let metrics = metrics.with_log_lines_dropped(Arc::clone(&lines));
        lines.store(7, Ordering::Relaxed);
        assert!(metrics.text().unwrap().contains("\nringsock_log_lines_dropped_total 7\n"));
    }

    #[test]
    fn every_name_is_described_once_and_before_its_values() {
        let text = two_cores().0.text().unwrap();
        let described: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let mut distinct = described.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), described.len());
        let mut current = "";
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => current = rest.split(' ').next().unwrap(),
                None if line.starts_with('#') => {}
                None => assert_eq!(line.split(['{', ' ']).next(), Some(current), "{line}"),
            }
        }
    }
}
