//! The pace of a fan-out to many subscribers while there is other traffic: how finely it is split depends on how long
//! the previous turns took.
//!
//! The cost of a send differs between machines and over time, so a number of sends alone does not tell how long other
//! sessions wait. Invariant: no turn is split more coarsely or finely than the limits here.

/// A core counts as having other traffic for this many ticks after the last message that was not fan-out.
const OTHER_TRAFFIC_TICKS: u32 = 2;

/// A turn of this many milliseconds or more was too long. The clock counts whole ones, so such a turn took over one.
const TURN_MS_MAX: u64 = 2;

/// The least that a visit counts for: 341 visits in a turn. The rounds are split anyway, so smaller turns cost little.
const WEIGHT_MIN: usize = 3;

/// The most that a visit counts for: 64 visits in a turn. Below that, the fixed cost of a turn begins to matter.
const WEIGHT_MAX: usize = 16;

/// The amount that a turn which took too long adds to the weight; a turn that did not subtracts one.
const WEIGHT_STEP: usize = 2;

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Pacing {
    weight: usize,
    /// The time at which the previous turn began, in milliseconds, if it was split.
    before_ms: Option<u64>,
    /// The tick of the last message or request that was not fan-out.
    other_traffic: Option<u32>,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { weight: WEIGHT_MIN, before_ms: None, other_traffic: None }
    }
}

impl Pacing {
    /// Records a message or request that is not fan-out.
    #[inline]
    pub(in crate::engine) fn note_other_traffic(&mut self, tick: u32) {
        self.other_traffic = Some(tick);
    }

    /// Returns whether there is traffic other than fan-out, which has to wait for it.
    pub(in crate::engine) fn has_other_traffic(&self, tick: u32) -> bool {
        self.other_traffic.is_some_and(|last| tick - last <= OTHER_TRAFFIC_TICKS)
    }

    /// Returns how many of a turn's visits one counts for. Must be called once in each turn that is split, with its
    /// beginning.
    pub(in crate::engine) fn weight(&mut self, now_ms: u64) -> usize {
        if let Some(before_ms) = self.before_ms.replace(now_ms) {
            let was_too_long = now_ms - before_ms >= TURN_MS_MAX;
            let weight = if was_too_long { self.weight + WEIGHT_STEP } else { self.weight - 1 };
            self.weight = weight.clamp(WEIGHT_MIN, WEIGHT_MAX);
        }
        self.weight
    }

    /// Records a turn that is not split: its length says nothing about the next one that is.
    pub(in crate::engine) fn pause(&mut self) {
        self.before_ms = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the weights of so many turns of one length, one after another.
    fn weights(pacing: &mut Pacing, turns: usize, turn_ms: u64) -> Vec<usize> {
        (0..turns as u64).map(|turn| pacing.weight(1_000 + turn * turn_ms)).collect()
    }

    #[test]
    fn turns_that_take_too_long_are_cut_finer_down_to_a_limit() {
        let mut cut = Pacing::default();
        assert_eq!(weights(&mut cut, 9, TURN_MS_MAX), [3, 5, 7, 9, 11, 13, 15, 16, 16]);
    }

    #[test]
    fn turns_that_are_short_are_cut_coarser_up_to_a_limit() {
        let mut cut = Pacing { weight: 6, ..Pacing::default() };
        assert_eq!(weights(&mut cut, 6, TURN_MS_MAX - 1), [6, 5, 4, 3, 3, 3]);
    }

    #[test]
    fn turns_that_are_not_split_change_no_weight() {
        let mut cut = Pacing::default();
        for turn in 0..100 {
            assert_eq!(cut.weight(turn * 1_000), WEIGHT_MIN);
            cut.pause();
        }
    }
}
