//! A server's counters as Prometheus text.
//!
//! The format is Prometheus' own (version 0.0.4) rather than OpenMetrics, because every metrics reader understands it.
//! Reads counters that cores write, and never makes a core do anything. Every name, reason and code is present from the
//! start, at 0, so that rates are right from the first event on. Invariant: unless values per core are requested, the
//! number of values does not depend on the number of cores.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::process::Process;
use crate::engine::{CounterFamily, Counters, Current, Limits, ReactorKind, Reloads, Status};
use crate::tls::Acceptor;

/// The metrics of the program around the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    pub(crate) counters: Vec<ExtraCounter>,
    pub(crate) gauges: Vec<ExtraGauge>,
    /// Metrics of other parts of the program.
    pub(crate) collectors: Vec<Arc<dyn Collector>>,
}

/// A counter of the program around the server, for the metrics.
#[derive(Clone, Debug)]
pub(crate) struct ExtraCounter {
    /// The metric's name, without `_total`.
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) value: Arc<AtomicU64>,
}

/// A gauge of the program around the server, with a value for each of some texts of one label.
#[derive(Clone)]
pub(crate) struct ExtraGauge {
    /// The metric's name.
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) label: &'static str,
    pub(crate) values: GaugeValues,
}

/// Returns the values of a gauge, each with the text of its label.
pub(crate) type GaugeValues = Arc<dyn Fn() -> Vec<(String, u64)> + Send + Sync>;

impl fmt::Debug for ExtraGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtraGauge").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A server's metrics as text for Prometheus, for an endpoint of the application. Cheap to clone; each text shows the
/// values at the time of the call, and `docs/metrics.md` describes them.
#[derive(Clone, Debug)]
pub struct Metrics {
    cores: Arc<[Arc<Counters>]>,
    status: Arc<Status>,
    reactor: ReactorKind,
    limits: Current<Limits>,
    extras: Extras,
    tls: Option<Arc<Acceptor>>,
}

impl Metrics {
    /// The value of the Content-Type header for [`Metrics::text`].
    pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

    /// Creates the metrics of a server with these cores.
    pub(crate) fn new(
        cores: &[Arc<Counters>],
        status: Arc<Status>,
        reactor: ReactorKind,
        limits: Current<Limits>,
    ) -> Self {
        Self { cores: cores.into(), status, reactor, limits, extras: Extras::default(), tls: None }
    }

    /// Adds metrics that are not of the cores.
    pub(crate) fn with_extras(self, extras: Extras) -> Self {
        Self { extras, ..self }
    }

    /// Adds metrics of the certificates.
    pub(crate) fn with_tls(self, acceptor: Arc<Acceptor>) -> Self {
        Self { tls: Some(acceptor), ..self }
    }

    /// Returns the server's status.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Returns all metrics, summed over all cores: some 10 KB. Takes some 100 µs, and reads /proc. Formatting does not
    /// fail in practice.
    pub fn text(&self) -> Result<String, fmt::Error> {
        self.text_of(Scope::Server)
    }

    /// Returns all metrics, with a value per core where cores have one (label `core`): some 10 KB for each core.
    pub fn text_per_core(&self) -> Result<String, fmt::Error> {
        self.text_of(Scope::EachCore)
    }

    fn text_of(&self, scope: Scope) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scoped { metrics: self.clone(), scope }));
        for collector in &self.extras.collectors {
            registry.register_collector(Box::new(Shared(Arc::clone(collector))));
        }
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn encode_counters(&self, scope: Scope, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let cores = self.cores.iter().map(|counters| counters.all());
        let groups: Vec<(Option<String>, Vec<CounterFamily>)> = match scope {
            Scope::Server => cores.reduce(sum).map(|sums| (None, sums)).into_iter().collect(),
            Scope::EachCore => cores.enumerate().map(|(core, all)| (Some(core.to_string()), all)).collect(),
        };
        // All lists have the same families in the same order.
        let places = groups.first().map_or(0, |(_, families)| families.len());
        for place in 0..places {
            let families = groups.iter().map(|(core, families)| (core, &families[place]));
            let CounterFamily { name, help, .. } = groups[0].1[place];
            let name = format!("ringsock_{name}");
            let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            for (core, family) in families {
                for (reason, count) in &family.counts {
                    let core = core.as_deref().map(|core| ("core", core));
                    let reason = Some((family.label, *reason)).filter(|(label, _)| !label.is_empty());
                    let labels: Vec<(&str, &str)> = core.into_iter().chain(reason).collect();
                    if labels.is_empty() {
                        metric.encode_counter::<NoLabelSet, _, u64>(count, None)?;
                    } else {
                        metric.encode_family(&&labels[..])?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
                    }
                }
            }
        }
        for ExtraCounter { name, help, value } in &self.extras.counters {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value.load(Ordering::Relaxed), None)?;
        }
        Ok(())
    }

    fn encode_certificates(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(acceptor) = &self.tls else { return Ok(()) };
        let help = "The time when the first of the server's certificates expires, in seconds since 1970.";
        let name = "ringsock_tls_certificate_expiry_seconds";
        encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&acceptor.expires_s())?;
        let help = "New certificates, keys or lists that could not be used, so that the old ones stayed in force.";
        let mut metric = encoder.encode_descriptor("ringsock_tls_settings_refused", help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&acceptor.refused(), None)
    }

    fn encode_gauges(&self, scope: Scope, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let sum = |values: &mut dyn Iterator<Item = u64>| values.sum();
        let help = "Open connections.";
        self.encode_of_cores(scope, encoder, "ringsock_connections", help, Counters::connections, sum)?;
        let help = "Clients that wait for their handshake of TLS.";
        let waiting = |counters: &Counters| counters.tls_handshakes_waiting.read();
        self.encode_of_cores(scope, encoder, "ringsock_tls_handshakes_waiting", help, waiting, sum)?;
        let help = "Open WebSocket sessions.";
        self.encode_of_cores(scope, encoder, "ringsock_sessions", help, Counters::sessions, sum)?;
        let help = "Time of the core's last turn, in seconds since the server started; without the label core, of the \
            least recently active core. An idle core makes two turns a second.";
        let seconds = |counters: &Counters| counters.last_turn_ms.read() as f64 / 1000.0;
        let oldest = |values: &mut dyn Iterator<Item = f64>| values.reduce(f64::min).unwrap_or_default();
        self.encode_of_cores(scope, encoder, "ringsock_last_turn_seconds", help, seconds, oldest)?;
        let help = "Cores of the server. Their values are at /metrics?per=core.";
        encode_gauge(encoder, "ringsock_cores", help, &(self.cores.len() as u64))?;
        let help = "The limit of open connections, over all cores.";
        encode_gauge(encoder, "ringsock_connections_max", help, &(self.limits.value().connections_max as u64))?;
        self.encode_reloads(encoder)?;
        for ExtraGauge { name, help, label, values } in &self.extras.gauges {
            let values = values().into_iter().map(|(text, value)| ([(*label, text)], value));
            encode_labelled(encoder, name, help, values)?;
        }
        let help = "Readiness: 1 if the server accepts load, 0 while it drains or a core is stalled.";
        encode_gauge(encoder, "ringsock_ready", help, &u32::from(self.status.is_ready()))?;
        let help = "Always 1; the labels name the version and the reactor in use.";
        let labels = [("version", env!("CARGO_PKG_VERSION").to_owned()), ("reactor", self.reactor.to_string())];
        encode_labelled(encoder, "ringsock_build_info", help, [(labels, 1u32)])
    }

    fn encode_reloads(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Reloads { applied, refused, is_last_refused, since_s } = self.status.reloads();
        let help = "Reloads of the configuration, by result.";
        let mut metric = encoder.encode_descriptor("ringsock_config_reloads", help, None, MetricType::Counter)?;
        for (result, count) in [("applied", applied), ("refused", refused)] {
            let labels = [("result", result)];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        let help = "Result of the last reload: 1 if it was applied or there was none, 0 if it was refused.";
        encode_gauge(encoder, "ringsock_config_last_reload_successful", help, &u32::from(!is_last_refused))?;
        let help = "Time of the last reload that was applied, or of the start, in seconds since 1970.";
        encode_gauge(encoder, "ringsock_config_last_reload_success_timestamp_seconds", help, &since_s)
    }

    /// Writes a gauge with one value per core, or one value that `of_all` computes from them.
    fn encode_of_cores<V: EncodeGaugeValue>(
        &self,
        scope: Scope,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&Counters) -> V,
        of_all: impl Fn(&mut dyn Iterator<Item = V>) -> V,
    ) -> fmt::Result {
        let mut values = self.cores.iter().map(|counters| value(counters));
        match scope {
            Scope::Server => encode_gauge(encoder, name, help, &of_all(&mut values)),
            Scope::EachCore => {
                let values = values.enumerate().map(|(core, value)| ([("core", core.to_string())], value));
                encode_labelled(encoder, name, help, values)
            }
        }
    }
}

/// The granularity of a metrics text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// One value for all cores.
    Server,
    /// One value per core, with the label `core`.
    EachCore,
}

/// The collector that writes the metrics at one granularity.
#[derive(Debug)]
struct Scoped {
    metrics: Metrics,
    scope: Scope,
}

impl Collector for Scoped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.metrics.encode_counters(self.scope, &mut encoder)?;
        self.metrics.encode_certificates(&mut encoder)?;
        self.metrics.encode_gauges(self.scope, &mut encoder)?;
        encode_process(&mut encoder, &Process::read())
    }
}

/// A collector of another part of the program.
#[derive(Debug)]
struct Shared(Arc<dyn Collector>);

impl Collector for Shared {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }
}

/// Adds up two lists of the same families.
fn sum(mut all: Vec<CounterFamily>, more: Vec<CounterFamily>) -> Vec<CounterFamily> {
    for (family, more) in all.iter_mut().zip(more) {
        for ((_, count), (_, more)) in family.counts.iter_mut().zip(more.counts) {
            *count += more;
        }
    }
    all
}

fn encode_process(encoder: &mut DescriptorEncoder<'_>, process: &Process) -> fmt::Result {
    if let Some(seconds) = process.cpu_seconds {
        let help = "User and kernel CPU time of the process, in seconds.";
        let mut metric = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, f64>(&seconds, None)?;
    }
    if let Some(seconds) = process.start_time_seconds {
        let help = "Start time of the process, in seconds since 1970.";
        encode_gauge(encoder, "process_start_time_seconds", help, &seconds)?;
    }
    let gauges = [
        ("process_resident_memory_bytes", "Resident memory of the process, in bytes.", process.resident_memory_bytes),
        ("process_virtual_memory_bytes", "Mapped memory of the process, in bytes.", process.virtual_memory_bytes),
        ("process_open_fds", "Open file descriptors of the process.", process.open_fds),
        ("process_max_fds", "The limit of open file descriptors of the process.", process.max_fds),
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
        (Metrics::new(&cores, Arc::default(), ReactorKind::Epoll, Current::new(Limits::default())), cores)
    }

    fn assert_lines(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|own| own == *line), "{line} is not in\n{text}");
        }
    }

    fn counted() -> Metrics {
        let (metrics, cores) = two_cores();
        cores[0].messages_received.add(3);
        cores[1].messages_received.add(4);
        cores[1].messages_dropped.add(&DropReason::Closing);
        (0..5).for_each(|_| cores[0].accepted.add(1));
        cores[1].accepted.add(2);
        cores[0].closed.add(&End::DeadPeer);
        cores[1].closed.add(&End::DeadPeer);
        cores[0].last_turn_ms.add(2_500);
        cores[1].last_turn_ms.add(1_500);
        metrics
    }

    #[test]
    fn all_cores_are_told_of_together_unless_each_is_asked_for() {
        let text = counted().text().unwrap();
        assert_lines(
            &text,
            &[
                "# HELP ringsock_messages_received_total Messages that were received.",
                "# TYPE ringsock_messages_received_total counter",
                "ringsock_messages_received_total 7",
                "ringsock_messages_dropped_total{reason=\"closing\"} 1",
                "ringsock_connections_closed_total{reason=\"dead_peer\"} 2",
                "ringsock_connections_accepted_total 7",
                "ringsock_close_frames_sent_total{code=\"4000-4999\"} 0",
                "ringsock_connections 5",
                "ringsock_last_turn_seconds 1.5",
                "ringsock_cores 2",
                "ringsock_ready 0",
                concat!("ringsock_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\",reactor=\"epoll\"} 1"),
            ],
        );
        assert!(!text.contains("core=") && text.ends_with('\n'), "{text}");
    }

    #[test]
    fn counts_stand_under_their_core_and_reason_where_that_is_asked_for() {
        let text = counted().text_per_core().unwrap();
        assert_lines(
            &text,
            &[
                "ringsock_messages_received_total{core=\"0\"} 3",
                "ringsock_messages_received_total{core=\"1\"} 4",
                "ringsock_messages_dropped_total{core=\"0\",reason=\"closing\"} 0",
                "ringsock_messages_dropped_total{core=\"1\",reason=\"closing\"} 1",
                "ringsock_connections_closed_total{core=\"0\",reason=\"dead_peer\"} 1",
                "ringsock_connections_accepted_total{core=\"0\"} 5",
                "ringsock_close_frames_sent_total{core=\"1\",code=\"4000-4999\"} 0",
                "ringsock_connections{core=\"0\"} 4",
                "ringsock_last_turn_seconds{core=\"1\"} 1.5",
                "ringsock_cores 2",
            ],
        );
    }

    #[test]
    fn the_number_of_values_does_not_depend_on_the_number_of_cores() {
        let values = |cores: usize, scope: Scope| {
            let counters: Vec<Arc<Counters>> = (0..cores).map(|_| Arc::default()).collect();
            let metrics = Metrics::new(&counters, Arc::default(), ReactorKind::Epoll, Current::new(Limits::default()));
            metrics.text_of(scope).unwrap().lines().filter(|line| !line.starts_with('#')).count()
        };
        let of_server = values(1, Scope::Server);
        assert!((100..300).contains(&of_server), "{of_server}");
        assert_eq!(values(64, Scope::Server), of_server);
        assert!(values(64, Scope::EachCore) > 60 * values(1, Scope::EachCore) / 2);
    }

    #[test]
    fn a_counter_of_the_program_is_told_beside_those_of_the_cores() {
        let (metrics, value) = (two_cores().0, Arc::new(AtomicU64::new(0)));
        assert!(!metrics.text().unwrap().contains("app_orders"));
        let counter = ExtraCounter { name: "app_orders", help: "Orders.", value: Arc::clone(&value) };
        let metrics = metrics.with_extras(Extras { counters: vec![counter], ..Extras::default() });
        value.store(7, Ordering::Relaxed);
        assert!(metrics.text().unwrap().contains("\n# TYPE app_orders_total counter\napp_orders_total 7\n"));
    }

    #[test]
    fn every_name_is_described_once_and_before_its_values() {
        for scope in [Scope::Server, Scope::EachCore] {
            each_is_described_once(&two_cores().0.text_of(scope).unwrap());
        }
    }

    fn each_is_described_once(text: &str) {
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
