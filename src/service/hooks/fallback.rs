//! The decision in place of a backend that is not asked, or that does not answer.
//!
//! Never asks anybody. Invariant: at most [`VERDICTS_MAX`] verdicts are remembered; one that is unknown or too old is
//! no verdict.

use std::collections::HashMap;
use std::mem;

/// Verdicts that are remembered: half of them certainly, the others until they are too old.
const VERDICTS_MAX: usize = 16 * 1024;

/// The decision when the backend does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The request is allowed.
    Allow,
    /// The request is denied, as one that may be tried again.
    Deny,
    /// The backend's last verdict on the same question holds for this time; without one the request is denied.
    LastVerdict {
        /// The time in milliseconds.
        for_ms: u64,
    },
}

impl Fallback {
    /// Returns whether it needs the verdicts of before.
    pub fn remembers(self) -> bool {
        matches!(self, Self::LastVerdict { .. })
    }
}

/// The decision of a fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<V> {
    /// The request is allowed, with no rights but those it has anyway.
    Allow,
    /// The request is denied.
    Deny,
    /// The backend has said so before.
    Verdict(V),
}

/// The last verdicts of a backend, by the text of the question.
#[derive(Debug)]
pub struct Verdicts<V> {
    fallback: Fallback,
    /// Each with its time. Those that were given since the last change, and those before.
    recent: HashMap<Box<str>, (V, u64)>,
    earlier: HashMap<Box<str>, (V, u64)>,
}

impl<V: Clone> Verdicts<V> {
    /// Returns no verdicts yet.
    pub fn new(fallback: Fallback) -> Self {
        Self { fallback, recent: HashMap::new(), earlier: HashMap::new() }
    }

    /// Remembers a verdict, if the fallback may need it.
    pub fn note(&mut self, question: &str, verdict: V, now_ms: u64) {
        if !self.fallback.remembers() {
            return;
        }
        if self.recent.len() >= VERDICTS_MAX / 2 && !self.recent.contains_key(question) {
            self.earlier = mem::take(&mut self.recent);
        }
        self.recent.insert(question.into(), (verdict, now_ms));
    }

    /// Decides in place of the backend.
    pub fn decide(&self, question: &str, now_ms: u64) -> Decision<V> {
        let for_ms = match self.fallback {
            Fallback::Allow => return Decision::Allow,
            Fallback::Deny => return Decision::Deny,
            Fallback::LastVerdict { for_ms } => for_ms,
        };
        let last = self.recent.get(question).or_else(|| self.earlier.get(question));
        let valid = last.filter(|(_, at_ms)| now_ms.saturating_sub(*at_ms) <= for_ms);
        valid.map_or(Decision::Deny, |(verdict, _)| Decision::Verdict(verdict.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allow_and_deny_remember_nothing() {
        for (fallback, decision) in [(Fallback::Allow, Decision::Allow), (Fallback::Deny, Decision::Deny)] {
            let mut verdicts = Verdicts::new(fallback);
            verdicts.note("may ann join?", true, 0);
            assert_eq!((verdicts.decide("may ann join?", 0), verdicts.recent.capacity()), (decision, 0));
        }
    }

    #[test]
    fn the_last_verdict_on_the_same_question_holds_for_its_time() {
        let mut verdicts = Verdicts::new(Fallback::LastVerdict { for_ms: 5_000 });
        verdicts.note("may ann join?", true, 1_000);
        verdicts.note("may bob join?", false, 1_000);
        assert_eq!(verdicts.decide("may ann join?", 6_000), Decision::Verdict(true));
        assert_eq!(verdicts.decide("may bob join?", 6_000), Decision::Verdict(false));
        assert_eq!(verdicts.decide("may eve join?", 1_000), Decision::Deny);
        assert_eq!(verdicts.decide("may ann join?", 6_001), Decision::Deny);
        verdicts.note("may ann join?", false, 7_000);
        assert_eq!(verdicts.decide("may ann join?", 7_000), Decision::Verdict(false));
        // A clock that goes back makes no verdict older.
        assert_eq!(verdicts.decide("may ann join?", 0), Decision::Verdict(false));
    }

    #[test]
    fn millions_of_questions_take_no_more_than_their_memory() {
        let mut verdicts = Verdicts::new(Fallback::LastVerdict { for_ms: 5_000 });
        for number in 0..100_000 {
            verdicts.note(&number.to_string(), number, 0);
            assert_eq!(verdicts.decide(&number.to_string(), 0), Decision::Verdict(number));
        }
        assert!(verdicts.recent.len() + verdicts.earlier.len() <= VERDICTS_MAX);
        assert_eq!(verdicts.decide("95000", 0), Decision::Verdict(95_000));
    }
}
