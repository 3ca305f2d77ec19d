//! A rate with a burst, counted as the generic cell rate algorithm does.
//!
//! Knows neither clocks nor senders. Counts whole units, so that nothing is ever rounded away. Invariant: of a sender
//! that is held back while there is no room, `rate × time + burst` units pass, ± 1, over any time.

/// A rate: so many units in a second, and a burst of them after a while without any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Rate {
    per_second: u64,
    burst: u64,
}

/// The units that a sender has spent, on a scale on which time makes units available at the rate. The default has a
/// whole burst, and so has every value that time has overtaken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Spent(u64);

impl Rate {
    /// Returns a rate whose burst is what it allows in this time, at least one unit; `None` if the rate is 0, which
    /// stands for no limit. A burst of less than 2 ms, which are two steps of the clock, may hold the rate down.
    pub(in crate::engine) fn new(per_second: u32, burst_ms: u64) -> Option<Self> {
        let per_second = u64::from(per_second);
        let burst = (u128::from(per_second) * u128::from(burst_ms) / 1_000).max(1);
        (per_second > 0).then_some(Self { per_second, burst: u64::try_from(burst).unwrap_or(u64::MAX) })
    }

    /// Returns whether there is room for a unit.
    pub(in crate::engine) fn has_room(self, spent: Spent, now_ms: u64) -> bool {
        spent.0 < self.available(now_ms).saturating_add(self.burst)
    }

    /// Spends units, whether or not there is room for all: what is above the burst is waited for before the next.
    pub(in crate::engine) fn spend(self, spent: Spent, units: u64, now_ms: u64) -> Spent {
        Spent(spent.0.max(self.available(now_ms)).saturating_add(units))
    }

    /// Returns the time from which there is room for a unit.
    pub(in crate::engine) fn room_at_ms(self, spent: Spent) -> u64 {
        let needed = spent.0.saturating_add(1).saturating_sub(self.burst);
        let (seconds, rest) = (needed / self.per_second, needed % self.per_second);
        seconds.saturating_mul(1_000).saturating_add((rest * 1_000).div_ceil(self.per_second))
    }

    /// Returns whether a whole burst has room, as for a sender that nothing is known of.
    pub(in crate::engine) fn is_rested(self, spent: Spent, now_ms: u64) -> bool {
        spent.0 <= self.available(now_ms)
    }

    /// Returns the units that time has made available.
    fn available(self, now_ms: u64) -> u64 {
        (now_ms / 1_000).saturating_mul(self.per_second).saturating_add(now_ms % 1_000 * self.per_second / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sends units one by one as soon as there is room, until a time. Returns how many.
    fn greedy(rate: Rate, from_ms: u64, until_ms: u64) -> u64 {
        let (mut spent, mut now_ms, mut count) = (Spent::default(), from_ms, 0);
        while now_ms <= until_ms {
            if rate.has_room(spent, now_ms) {
                spent = rate.spend(spent, 1, now_ms);
                count += 1;
            } else {
                let at_ms = rate.room_at_ms(spent);
                assert!(at_ms > now_ms && !rate.has_room(spent, at_ms - 1) && rate.has_room(spent, at_ms));
                now_ms = at_ms;
            }
        }
        count
    }

    #[test]
    fn no_rate_is_no_limit() {
        assert_eq!(Rate::new(0, 1_000), None);
        assert_eq!(Rate::new(1, 0), Some(Rate { per_second: 1, burst: 1 }));
        assert_eq!(Rate::new(u32::MAX, u64::MAX).map(|rate| rate.burst), Some(u64::MAX));
    }

    #[test]
    fn over_a_day_the_count_is_exact_for_rates_that_divide_nothing() {
        for (per_second, burst_ms) in [(1, 1_000), (3, 10_000), (7, 0), (333, 50), (999, 1_000)] {
            let (rate, day_ms) = (Rate::new(per_second, burst_ms).unwrap(), 86_400_000);
            let expected = u64::from(per_second) * 86_400 + rate.burst;
            let count = greedy(rate, 5_000, 5_000 + day_ms);
            assert!(count.abs_diff(expected) <= 1, "{count} instead of {expected} at {per_second}/s");
        }
    }

    #[test]
    fn a_burst_of_less_than_two_steps_of_the_clock_may_hold_the_rate_down() {
        // Found by the property below. In some milliseconds there are two units, and room for one.
        let count = |burst_ms| greedy(Rate::new(1_001, burst_ms).unwrap(), 0, 1_001);
        assert_eq!((count(0), count(2)), (1_002, 1_004));
    }

    #[test]
    fn a_unit_larger_than_the_burst_passes_and_is_waited_for() {
        let rate = Rate::new(100, 1_000).unwrap();
        let spent = rate.spend(Spent::default(), 1_000, 60_000);
        assert!(!rate.has_room(spent, 60_000));
        // 900 units above the burst, and one for the next.
        assert_eq!(rate.room_at_ms(spent), 69_010);
        assert!(rate.is_rested(spent, 70_000) && !rate.is_rested(spent, 69_990));
    }

    proptest! {
        #[test]
        fn what_passes_is_rate_times_time_and_the_burst(
            per_second in 1..2_000u32,
            burst_ms in 2..5_000u64,
            from_ms in 0..10_000_000_000u64,
            time_ms in 0..30_000u64,
        ) {
            let rate = Rate::new(per_second, burst_ms).unwrap();
            let count = greedy(rate, from_ms, from_ms + time_ms) as f64;
            // A sender that is new at the time 0 has made nothing available yet.
            let expected = f64::from(per_second) * time_ms as f64 / 1_000.0 + rate.burst as f64;
            prop_assert!((count - expected).abs() <= 1.0, "{} instead of {}", count, expected);
        }

        #[test]
        fn a_sender_that_keeps_its_rate_is_never_held_back(
            per_second in 1..500u32,
            burst_ms in 0..2_000u64,
            pauses_ms in prop::collection::vec(0..2_000u64, 1..200),
        ) {
            let rate = Rate::new(per_second, burst_ms).unwrap();
            let interval_ms = 1_000u64.div_ceil(per_second.into());
            let (mut spent, mut now_ms) = (Spent::default(), 1_000);
            for pause_ms in pauses_ms {
                prop_assert!(rate.has_room(spent, now_ms), "at {}", now_ms);
                spent = rate.spend(spent, 1, now_ms);
                now_ms += pause_ms.max(interval_ms);
            }
        }

        #[test]
        fn more_in_a_window_never_pass_than_rate_and_burst_allow(
            per_second in 1..100u32,
            burst_ms in 0..2_000u64,
            steps in prop::collection::vec((0..300u64, 0..5u64), 1..300),
        ) {
            let rate = Rate::new(per_second, burst_ms).unwrap();
            let (mut spent, mut now_ms, mut passed) = (Spent::default(), 1_000, Vec::new());
            for (pause_ms, tries) in steps {
                now_ms += pause_ms;
                for _ in 0..tries {
                    if rate.has_room(spent, now_ms) {
                        spent = rate.spend(spent, 1, now_ms);
                        passed.push(now_ms);
                    }
                }
            }
            for (first, from_ms) in passed.iter().enumerate() {
                for (last, until_ms) in passed.iter().enumerate().skip(first) {
                    let allowed = u64::from(per_second) * (until_ms - from_ms) / 1_000 + 1 + rate.burst;
                    prop_assert!((last - first + 1) as u64 <= allowed);
                }
            }
        }
    }
}
