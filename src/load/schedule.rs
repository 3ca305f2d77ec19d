//! A steady rate as a sequence of due times. Invariant: an event that is late stays due, and keeps its own due time, so
//! that no wait is left out of the measurement (coordinated omission).

/// A stream of events at a fixed rate.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Nanoseconds between two events; infinite for a rate of 0.
    step_ns: f64,
    start_ns: u64,
    passed: u64,
}

impl Schedule {
    /// Creates a stream that has not started.
    pub fn new(per_second: f64) -> Self {
        Self { step_ns: if per_second > 0.0 { 1e9 / per_second } else { f64::INFINITY }, start_ns: u64::MAX, passed: 0 }
    }

    /// Starts the stream.
    pub fn start(&mut self, now_ns: u64) {
        (self.start_ns, self.passed) = (now_ns, 0);
    }

    /// Returns when the next event is due.
    pub fn next_ns(&self) -> u64 {
        // The first event is due after one step. Computed from the start, so that rounding errors do not add up.
        let since_start = (self.passed + 1) as f64 * self.step_ns;
        if since_start.is_finite() { self.start_ns.saturating_add(since_start as u64) } else { u64::MAX }
    }

    /// Returns the due time and the number of the next event, if it is due.
    pub fn due(&self, now_ns: u64) -> Option<(u64, u64)> {
        let due_ns = self.next_ns();
        (due_ns <= now_ns).then_some((due_ns, self.passed))
    }

    /// Moves on to the next event.
    pub fn pass(&mut self) {
        self.passed += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_one_counts_from_when_it_was_due() {
        let mut schedule = Schedule::new(1000.0);
        assert_eq!(schedule.due(u64::MAX - 1), None, "it has not begun");
        schedule.start(5_000_000);
        assert_eq!(schedule.due(5_999_999), None);
        // Three steps pass without a check.
        for number in 0..3 {
            assert_eq!(schedule.due(8_500_000), Some((6_000_000 + number * 1_000_000, number)));
            schedule.pass();
        }
        assert_eq!(schedule.due(8_500_000), None);
        assert_eq!(schedule.next_ns(), 9_000_000);
    }

    #[test]
    fn a_rate_holds_over_a_day() {
        let mut schedule = Schedule::new(3.0);
        schedule.start(0);
        schedule.passed = 3 * 86_400 - 1;
        assert_eq!(schedule.next_ns(), 86_400_000_000_000);
    }

    #[test]
    fn no_rate_is_never_due() {
        let mut schedule = Schedule::new(0.0);
        schedule.start(0);
        assert_eq!(schedule.due(u64::MAX - 1), None);
    }
}
