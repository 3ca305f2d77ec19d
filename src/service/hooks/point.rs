//! One hook that decides, for all cores: its breaker, its last verdicts and its counts.
//!
//! Owns the lock, which is held for a look-up, and only where the backend would be asked. Never calls the backend and
//! reads no clock. Invariant: each call that was let through is counted when it ends, also if it is dropped midway.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::answer::Verdict;
use super::breaker::{Breaker, BreakerLimits, Call, NotCalled, Outcome, State};
use super::fallback::{Decision, Fallback, Verdicts};
use super::question::Event;
use crate::outbound::Url;
use crate::service::auth::Allowed;

/// The settings of a hook that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointRules {
    /// The address that is asked.
    pub url: Url,
    /// The limits of its breaker.
    pub limits: BreakerLimits,
    /// The decision when it does not answer.
    pub fallback: Fallback,
}

/// The outcome of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The backend has decided, now or lately.
    Verdict(Verdict),
    /// The backend has not decided, and the fallback denies: the client may try again later.
    Unavailable,
}

impl Ruling {
    /// The ruling of the fallback that allows everything.
    fn by_default() -> Self {
        Self::Verdict(Verdict::Allowed(Allowed::default()))
    }
}

/// The counts of a hook that decides.
#[derive(Debug, Default)]
pub struct PointCounts {
    /// Calls by their end: allowed, denied, failed.
    pub calls: [AtomicU64; 3],
    /// Questions for which the backend was not called: the breaker was open, the bulkhead full.
    pub rejected: [AtomicU64; 2],
    /// Decisions of the fallback: allowed, denied.
    pub fallbacks: [AtomicU64; 2],
    /// The sum of the times that calls took, in microseconds.
    pub call_us: AtomicU64,
}

/// The labels of [`PointCounts::calls`].
pub const CALL_ENDS: [&str; 3] = ["allowed", "denied", "failed"];

/// The labels of [`PointCounts::rejected`].
pub const REJECTIONS: [&str; 2] = ["open", "full"];

/// The labels of [`PointCounts::fallbacks`].
pub const FALLBACKS: [&str; 2] = ["allowed", "denied"];

/// See the module.
#[derive(Debug)]
pub struct Point {
    event: Event,
    parts: Mutex<Parts>,
    counts: PointCounts,
}

#[derive(Debug)]
struct Parts {
    /// The settings that the others are made from.
    rules: Option<PointRules>,
    breaker: Breaker,
    verdicts: Verdicts<Verdict>,
    /// Raised with each new breaker, so that a call ends at the one that has let it through.
    generation: u64,
}

impl Point {
    /// Returns a hook that was never asked.
    pub fn new(event: Event) -> Self {
        let parts = Parts {
            rules: None,
            breaker: Breaker::new(BreakerLimits::default()),
            verdicts: Verdicts::new(Fallback::Deny),
            generation: 0,
        };
        Self { event, parts: Mutex::new(parts), counts: PointCounts::default() }
    }

    /// Returns the hook.
    pub fn event(&self) -> Event {
        self.event
    }

    /// Returns its counts.
    pub fn counts(&self) -> &PointCounts {
        &self.counts
    }

    /// Returns the state of its breaker.
    pub fn state(&self) -> State {
        self.lock().breaker.state()
    }

    /// Lets a call with a question through, or decides at once.
    pub fn begin(self: &Arc<Self>, rules: &PointRules, key: String, now_ms: u64) -> Result<Pass, Ruling> {
        let mut parts = self.lock();
        parts.follow(rules);
        let before = parts.breaker.state();
        let begun = parts.breaker.begin(now_ms);
        self.tell(before, &parts);
        match begun {
            Ok(call) => {
                let generation = parts.generation;
                Ok(Pass { point: Arc::clone(self), call: Some(call), generation, key })
            }
            Err(reason) => {
                self.counts.rejected[usize::from(reason == NotCalled::Full)].fetch_add(1, Ordering::Relaxed);
                Err(self.fall_back(&parts, &key, now_ms))
            }
        }
    }

    /// Notes the end of a call. `verdict` is `None` if there was no answer that could be understood.
    fn end(&self, (call, generation): (Call, u64), key: &str, verdict: Option<Verdict>, now_ms: u64) -> Ruling {
        let mut parts = self.lock();
        if generation == parts.generation {
            let before = parts.breaker.state();
            let outcome = if verdict.is_some() { Outcome::Success } else { Outcome::Failure };
            parts.breaker.end(call, outcome, now_ms);
            self.tell(before, &parts);
        }
        let end = match &verdict {
            Some(Verdict::Allowed(_)) => 0,
            Some(Verdict::Denied(_)) => 1,
            None => 2,
        };
        self.counts.calls[end].fetch_add(1, Ordering::Relaxed);
        match verdict {
            Some(verdict) => {
                // An answer from an address of before is none of this one's.
                if generation == parts.generation {
                    parts.verdicts.note(key, verdict.clone(), now_ms);
                }
                Ruling::Verdict(verdict)
            }
            None => self.fall_back(&parts, key, now_ms),
        }
    }

    fn fall_back(&self, parts: &Parts, key: &str, now_ms: u64) -> Ruling {
        let ruling = match parts.verdicts.decide(key, now_ms) {
            Decision::Allow => Ruling::by_default(),
            Decision::Deny => Ruling::Unavailable,
            Decision::Verdict(verdict) => Ruling::Verdict(verdict),
        };
        let is_allowed = matches!(ruling, Ruling::Verdict(Verdict::Allowed(_)));
        self.counts.fallbacks[usize::from(!is_allowed)].fetch_add(1, Ordering::Relaxed);
        ruling
    }

    /// Logs a change of the breaker's state.
    fn tell(&self, before: State, parts: &Parts) {
        let (name, pause_ms) = (self.event.name(), parts.rules.as_ref().map_or(0, |rules| rules.limits.pause_ms));
        match (before, parts.breaker.state()) {
            (State::Closed, State::Open) => tracing::warn!(
                "The hook {name} fails: its breaker is open, and its fallback decides. It is tried again after \
                 {pause_ms} ms."
            ),
            (State::HalfOpen, State::Open) => tracing::debug!("The hook {name} still fails."),
            (State::Open, State::HalfOpen) => tracing::debug!("The hook {name} is tried again."),
            (State::HalfOpen, State::Closed) => tracing::info!("The hook {name} answers again: its breaker is closed."),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        // No code that runs under the lock can leave it half changed.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parts {
    /// Follows a change of the settings. Another address or other limits begin with a closed breaker.
    fn follow(&mut self, rules: &PointRules) {
        let Some(old) = self.rules.as_ref().filter(|old| *old != rules) else {
            if self.rules.is_none() {
                self.begin_with(rules);
            }
            return;
        };
        if (&old.url, old.limits) != (&rules.url, rules.limits) {
            return self.begin_with(rules);
        }
        self.verdicts = Verdicts::new(rules.fallback);
        self.rules = Some(rules.clone());
    }

    fn begin_with(&mut self, rules: &PointRules) {
        self.breaker = Breaker::new(rules.limits);
        self.verdicts = Verdicts::new(rules.fallback);
        self.rules = Some(rules.clone());
        self.generation += 1;
    }
}

/// A call that was let through. One that is dropped counts as failed.
#[derive(Debug)]
#[must_use = "the call takes a place of the bulkhead until it ends"]
pub struct Pass {
    point: Arc<Point>,
    call: Option<Call>,
    generation: u64,
    key: String,
}

impl Pass {
    /// Ends the call, which took so many microseconds. `verdict` is `None` if there was no answer that could be
    /// understood.
    pub fn end(mut self, verdict: Option<Verdict>, took_us: u64, now_ms: u64) -> Ruling {
        self.point.counts.call_us.fetch_add(took_us, Ordering::Relaxed);
        let key = mem::take(&mut self.key);
        match self.call.take() {
            Some(call) => self.point.end((call, self.generation), &key, verdict, now_ms),
            // Unreachable: only this and the drop take it.
            None => Ruling::Unavailable,
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            // The breaker's own time stands still for a call without one.
            self.point.end((call, self.generation), &self.key, None, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Denied;
    use super::*;

    fn rules(fallback: Fallback) -> PointRules {
        PointRules { url: "http://127.0.0.1:1/".parse().unwrap(), limits: BreakerLimits::default(), fallback }
    }

    fn allowed() -> Verdict {
        Verdict::Allowed(Allowed::default())
    }

    fn counts(counts: &[AtomicU64]) -> Vec<u64> {
        counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn a_backend_that_fails_is_asked_twenty_times_and_then_once_in_five_seconds() {
        let (point, rules) = (Arc::new(Point::new(Event::Connect)), rules(Fallback::Deny));
        let mut calls = Vec::new();
        for now_ms in 0..30_000 {
            match point.begin(&rules, String::new(), now_ms) {
                Ok(pass) => {
                    calls.push(now_ms);
                    assert_eq!(pass.end(None, 1, now_ms), Ruling::Unavailable);
                }
                Err(ruling) => assert_eq!(ruling, Ruling::Unavailable),
            }
        }
        assert_eq!(calls.len(), 20 + 5);
        assert_eq!(&calls[20..], [5_020, 10_021, 15_022, 20_023, 25_024]);
        assert_eq!(counts(&point.counts.calls), [0, 0, 25]);
        assert_eq!(counts(&point.counts.rejected), [30_000 - 25, 0]);
        assert_eq!(counts(&point.counts.fallbacks), [0, 30_000]);
        // It answers again.
        let pass = point.begin(&rules, String::new(), 40_000).unwrap();
        assert_eq!(point.state(), State::HalfOpen);
        assert_eq!(pass.end(Some(allowed()), 1, 40_000), Ruling::Verdict(allowed()));
        assert_eq!((point.state(), counts(&point.counts.calls)), (State::Closed, vec![1, 0, 25]));
    }

    #[test]
    fn each_fallback_decides_as_it_says() {
        let denial = Verdict::Denied(Denied { code: None, reason: Some("No.".to_owned()) });
        for (fallback, first, then) in [
            (Fallback::Deny, Ruling::Unavailable, Ruling::Unavailable),
            (Fallback::Allow, Ruling::by_default(), Ruling::by_default()),
            (Fallback::LastVerdict { for_ms: 1_000 }, Ruling::Unavailable, Ruling::Verdict(denial.clone())),
        ] {
            let (point, rules) = (Arc::new(Point::new(Event::Publish)), rules(fallback));
            let ask = |verdict, now_ms| point.begin(&rules, "q".to_owned(), now_ms).unwrap().end(verdict, 1, now_ms);
            assert_eq!(ask(None, 0), first, "{fallback:?}");
            assert_eq!(ask(Some(denial.clone()), 1), Ruling::Verdict(denial.clone()));
            assert_eq!(ask(None, 2), then, "{fallback:?}");
            assert_eq!(counts(&point.counts.calls), [0, 1, 2]);
        }
    }

    #[test]
    fn a_full_bulkhead_is_counted_and_a_call_that_is_dropped_gives_its_place_back() {
        let (point, rules) = (Arc::new(Point::new(Event::Subscribe)), rules(Fallback::Allow));
        let calls: Vec<Pass> = (0..10).map(|_| point.begin(&rules, String::new(), 5).unwrap()).collect();
        assert_eq!(point.begin(&rules, String::new(), 5).unwrap_err(), Ruling::by_default());
        assert_eq!(counts(&point.counts.rejected), [0, 1]);
        drop(calls);
        assert_eq!(counts(&point.counts.calls), [0, 0, 10]);
        assert!(point.begin(&rules, String::new(), 5).is_ok());
    }

    #[test]
    fn another_address_begins_anew_and_another_fallback_keeps_the_breaker() {
        let (point, denies) = (Arc::new(Point::new(Event::Connect)), rules(Fallback::Deny));
        let late = point.begin(&denies, String::new(), 0).unwrap();
        (0..20).for_each(|_| drop(point.begin(&denies, String::new(), 0)));
        assert_eq!(point.state(), State::Open);
        assert_eq!(point.begin(&rules(Fallback::Allow), String::new(), 0).unwrap_err(), Ruling::by_default());
        let elsewhere = PointRules { url: "http://127.0.0.1:2/".parse().unwrap(), ..denies };
        let calls: Vec<Pass> = (0..10).map(|_| point.begin(&elsewhere, String::new(), 0).unwrap()).collect();
        let _ = late.end(None, 1, 0);
        assert!(point.begin(&elsewhere, String::new(), 0).is_err(), "a call of before frees no place");
        drop(calls);
    }
}
