//! The timing wheel of a core: one entry per session, without heap allocation.
//!
//! An entry holds the time at which a session is to be checked, not what is due then: the check works that out. So
//! activity never touches the wheel, and an entry that fires early does no harm. Scheduling, moving and cancelling are
//! O(1).

/// Milliseconds of one tick, which is about the accuracy of every timeout.
pub const TICK_MS: u64 = 50;

/// The tick of a deadline that never comes.
pub(super) const NEVER: u32 = u32::MAX;

/// Converts milliseconds to ticks, rounded up, at least one.
pub(super) fn ticks(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds.div_ceil(TICK_MS)).unwrap_or(NEVER / 2).clamp(1, NEVER / 2)
}

/// Slots: a power of two, so that 102 s pass before an entry must be put back. Longer waits go round again.
const SLOTS: usize = 2048;

const NONE: u32 = u32::MAX;

/// A wheel over the indexes of a slab.
#[derive(Debug)]
pub struct Wheel {
    /// First entry of each slot.
    heads: Box<[u32]>,
    /// One bit per slot, set if the slot is not empty.
    used: [u64; SLOTS / 64],
    links: Vec<Link>,
    /// The tick up to which every entry has fired.
    now: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    previous: u32,
    /// The tick at which the entry fires, or `NONE`.
    due: u32,
}

impl Default for Wheel {
    fn default() -> Self {
        Self { heads: vec![NONE; SLOTS].into_boxed_slice(), used: [0; SLOTS / 64], links: Vec::new(), now: 0 }
    }
}

impl Wheel {
    /// Makes `index` fire at `due`, unless it fires earlier already, which costs only a comparison.
    #[inline]
    pub fn schedule(&mut self, index: u32, due: u32) {
        if self.links.get(index as usize).is_some_and(|link| link.due <= due) {
            return;
        }
        self.cancel(index);
        // An entry that is due now fires at the next tick.
        let due = due.max(self.now + 1);
        let needed = index as usize + 1;
        if self.links.len() < needed {
            self.links.resize(needed, Link { next: NONE, previous: NONE, due: NONE });
        }
        self.link(index, due);
    }

    /// Removes `index` from the wheel.
    pub fn cancel(&mut self, index: u32) {
        let Some(&Link { next, previous, due }) = self.links.get(index as usize) else { return };
        if due == NONE {
            return;
        }
        let slot = due as usize % SLOTS;
        match self.links.get_mut(previous as usize) {
            Some(link) => link.next = next,
            None => self.heads[slot] = next,
        }
        if let Some(link) = self.links.get_mut(next as usize) {
            link.previous = previous;
        }
        if self.heads[slot] == NONE {
            self.used[slot / 64] &= !(1 << (slot % 64));
        }
        self.links[index as usize].due = NONE;
    }

    /// Advances the wheel to `tick` and appends the indexes that fire. Each is off the wheel until it is scheduled
    /// again.
    pub fn advance(&mut self, tick: u32, fired: &mut Vec<u32>) {
        let steps = tick.saturating_sub(self.now).min(SLOTS as u32);
        let first = tick - steps + 1;
        self.now = self.now.max(tick);
        for slot in (first..first + steps).map(|tick| tick as usize % SLOTS) {
            let mut index = self.heads[slot];
            while let Some(&Link { next, due, .. }) = self.links.get(index as usize) {
                // Other entries in the slot are for a later round.
                if due <= tick {
                    self.cancel(index);
                    fired.push(index);
                }
                index = next;
            }
        }
    }

    /// Returns the tick of the first slot that must be checked; `None` if the wheel is empty.
    pub fn next(&self) -> Option<u32> {
        let start = self.now + 1;
        let slot = start as usize % SLOTS;
        let words = SLOTS / 64;
        for step in 0..=words {
            let word = (slot / 64 + step) % words;
            let mut bits = self.used[word];
            match step {
                0 => bits &= !0 << (slot % 64),
                _ if step == words => bits &= !(!0 << (slot % 64)),
                _ => {}
            }
            if bits != 0 {
                let found = word * 64 + bits.trailing_zeros() as usize;
                return Some(start + ((found + SLOTS - slot) % SLOTS) as u32);
            }
        }
        None
    }

    fn link(&mut self, index: u32, due: u32) {
        let slot = due as usize % SLOTS;
        let next = std::mem::replace(&mut self.heads[slot], index);
        if let Some(link) = self.links.get_mut(next as usize) {
            link.previous = index;
        }
        self.links[index as usize] = Link { next, previous: NONE, due };
        self.used[slot / 64] |= 1 << (slot % 64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn fired(wheel: &mut Wheel, tick: u32) -> Vec<u32> {
        let mut fired = Vec::new();
        wheel.advance(tick, &mut fired);
        fired.sort_unstable();
        fired
    }

    #[test]
    fn fires_at_its_tick_and_only_once() {
        let mut wheel = Wheel::default();
        wheel.schedule(3, 10);
        assert_eq!(wheel.next(), Some(10));
        assert!(fired(&mut wheel, 9).is_empty());
        assert_eq!(fired(&mut wheel, 10), [3]);
        assert!(fired(&mut wheel, 100).is_empty());
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn an_earlier_time_wins_and_a_later_one_is_ignored() {
        let mut wheel = Wheel::default();
        wheel.schedule(0, 50);
        wheel.schedule(0, 90);
        wheel.schedule(0, 20);
        assert_eq!(fired(&mut wheel, 20), [0]);
        assert!(fired(&mut wheel, 5000).is_empty());
    }

    #[test]
    fn waits_longer_than_a_round_are_kept() {
        let mut wheel = Wheel::default();
        let due = 3 * SLOTS as u32 + 7;
        wheel.schedule(1, due);
        assert!(fired(&mut wheel, due - 1).is_empty());
        assert_eq!(fired(&mut wheel, due), [1]);
    }

    #[test]
    fn a_long_sleep_fires_everything_that_fell_due() {
        let mut wheel = Wheel::default();
        (0..5000).for_each(|index| wheel.schedule(index, index + 1));
        assert_eq!(fired(&mut wheel, 100_000).len(), 5000);
    }

    #[test]
    fn agrees_with_a_sorted_map_under_random_use() {
        let mut random = 88_172_645_463_325_252u64;
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let (mut wheel, mut model) = (Wheel::default(), BTreeMap::new());
        let mut now = 0;
        for _ in 0..200_000 {
            let index = next(300) as u32;
            match next(10) {
                0..6 => {
                    let due = now + 1 + next(6000) as u32;
                    wheel.schedule(index, due);
                    let entry = model.entry(index).or_insert(due);
                    *entry = due.min(*entry);
                }
                6..8 => {
                    wheel.cancel(index);
                    model.remove(&index);
                }
                _ => {
                    now += next(200) as u32;
                    let expected: Vec<u32> = model.iter().filter(|(_, due)| **due <= now).map(|(i, _)| *i).collect();
                    model.retain(|_, due| *due > now);
                    assert_eq!(fired(&mut wheel, now), expected);
                    let first = model.values().min().copied();
                    assert!(wheel.next() <= first && wheel.next().is_some() == first.is_some());
                }
            }
        }
    }

    #[test]
    fn timeouts_are_rounded_up_to_ticks() {
        assert_eq!((ticks(1), ticks(50), ticks(51), ticks(0)), (1, 1, 2, 1));
        assert!(ticks(u64::MAX) < NEVER);
    }
}
