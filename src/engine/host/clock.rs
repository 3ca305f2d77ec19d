//! A core's time: the host's time without the time in which the core did not run.
//!
//! All timeouts of a core use this clock. A core that did not run could neither read what its clients sent nor see what
//! they acknowledged, so that time does not count against them: after a pause of the process longer than the dead-peer
//! timeout, all sessions continue. The same holds for a turn that a handler has blocked. Owns two numbers and reads no
//! clock. Invariant: time never goes back, and no step is longer than [`STEP_MS_MAX`].

/// The longest step: twice the longest sleep of a core. At least a second, since a date header is valid for so long.
const STEP_MS_MAX: u64 = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct CoreClock {
    host_ms: u64,
    core_ms: u64,
}

impl CoreClock {
    /// Returns the core's time at `host_ms` on the host's clock, which never goes back.
    #[inline]
    pub(in crate::engine) fn at(&mut self, host_ms: u64) -> u64 {
        self.core_ms += (host_ms - self.host_ms).min(STEP_MS_MAX);
        self.host_ms = host_ms;
        self.core_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_with_the_host_and_stands_still_while_the_core_is_away() {
        let mut clock = CoreClock::default();
        assert_eq!([0, 10, 10, 510, 1_510].map(|host_ms| clock.at(host_ms)), [0, 10, 10, 510, 1_510]);
        assert_eq!(clock.at(71_510), 2_510, "a pause of 70 s is a long step");
        assert_eq!([71_520, 72_000].map(|host_ms| clock.at(host_ms)), [2_520, 3_000]);
    }
}
