//! When the next of a steady stream is due. Invariant: what is late stays due, one after the other, each from its own moment,
//! so that nothing that had to wait is left out (coordinated omission).

/// So many a second.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Nanoseconds from one to the next; infinite for none at all.
    step_ns: f64,
    start_ns: u64,
    passed: u64,
}

impl Schedule {
    /// A stream of that rate, which has not begun.
    pub fn new(per_second: f64) -> Self {
        Self { step_ns: if per_second > 0.0 { 1e9 / per_second } else { f64::INFINITY }, start_ns: u64::MAX, passed: 0 }
    }

    /// It begins.
    pub fn start(&mut self, now_ns: u64) {
        (self.start_ns, self.passed) = (now_ns, 0);
    }

    /// When the next is due.
    pub fn next_ns(&self) -> u64 {
        // The first after one step. Computed from the start, so that no error adds up.
        let since_start = (self.passed + 1) as f64 * self.step_ns;
        if since_start.is_finite() { self.start_ns.saturating_add(since_start as u64) } else { u64::MAX }
    }

    /// The next, if it is due: from when on, and which it is.
    pub fn due(&self, now_ns: u64) -> Option<(u64, u64)> {
        let due_ns = self.next_ns();
        (due_ns <= now_ns).then_some((due_ns, self.passed))
    }

    /// That one is done.
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
        // Nobody looked for three steps.
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
