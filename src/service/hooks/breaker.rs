//! A circuit breaker with the semantics of Hystrix, and its bulkhead: whether a backend is asked at all.
//!
//! Never calls a backend and reads no clock: its caller gives the time, asks before each call, and tells how the call
//! ended. Invariants: while the breaker is open, one call at a time is let through, and only after the pause; only that
//! call decides whether it closes; no more calls are under way than the bulkhead has places.

/// The length of the window, and of each of its buckets, in milliseconds.
const WINDOW_MS: u64 = 10_000;
const BUCKETS: usize = 10;
const BUCKET_MS: u64 = WINDOW_MS / BUCKETS as u64;

/// The limits of a breaker. The defaults are those of Hystrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Calls in the window below which it does not open. Default: 20.
    pub calls_min: u64,
    /// The share of failures from which on it opens, in percent, rounded down. Default: 50.
    pub failures_percent: u64,
    /// The time for which an open breaker lets nothing through, and between two probes. Default: 5 s.
    pub pause_ms: u64,
    /// Calls that may be under way at once. Default: 10.
    pub calls_at_once_max: usize,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self { calls_min: 20, failures_percent: 50, pause_ms: 5_000, calls_at_once_max: 10 }
    }
}

/// The state of a breaker, for metrics and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls are let through.
    Closed,
    /// Nothing is let through.
    Open,
    /// A probe is under way, and nothing else is let through.
    HalfOpen,
}

/// The reason why a call is not let through: the fallback applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCalled {
    /// The breaker is open.
    Open,
    /// As many calls are under way as there may be. It counts as a failure.
    Full,
}

/// A call that was let through, to be given back by [`Breaker::end`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the call takes a place of the bulkhead until it is given back"]
pub struct Call {
    is_probe: bool,
}

/// The end of a call. A denial by the backend is a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend has answered.
    Success,
    /// No connection, no answer in time, or an answer that is none.
    Failure,
}

/// See the module.
#[derive(Debug)]
pub struct Breaker {
    limits: BreakerLimits,
    phase: Phase,
    window: Window,
    calls: usize,
    now_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed,
    /// Open since this time.
    Open(u64),
    HalfOpen,
}

impl Breaker {
    /// Returns a closed breaker.
    pub fn new(limits: BreakerLimits) -> Self {
        Self { limits, phase: Phase::Closed, window: Window::default(), calls: 0, now_ms: 0 }
    }

    /// Returns its state.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open(_) => State::Open,
            Phase::HalfOpen => State::HalfOpen,
        }
    }

    /// Lets a call through, or says why not.
    pub fn begin(&mut self, now_ms: u64) -> Result<Call, NotCalled> {
        let now_ms = self.advance(now_ms);
        let is_probe = match self.phase {
            Phase::Closed => false,
            Phase::Open(since_ms) if now_ms > since_ms.saturating_add(self.limits.pause_ms) => true,
            Phase::Open(_) | Phase::HalfOpen => return Err(NotCalled::Open),
        };
        if self.calls >= self.limits.calls_at_once_max {
            // Without a place there is no probe, and the next call may be it.
            self.count(Outcome::Failure);
            return Err(NotCalled::Full);
        }
        if is_probe {
            self.phase = Phase::HalfOpen;
        }
        self.calls += 1;
        Ok(Call { is_probe })
    }

    /// Counts the end of a call.
    pub fn end(&mut self, call: Call, outcome: Outcome, now_ms: u64) {
        let now_ms = self.advance(now_ms);
        self.calls = self.calls.saturating_sub(1);
        match (call.is_probe, outcome) {
            (true, Outcome::Success) => {
                self.phase = Phase::Closed;
                self.window = Window::default();
                self.window.advance(now_ms);
                self.window.add(outcome);
            }
            (true, Outcome::Failure) => {
                self.phase = Phase::Open(now_ms);
                self.window.add(outcome);
            }
            // A call from before the breaker opened says nothing about the backend as it is now.
            (false, _) => self.count(outcome),
        }
    }

    /// Adds an outcome to the window, and opens the breaker if there were too many failures.
    fn count(&mut self, outcome: Outcome) {
        self.window.add(outcome);
        let (calls, failures) = self.window.sums();
        let is_too_bad = calls >= self.limits.calls_min && failures * 100 / calls >= self.limits.failures_percent;
        if self.phase == Phase::Closed && is_too_bad {
            self.phase = Phase::Open(self.now_ms);
        }
    }

    /// Moves the time on. A clock that goes back stands still here.
    fn advance(&mut self, now_ms: u64) -> u64 {
        self.now_ms = self.now_ms.max(now_ms);
        self.window.advance(self.now_ms);
        self.now_ms
    }
}

/// The calls and failures of the last ten seconds, in buckets of one.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// Calls and failures, by the number of the bucket modulo their count.
    buckets: [(u64, u64); BUCKETS],
    /// The number of the latest bucket.
    latest: u64,
}

impl Window {
    fn advance(&mut self, now_ms: u64) {
        let latest = now_ms / BUCKET_MS;
        let steps = latest.saturating_sub(self.latest).min(BUCKETS as u64);
        for step in 0..steps {
            self.buckets[((latest - step) % BUCKETS as u64) as usize] = (0, 0);
        }
        self.latest = latest;
    }

    fn add(&mut self, outcome: Outcome) {
        let (calls, failures) = &mut self.buckets[(self.latest % BUCKETS as u64) as usize];
        *calls += 1;
        *failures += u64::from(outcome == Outcome::Failure);
    }

    fn sums(&self) -> (u64, u64) {
        self.buckets.iter().fold((0, 0), |sums, bucket| (sums.0 + bucket.0, sums.1 + bucket.1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAUSE_MS: u64 = 5_000;

    fn breaker() -> Breaker {
        Breaker::new(BreakerLimits::default())
    }

    /// Makes a call that ends at once, so many times.
    fn calls(breaker: &mut Breaker, count: usize, outcome: Outcome, now_ms: u64) {
        for _ in 0..count {
            let call = breaker.begin(now_ms).unwrap();
            breaker.end(call, outcome, now_ms);
        }
    }

    /// Returns a breaker that opened at this time.
    fn opened(now_ms: u64) -> Breaker {
        let mut breaker = breaker();
        calls(&mut breaker, 20, Outcome::Failure, now_ms);
        assert_eq!(breaker.state(), State::Open);
        breaker
    }

    #[test]
    fn nineteen_failures_do_not_open_it_and_twenty_do() {
        let mut breaker = breaker();
        calls(&mut breaker, 19, Outcome::Failure, 1_000);
        assert_eq!(breaker.state(), State::Closed);
        calls(&mut breaker, 1, Outcome::Failure, 1_000);
        assert_eq!((breaker.state(), breaker.begin(1_000)), (State::Open, Err(NotCalled::Open)));
    }

    #[test]
    fn forty_nine_percent_do_not_open_it_and_fifty_do_whatever_their_order() {
        for failures_first in [true, false] {
            for (failures, state) in [(49, State::Closed), (50, State::Open)] {
                let mut breaker = Breaker::new(BreakerLimits { calls_min: 100, ..BreakerLimits::default() });
                let parts = [(failures, Outcome::Failure), (100 - failures, Outcome::Success)];
                let order = if failures_first { [0, 1] } else { [1, 0] };
                order.iter().for_each(|at| calls(&mut breaker, parts[*at].0, parts[*at].1, 5_000));
                assert_eq!(breaker.state(), state, "{failures} first: {failures_first}");
            }
        }
        // The share is rounded down: 19 of 39 are 48.7 %, and 20 of 40 are 50.
        let mut breaker = breaker();
        calls(&mut breaker, 20, Outcome::Success, 0);
        calls(&mut breaker, 19, Outcome::Failure, 0);
        assert_eq!(breaker.state(), State::Closed);
        calls(&mut breaker, 1, Outcome::Failure, 0);
        assert_eq!(breaker.state(), State::Open);
    }

    #[test]
    fn buckets_that_are_ten_seconds_old_do_not_count() {
        for (later_ms, state) in [(9_000, State::Open), (9_999, State::Open), (10_000, State::Closed)] {
            let mut breaker = breaker();
            calls(&mut breaker, 19, Outcome::Failure, 20_000);
            calls(&mut breaker, 1, Outcome::Failure, 20_000 + later_ms);
            assert_eq!(breaker.state(), state, "{later_ms}");
        }
        // Each second counts by itself.
        let mut breaker = breaker();
        for second in 0..100 {
            calls(&mut breaker, 1, Outcome::Failure, second * 1_000);
            assert_eq!(breaker.window.sums().0, (second + 1).min(10));
        }
        assert_eq!(breaker.state(), State::Closed, "ten in the window are too few");
    }

    #[test]
    fn of_a_thousand_that_wait_one_is_the_probe() {
        for outcome in [Outcome::Success, Outcome::Failure] {
            let mut breaker = opened(7_000);
            let let_through = |breaker: &mut Breaker, now_ms| {
                (0..1_000).filter_map(|_| breaker.begin(now_ms).ok()).collect::<Vec<_>>()
            };
            assert!(let_through(&mut breaker, 7_000 + PAUSE_MS).is_empty());
            let mut probes = let_through(&mut breaker, 7_001 + PAUSE_MS);
            assert_eq!((probes.len(), breaker.state()), (1, State::HalfOpen));
            assert!(let_through(&mut breaker, 60_000).is_empty(), "however long it takes");
            breaker.end(probes.pop().unwrap(), outcome, 60_000);
            if outcome == Outcome::Success {
                assert_eq!(breaker.state(), State::Closed);
                calls(&mut breaker, 19, Outcome::Failure, 60_000);
                assert_eq!(breaker.state(), State::Open, "of twenty calls since then, one is the probe");
            } else {
                assert!(let_through(&mut breaker, 60_000 + PAUSE_MS).is_empty());
                assert_eq!(let_through(&mut breaker, 60_001 + PAUSE_MS).len(), 1, "another pause, another probe");
            }
        }
    }

    #[test]
    fn a_call_from_before_neither_closes_it_nor_takes_the_place_of_the_probe() {
        let mut breaker = breaker();
        let early: Vec<Call> = (0..3).map(|_| breaker.begin(1_000).unwrap()).collect();
        calls(&mut breaker, 20, Outcome::Failure, 1_000);
        let probe = breaker.begin(7_000).unwrap();
        for call in early {
            breaker.end(call, Outcome::Success, 7_000);
            assert_eq!((breaker.state(), breaker.begin(7_000)), (State::HalfOpen, Err(NotCalled::Open)));
        }
        breaker.end(probe, Outcome::Success, 7_000);
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn the_bulkhead_has_ten_places_and_a_call_without_one_is_a_failure() {
        let mut breaker = breaker();
        let mut hanging: Vec<Call> = (0..10).map(|_| breaker.begin(0).unwrap()).collect();
        (0..19).for_each(|_| assert_eq!(breaker.begin(0), Err(NotCalled::Full)));
        assert_eq!(breaker.state(), State::Closed);
        breaker.end(hanging.pop().unwrap(), Outcome::Failure, 0);
        assert_eq!(breaker.state(), State::Open);
        // While all places are taken there is no probe, and the breaker does not wait for one that never was.
        let mut breaker = Breaker::new(BreakerLimits { calls_at_once_max: 1, ..BreakerLimits::default() });
        let hanging = breaker.begin(0).unwrap();
        (0..20).for_each(|_| drop(breaker.begin(0)));
        assert_eq!((breaker.state(), breaker.begin(6_000)), (State::Open, Err(NotCalled::Full)));
        breaker.end(hanging, Outcome::Failure, 6_000);
        assert!(breaker.begin(6_000).is_ok());
    }

    #[test]
    fn a_clock_that_jumps_back_stands_still_and_one_that_jumps_ahead_forgets() {
        let mut breaker = opened(1_000_000);
        assert_eq!(breaker.begin(0), Err(NotCalled::Open));
        assert_eq!(breaker.begin(1_000_000 + PAUSE_MS), Err(NotCalled::Open));
        let probe = breaker.begin(u64::MAX).unwrap();
        breaker.end(probe, Outcome::Failure, 5);
        assert_eq!((breaker.state(), breaker.begin(u64::MAX)), (State::Open, Err(NotCalled::Open)));
        let mut breaker = self::breaker();
        calls(&mut breaker, 19, Outcome::Failure, 1_000);
        calls(&mut breaker, 1, Outcome::Failure, 1_000_000_000);
        assert_eq!(breaker.state(), State::Closed);
    }

    proptest! {
        /// Compares the breaker with the words of its definition, over every order of events.
        #[test]
        fn it_does_what_is_defined(
            steps in prop::collection::vec((0..2_500u64, any::<bool>(), any::<bool>()), 1..400),
        ) {
            let limits = BreakerLimits { calls_min: 5, calls_at_once_max: 3, ..BreakerLimits::default() };
            let mut breaker = Breaker::new(limits);
            let (mut now_ms, mut under_way, mut ended) = (0, Vec::new(), Vec::<(u64, bool)>::new());
            let (mut open_since, mut probing) = (None::<u64>, false);
            for (pause_ms, begins, succeeds) in steps {
                now_ms += pause_ms;
                let mut judged = None;
                if begins {
                    let due = open_since.is_some_and(|since| now_ms > since + limits.pause_ms);
                    let expected = match open_since {
                        Some(_) if probing || !due => Err(NotCalled::Open),
                        _ if under_way.len() == 3 => Err(NotCalled::Full),
                        _ => Ok(()),
                    };
                    let begun = breaker.begin(now_ms);
                    prop_assert_eq!(begun.as_ref().map(|_| ()).map_err(|error| *error), expected);
                    if expected == Err(NotCalled::Full) {
                        judged = Some(true);
                    }
                    if let Ok(call) = begun {
                        probing |= open_since.is_some();
                        under_way.push(call);
                    }
                } else if let Some(call) = under_way.pop() {
                    let (is_probe, outcome) =
                        (call.is_probe, if succeeds { Outcome::Success } else { Outcome::Failure });
                    breaker.end(call, outcome, now_ms);
                    if is_probe {
                        probing = false;
                        open_since = (!succeeds).then_some(now_ms);
                        if succeeds {
                            ended.clear();
                        }
                        ended.push((now_ms, !succeeds));
                    } else {
                        judged = Some(!succeeds);
                    }
                }
                if let Some(failed) = judged {
                    ended.push((now_ms, failed));
                    let in_window = |at_ms: u64| at_ms / 1_000 + 10 > now_ms / 1_000;
                    let recent: Vec<bool> =
                        ended.iter().filter(|(at, _)| in_window(*at)).map(|(_, failed)| *failed).collect();
                    let failures = recent.iter().filter(|failed| **failed).count();
                    if open_since.is_none() && recent.len() >= 5 && failures * 2 >= recent.len() {
                        open_since = Some(now_ms);
                    }
                }
                let state = match open_since {
                    _ if probing => State::HalfOpen,
                    Some(_) => State::Open,
                    None => State::Closed,
                };
                prop_assert_eq!(breaker.state(), state, "at {}", now_ms);
            }
        }
    }
}
