//! Judges from the turns of the cores which of them are stalled, and how much of that is their own fault.
//!
//! Owns what was last seen of each core. Reads neither a clock nor a thread's times: its caller provides both.
//! Invariant: a check more than [`PRESENT_MS_MAX`] after the previous one counts nothing against a core. A caller that
//! is so late could not run either, like everything in the process, because of a paused container, a debugger, or a
//! snapshot of the machine. A core that is stalled while its caller comes in time has no such excuse.

use std::fmt;

/// The interval between two checks.
pub(in crate::engine) const WATCH_INTERVAL_MS: u64 = 250;

/// The longest time between two checks in which the caller counts as present: twice the interval, for a caller that is
/// a little late.
const PRESENT_MS_MAX: u64 = 2 * WATCH_INTERVAL_MS;

/// The silence from which on the core's thread is measured: longer than that of an idle core between two turns, so that
/// nothing is read for idle cores.
const MEASURED_MS_MIN: u64 = 750;

/// The silence from which on a core is stalled, and the server is not ready. A healthy core makes two turns a second
/// even when it is idle.
pub(in crate::engine) const STALLED_MS: u64 = 1_500;

/// The time after one stall is logged in which no other is: an overloaded host causes several in a second.
const SHOWN_INTERVAL_MS: u64 = 60_000;

/// The times of a thread since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct ThreadTimes {
    /// The time that it ran, in milliseconds.
    pub(in crate::engine) ran_ms: u64,
    /// The time that it was runnable and waited for a processor, up to when it last got one.
    pub(in crate::engine) waited_ms: u64,
    /// It runs now, or waits for a processor.
    pub(in crate::engine) is_runnable: bool,
}

/// A core that has not made a turn for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Silence {
    pub(in crate::engine) core: usize,
    /// Its length, without the time in which nothing in the process ran.
    pub(in crate::engine) silent_ms: u64,
    /// The times of its thread in the latter part of the silence, if they are known.
    pub(in crate::engine) measured: Option<Measured>,
}

/// The times of a thread in some period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Measured {
    of_ms: u64,
    ran_ms: u64,
    waited_ms: u64,
}

impl Silence {
    /// Returns whether the server is not ready because of it.
    pub(in crate::engine) fn is_stall(&self) -> bool {
        self.silent_ms > STALLED_MS
    }

    /// Returns the part of its length that the core itself caused, not the lack of a processor.
    pub(in crate::engine) fn blamed_ms(&self) -> u64 {
        self.silent_ms - self.measured.map_or(0, |measured| measured.waited_ms)
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Core {} has made no turn for {} ms", self.core, self.silent_ms)?;
        let Some(Measured { of_ms, ran_ms, waited_ms }) = self.measured else {
            return f.write_str(". A handler may block it.");
        };
        write!(
            f,
            ": in the last {of_ms} ms its thread ran for {ran_ms} ms and waited for a processor for {waited_ms} ms. "
        )?;
        f.write_str(if 2 * waited_ms >= of_ms {
            "Other threads use its processors."
        } else if 2 * ran_ms >= of_ms {
            "A handler computes, or one turn has that much work."
        } else {
            "A handler blocks it."
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Watchdog {
    looked_ms: u64,
    present_ms: u64,
    cores: Vec<Watched>,
}

#[derive(Clone, Debug, Default)]
struct Watched {
    last_turn_ms: u64,
    silent_ms: u64,
    spent: Option<ThreadTimes>,
    measured: Option<Measured>,
}

impl Watchdog {
    /// Watches so many cores from `now_ms` on.
    pub(in crate::engine) fn new(cores: usize, now_ms: u64) -> Self {
        Self { looked_ms: now_ms, present_ms: 0, cores: vec![Watched::default(); cores] }
    }

    /// Checks the running cores, each with the time of its last turn, and returns the length of each silence. `spent`
    /// returns the times of a core's thread, if they are known.
    pub(in crate::engine) fn look(
        &mut self,
        now_ms: u64,
        running: impl Iterator<Item = (usize, u64)>,
        spent: impl Fn(usize) -> Option<ThreadTimes>,
    ) -> Vec<Silence> {
        let passed_ms = now_ms.saturating_sub(self.looked_ms);
        let counted_ms = if passed_ms > PRESENT_MS_MAX { 0 } else { passed_ms };
        self.looked_ms = now_ms;
        self.present_ms += passed_ms.min(PRESENT_MS_MAX);
        let silences = running.map(|(core, last_turn_ms)| {
            let watched = &mut self.cores[core];
            if watched.last_turn_ms == last_turn_ms {
                watched.silent_ms += counted_ms;
            } else {
                let silent_ms = now_ms.saturating_sub(last_turn_ms).min(counted_ms);
                *watched = Watched { last_turn_ms, silent_ms, ..Watched::default() };
            }
            if watched.silent_ms > MEASURED_MS_MIN {
                watched.measure(counted_ms, spent(core));
            }
            Silence { core, silent_ms: watched.silent_ms, measured: watched.measured }
        });
        silences.collect()
    }

    /// Returns how long the caller has been present, in milliseconds: the clock for deadlines of the server.
    pub(in crate::engine) fn present_ms(&self) -> u64 {
        self.present_ms
    }
}

impl Watched {
    fn measure(&mut self, of_ms: u64, spent: Option<ThreadTimes>) {
        let Some(now) = spent else { return };
        if let Some(before) = self.spent.replace(now) {
            let ran_ms = now.ran_ms.saturating_sub(before.ran_ms).min(of_ms);
            let waited_ms = now.waited_ms.saturating_sub(before.waited_ms).min(of_ms - ran_ms);
            // The kernel has not counted a wait that still continues.
            let waited_ms = if now.is_runnable { of_ms - ran_ms } else { waited_ms };
            let measured = self.measured.get_or_insert_default();
            measured.of_ms += of_ms;
            measured.ran_ms += ran_ms;
            measured.waited_ms += waited_ms;
        }
    }
}

/// The stalls to log: the first at once, and then the worst of each minute.
#[derive(Debug, Default)]
pub(in crate::engine) struct StallLog {
    shown_ms: Option<u64>,
    stalls: u64,
    worst: Option<Silence>,
}

impl StallLog {
    /// Records that a stall has begun.
    pub(in crate::engine) fn begin(&mut self, silence: &Silence) {
        self.stalls += 1;
        self.note(silence);
    }

    /// Records that a stall continues.
    pub(in crate::engine) fn note(&mut self, silence: &Silence) {
        if self.stalls > 0 && self.worst.as_ref().is_none_or(|worst| worst.silent_ms < silence.silent_ms) {
            self.worst = Some(silence.clone());
        }
    }

    /// Returns the worst stall since one was last logged, and the number of the others, if it is time to log one.
    pub(in crate::engine) fn due(&mut self, now_ms: u64) -> Option<(Silence, u64)> {
        if self.shown_ms.is_some_and(|shown_ms| now_ms < shown_ms + SHOWN_INTERVAL_MS) {
            return None;
        }
        let worst = self.worst.take()?;
        let others = std::mem::take(&mut self.stalls) - 1;
        self.shown_ms = Some(now_ms);
        Some((worst, others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two cores that make a turn when told to, and their watchdog.
    struct World {
        now_ms: u64,
        turns: [u64; 2],
        watchdog: Watchdog,
    }

    impl World {
        fn new() -> Self {
            Self { now_ms: 0, turns: [0; 2], watchdog: Watchdog::new(2, 0) }
        }

        /// Runs for so long, with checks in time. Cores that work make a turn every 500 ms, as idle cores do. Returns
        /// the longest silence that a check saw.
        fn run(&mut self, for_ms: u64, works: [bool; 2]) -> Silence {
            let end_ms = self.now_ms + for_ms;
            let mut longest: Option<Silence> = None;
            while self.now_ms < end_ms {
                self.now_ms += WATCH_INTERVAL_MS.min(end_ms - self.now_ms);
                for (turn_ms, works) in self.turns.iter_mut().zip(works) {
                    if works && self.now_ms >= *turn_ms + 500 {
                        *turn_ms = self.now_ms;
                    }
                }
                let seen = self.look();
                longest = Some(longest.filter(|longest| longest.silent_ms >= seen.silent_ms).unwrap_or(seen));
            }
            longest.unwrap()
        }

        /// Stops everything for so long; then the watchdog runs before the cores do.
        fn pause(&mut self, for_ms: u64) -> Silence {
            self.now_ms += for_ms;
            self.look()
        }

        fn look(&mut self) -> Silence {
            let turns = self.turns;
            let silences = self.watchdog.look(self.now_ms, turns.into_iter().enumerate(), |_| None);
            silences.into_iter().max_by_key(|silence| silence.silent_ms).unwrap()
        }
    }

    #[test]
    fn an_idle_core_is_not_stalled() {
        let mut world = World::new();
        assert!(!world.run(60_000, [true; 2]).is_stall());
    }

    #[test]
    fn a_core_that_is_stalled_alone_is_found_in_time_and_named() {
        let mut world = World::new();
        world.run(5_000, [true; 2]);
        let silence = world.run(STALLED_MS + WATCH_INTERVAL_MS, [true, false]);
        assert!(silence.is_stall() && silence.core == 1, "{silence:?}");
        let silence = world.run(10_000, [true, false]);
        assert_eq!(silence.silent_ms, world.now_ms - world.turns[1], "time in which everything ran counts in full");
    }

    #[test]
    fn a_pause_of_the_whole_process_is_no_stall() {
        for pause_ms in [600, 2_000, 12_000, 70_000, 86_400_000] {
            let mut world = World::new();
            world.run(5_250, [true; 2]);
            assert!(!world.pause(pause_ms).is_stall(), "{pause_ms}");
            assert!(!world.run(60_000, [true; 2]).is_stall(), "{pause_ms}");
        }
    }

    #[test]
    fn repeated_pauses_are_no_stall_and_hide_none() {
        let mut world = World::new();
        for _ in 0..100 {
            assert!(!world.pause(1_000).is_stall());
            assert!(!world.run(1_000, [true; 2]).is_stall());
        }
        let begun_ms = world.now_ms;
        let mut stalled_ms = 0;
        while stalled_ms <= 10_000 {
            world.pause(1_000);
            stalled_ms = world.run(1_000, [true, false]).silent_ms;
        }
        let took_ms = world.now_ms - begun_ms;
        assert!(took_ms <= 20_000, "it took {took_ms} ms to give up a core that was stalled half of the time");
    }

    #[test]
    fn repeated_pauses_without_a_processor_between_them_are_no_stall() {
        let mut world = World::new();
        world.run(5_000, [true; 2]);
        for _ in 0..100 {
            assert!(!world.pause(1_000).is_stall());
            world.now_ms += 10;
            assert!(!world.look().is_stall());
        }
    }

    #[test]
    fn a_turn_after_a_pause_ends_what_was_silent_before_it() {
        let mut world = World::new();
        world.run(1_000, [true; 2]);
        world.run(1_250, [false; 2]);
        world.pause(12_000);
        world.run(500, [true; 2]);
        assert!(!world.run(5_000, [true; 2]).is_stall());
    }

    #[test]
    fn a_pause_does_not_shorten_deadlines() {
        let mut world = World::new();
        world.run(1_000, [true; 2]);
        world.pause(12_000);
        assert_eq!(world.watchdog.present_ms(), 1_000 + PRESENT_MS_MAX);
    }

    /// Returns the silence of a core that makes no turn while its thread does this every 250 ms.
    fn silent(for_ms: u64, ran_ms: u64, waited_ms: u64, is_runnable: bool) -> Silence {
        let mut watchdog = Watchdog::new(1, 0);
        let mut silence = None;
        for look in 1..=for_ms / WATCH_INTERVAL_MS {
            let spent = ThreadTimes { ran_ms: ran_ms * look, waited_ms: waited_ms * look, is_runnable };
            silence = watchdog.look(look * WATCH_INTERVAL_MS, std::iter::once((0, 0)), |_| Some(spent)).pop();
        }
        silence.unwrap()
    }

    #[test]
    fn the_wait_for_a_processor_is_reported_and_not_blamed_on_the_core() {
        // The waits of its thread are counted, or it has waited for a long time.
        for silence in [silent(20_000, 2, 248, false), silent(20_000, 2, 0, true)] {
            assert!(silence.is_stall() && silence.blamed_ms() < 2_000, "{silence:?}");
            let text = silence.to_string();
            assert!(
                text.starts_with("Core 0 has made no turn for 20000 ms: in the last 19000 ms its thread ran"),
                "{text}"
            );
            assert!(text.ends_with("Other threads use its processors."), "{text}");
        }
        let computes = silent(20_000, 249, 1, true);
        assert!(computes.blamed_ms() > 19_000 && computes.to_string().contains("A handler computes"), "{computes}");
        let sleeps = silent(20_000, 0, 0, false);
        assert!(sleeps.blamed_ms() == 20_000 && sleeps.to_string().ends_with("A handler blocks it."), "{sleeps}");
    }

    #[test]
    fn of_many_stalls_one_a_minute_is_shown_with_the_number_of_the_others() {
        let stall = |silent_ms| Silence { core: 0, silent_ms, measured: None };
        let mut log = StallLog::default();
        log.begin(&stall(1_600));
        assert_eq!(log.due(1_000), Some((stall(1_600), 0)));
        assert_eq!(log.due(1_250), None);
        for second in 2..62 {
            log.begin(&stall(1_600));
            log.note(&stall(1_600 + 10 * second));
            assert_eq!(log.due(second * 1_000 - 1), None);
        }
        assert_eq!(log.due(61_000), Some((stall(2_210), 59)));
        assert_eq!(log.due(200_000), None, "there was none since");
        log.begin(&stall(1_700));
        assert_eq!(log.due(200_250), Some((stall(1_700), 0)));
    }
}
