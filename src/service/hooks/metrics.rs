//! The metrics of hooks: for each one that decides its state, calls and decisions without one, and the counts of facts.
//!
//! Reads counts and changes nothing. Invariant: every name and label is there from the start, at 0.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::breaker::State;
use super::calls::Hooks;
use super::facts::Facts;
use super::point::{CALL_ENDS, FALLBACKS, Point, PointCounts, REJECTIONS};

/// The metrics of a server with hooks.
#[derive(Debug)]
pub struct HookMetrics {
    hooks: Arc<Hooks>,
    facts: Option<Arc<Facts>>,
}

impl HookMetrics {
    /// Returns the metrics of hooks, and of facts if they are told.
    pub fn new(hooks: Arc<Hooks>, facts: Option<Arc<Facts>>) -> Self {
        Self { hooks, facts }
    }

    fn encode_points(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let points = self.hooks.points();
        let help = "Breaker of a hook: 0 closed, 1 half open, 2 open.";
        let mut metric = encoder.encode_descriptor("ringsock_hook_breaker", help, None, MetricType::Gauge)?;
        for point in points {
            let state: u32 = match point.state() {
                State::Closed => 0,
                State::HalfOpen => 1,
                State::Open => 2,
            };
            metric.encode_family(&[("hook", point.event().name())])?.encode_gauge(&state)?;
        }
        let help = "Calls of a hook, by result.";
        encode_results(encoder, "ringsock_hook_calls", help, "result", points, &CALL_ENDS, |counts| &counts.calls)?;
        let help = "Questions about which the backend was not called, because the breaker was open or as many calls \
                    as there may be were under way.";
        encode_results(encoder, "ringsock_hook_rejections", help, "reason", points, &REJECTIONS, |counts| {
            &counts.rejected
        })?;
        let help = "Decisions of a hook's fallback, by result.";
        encode_results(encoder, "ringsock_hook_fallbacks", help, "result", points, &FALLBACKS, |counts| {
            &counts.fallbacks
        })?;
        let help = "Time that the calls of a hook took together.";
        let mut metric = encoder.encode_descriptor("ringsock_hook_call_seconds", help, None, MetricType::Counter)?;
        for point in points {
            let seconds = point.counts().call_us.load(Ordering::Relaxed) as f64 / 1_000_000.0;
            let labels = [("hook", point.event().name())];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
        }
        Ok(())
    }

    fn encode_facts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.facts.as_ref().map(|facts| facts.counts()).unwrap_or_default();
        for (name, help, value) in [
            ("ringsock_facts", "Facts that have got a number.", counts.numbered),
            ("ringsock_facts_delivered", "Facts that the backend has confirmed.", counts.delivered),
        ] {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        let help = "Facts that were not delivered: the queue was full, or the backend did not take them in time.";
        let mut metric = encoder.encode_descriptor("ringsock_facts_lost", help, None, MetricType::Counter)?;
        for (reason, count) in [("full", counts.lost_full), ("late", counts.lost_late), ("left", counts.lost_left)] {
            metric.encode_family(&[("reason", reason)])?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        let help = "Facts that wait for the backend.";
        let mut metric = encoder.encode_descriptor("ringsock_facts_waiting", help, None, MetricType::Gauge)?;
        metric.encode_gauge(&counts.waiting)
    }
}

impl Collector for HookMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_points(&mut encoder)?;
        self.encode_facts(&mut encoder)
    }
}

/// Writes a counter with a value for each hook and result.
fn encode_results<const RESULTS: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    points: &[Arc<Point>],
    results: &[&str; RESULTS],
    counts: impl Fn(&PointCounts) -> &[AtomicU64; RESULTS],
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for point in points {
        for (result, count) in results.iter().zip(counts(point.counts())) {
            let labels = [("hook", point.event().name()), (label, *result)];
            let value = count.load(Ordering::Relaxed);
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
    }
    Ok(())
}
