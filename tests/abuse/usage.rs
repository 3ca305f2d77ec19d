//! The memory, descriptors, processor time and counters of a server, at its start and by its end.
//!
//! Invariant: a server that has lost a descriptor, has panicked, or cannot account for a connection has a fault,
//! whatever the attack was.

use std::collections::BTreeMap;
use std::time::Duration;

/// A counter that always moves.
const RESTLESS: &str = "turns";

/// The resources that a server uses at one moment.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// In bytes.
    pub memory: u64,
    pub descriptors: usize,
    pub cpu: Duration,
    /// The counters by name and reason, over all cores.
    pub counters: BTreeMap<String, u64>,
}

/// The resources that a server used at its beginning, and by its end.
pub struct Spent {
    before: Usage,
    /// `None` if the server had ended before it was measured.
    after: Option<Usage>,
    panics: usize,
}

impl Usage {
    /// Returns a counter, over all reasons.
    fn total(&self, name: &str) -> u64 {
        let own = self.counters.iter().filter(|(own, _)| own.split('{').next() == Some(name));
        own.map(|(_, count)| count).sum()
    }

    /// Lists the counts of connections that came and were not counted as ended. No client is left.
    pub fn uncounted(&self) -> Vec<String> {
        let pairs = [("connections_accepted", "connections_closed"), ("sessions_opened", "sessions_closed")];
        let totals = pairs.map(|(came, gone)| (came, self.total(came), gone, self.total(gone)));
        let uncounted = totals.iter().filter(|(_, came, _, gone)| came != gone);
        uncounted
            .map(|(came, came_count, gone, gone_count)| format!("{came} {came_count}, but {gone} {gone_count}"))
            .collect()
    }
}

impl Spent {
    /// Returns the usage; `after` is `None` if the server had ended before it was measured.
    pub fn new(before: Usage, after: Option<Usage>, panics: usize) -> Self {
        Self { before, after, panics }
    }

    /// Lists faults, whatever the attack was.
    pub fn faults(&self, panics_are_wanted: bool) -> Vec<String> {
        let mut faults = Vec::new();
        if self.panics > 0 {
            faults.push(format!("{} panics", self.panics));
        }
        let Some(after) = &self.after else { return faults };
        if after.descriptors != self.before.descriptors {
            faults.push(format!("descriptors {}", self.descriptors()));
        }
        if after.counters.is_empty() {
            faults.push("no metrics".to_owned());
        }
        let panics = after.total("handler_panics");
        if panics > 0 && !panics_are_wanted {
            faults.push(format!("{panics} handlers panicked"));
        }
        faults.extend(after.uncounted());
        faults
    }

    pub fn memory(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        self.pair(|usage| format!("{:.1}", mib(usage.memory))) + " MiB"
    }

    pub fn descriptors(&self) -> String {
        self.pair(|usage| usage.descriptors.to_string())
    }

    pub fn cpu(&self) -> String {
        let spent = self.after.as_ref().map(|after| after.cpu.saturating_sub(self.before.cpu));
        spent.map_or_else(|| "ended".to_owned(), |spent| format!("{:.2} s", spent.as_secs_f64()))
    }

    /// Returns the counters that moved.
    pub fn counters(&self) -> String {
        let after = self.after.iter().flat_map(|after| &after.counters);
        let moved = after.filter(|(name, _)| *name != RESTLESS).filter_map(|(name, count)| {
            let more = count - self.before.counters.get(name).copied().unwrap_or(0);
            (more > 0).then(|| format!("{name} +{more}"))
        });
        moved.collect::<Vec<_>>().join(", ")
    }

    fn pair(&self, of: impl Fn(&Usage) -> String) -> String {
        let after = self.after.as_ref().map_or_else(|| "ended".to_owned(), &of);
        format!("{} → {after}", of(&self.before))
    }
}
