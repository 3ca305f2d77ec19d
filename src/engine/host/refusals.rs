//! The line of the log that sums up, once a minute, what was refused.
//!
//! Reads the counters of the cores. Never reads a clock: its caller provides the time. Invariant: each refusal is in
//! one line at most, and no line is due while nothing was refused.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use crate::engine::counters::Counters;
use crate::protocol::Reason;
use crate::protocol::http::Refusal;

/// The time that one line covers: short enough to notice an attack, long enough not to fill the log.
const INTERVAL_MS: u64 = 60_000;

/// The refusals that were reported so far, and the time of the next line.
#[derive(Debug)]
pub(in crate::engine) struct RefusalLog {
    /// The number of refusals that lines have reported, by reason.
    reported: Vec<u64>,
    /// The time from which on the next line is due.
    due_ms: u64,
}

impl Default for RefusalLog {
    fn default() -> Self {
        Self { reported: vec![0; Refusal::NAMES.len()], due_ms: INTERVAL_MS }
    }
}

/// The refusals since the last line, by reason, the most frequent first. Never empty.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine) struct Refused(Vec<(&'static str, u64)>);

impl RefusalLog {
    /// Returns what was refused since the last line, if a line is due at `now_ms` and anything was.
    pub(in crate::engine) fn due(&mut self, now_ms: u64, counters: &[Arc<Counters>]) -> Option<Refused> {
        if now_ms < self.due_ms {
            return None;
        }
        self.due_ms = now_ms.saturating_add(INTERVAL_MS);
        let mut counts = vec![0; self.reported.len()];
        for counters in counters {
            counts.iter_mut().zip(counters.http_refusals.counts()).for_each(|(sum, (_, count))| *sum += count);
        }
        let new = counts.iter().zip(&self.reported).map(|(count, reported)| count - reported);
        let mut refused: Vec<_> = Refusal::NAMES.iter().copied().zip(new).filter(|(_, new)| *new > 0).collect();
        refused.sort_by_key(|(_, new)| Reverse(*new));
        self.reported = counts;
        (!refused.is_empty()).then_some(Refused(refused))
    }
}

impl Refused {
    /// Returns the number of all refusals.
    pub(in crate::engine) fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> = self.0.iter().map(|(name, count)| format!("{count} {name}")).collect();
        f.write_str(&counts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_reported_once_and_the_most_frequent_first() {
        let counters: Vec<Arc<Counters>> = (0..2).map(|_| Arc::default()).collect();
        let mut log = RefusalLog::default();
        assert_eq!(log.due(INTERVAL_MS, &counters), None, "nothing was refused");
        counters[0].http_refusals.add(&Refusal::TlsOnPlainPort);
        counters[0].http_refusals.add(&Refusal::OverCapacity);
        counters[1].http_refusals.add(&Refusal::OverCapacity);
        assert_eq!(log.due(2 * INTERVAL_MS - 1, &counters), None, "the minute is not over");
        let refused = log.due(2 * INTERVAL_MS, &counters).unwrap();
        let [over_capacity, tls] = [&Refusal::OverCapacity, &Refusal::TlsOnPlainPort].map(Reason::name);
        assert_eq!(refused.to_string(), format!("2 {over_capacity}, 1 {tls}"));
        assert_eq!(refused.total(), 3);
        assert_eq!(log.due(3 * INTERVAL_MS, &counters), None);
        counters[1].http_refusals.add(&Refusal::TlsOnPlainPort);
        assert_eq!(log.due(u64::MAX, &counters).map(|refused| refused.total()), Some(1));
    }
}
