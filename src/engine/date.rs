//! The date header of a core's answers.
//!
//! Owns the decision when to read the clock: once a second, and only when something is answered. The clock is given to
//! the core, so that a simulation can stop it. Invariant: the date is never more than a second behind that clock.

use std::time::SystemTime;

use crate::protocol::http::Date;

/// See the module.
#[derive(Debug)]
pub(super) struct DateCache {
    clock: fn() -> SystemTime,
    date: Date,
    /// The time at which the next second begins, in milliseconds of the core's clock.
    good_until_ms: u64,
}

impl DateCache {
    pub(super) fn new(clock: fn() -> SystemTime) -> Self {
        Self { clock, date: Date::from(SystemTime::UNIX_EPOCH), good_until_ms: 0 }
    }

    /// Returns the date at `now_ms`, which never goes back.
    #[inline]
    pub(super) fn at(&mut self, now_ms: u64) -> &Date {
        if now_ms >= self.good_until_ms {
            self.renew(now_ms);
        }
        &self.date
    }

    #[cold]
    fn renew(&mut self, now_ms: u64) {
        let time = (self.clock)();
        self.date = Date::from(time);
        let into_second_ms =
            time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| u64::from(since.subsec_millis()));
        self.good_until_ms = now_ms + 1000 - into_second_ms;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    thread_local! {
        /// The time of day in milliseconds, and the number of times it was read.
        static CLOCK: Cell<(u64, u32)> = const { Cell::new((0, 0)) };
    }

    fn clock() -> SystemTime {
        let (time_ms, asked) = CLOCK.get();
        CLOCK.set((time_ms, asked + 1));
        SystemTime::UNIX_EPOCH + Duration::from_millis(time_ms)
    }

    #[test]
    fn the_clock_is_asked_once_in_each_second_in_which_something_is_answered() {
        let begin_ms = 784_111_777_400;
        let mut dates = DateCache::new(clock);
        for (now_ms, second, asked) in [
            (0, "37", 1),
            (599, "37", 1),
            (600, "38", 2),
            (601, "38", 2),
            (1_599, "38", 2),
            (1_600, "39", 3),
            (9_900, "47", 4),
            (10_600, "48", 5),
        ] {
            CLOCK.set((begin_ms + now_ms, CLOCK.get().1));
            let date = dates.at(now_ms).as_str().to_owned();
            assert_eq!((date, CLOCK.get().1), (format!("Sun, 06 Nov 1994 08:49:{second} GMT"), asked), "at {now_ms}");
        }
    }

    #[test]
    fn a_clock_that_was_set_is_believed_a_second_later() {
        let mut dates = DateCache::new(clock);
        CLOCK.set((784_111_777_000, 0));
        dates.at(0);
        CLOCK.set((0, 0));
        assert_eq!(dates.at(999).as_str(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(dates.at(1_000).as_str(), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
