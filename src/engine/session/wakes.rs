//! The ticks at which sessions are to be woken, by the index of their slot.
//!
//! Takes no memory until the first session sets one, and 4 bytes for each slot from then on.

use crate::engine::wheel::NEVER;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct Wakes(Vec<u32>);

impl Wakes {
    /// Returns the tick at which a session is to be woken, or [`NEVER`].
    #[inline]
    pub(in crate::engine) fn at(&self, index: u32) -> u32 {
        self.0.get(index as usize).copied().unwrap_or(NEVER)
    }

    /// Sets the tick at which a session is to be woken.
    pub(in crate::engine) fn set(&mut self, index: u32, tick: u32) {
        let index = index as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, NEVER);
        }
        self.0[index] = tick;
    }

    /// Forgets the tick of a session.
    pub(in crate::engine) fn forget(&mut self, index: u32) {
        if let Some(at) = self.0.get_mut(index as usize) {
            *at = NEVER;
        }
    }
}
