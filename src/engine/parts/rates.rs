//! Rates of a session: how it is slowed down, and when it may go on.
//!
//! A message that has arrived always passes. Invariant: a session that is slowed down is on the wheel, at the tick from
//! which it keeps its rates.

use super::Parts;
use crate::engine::rates::Pace;
use crate::engine::session::Slot;
use crate::engine::wheel::{NEVER, TICK_MS};
use crate::reactor::Token;

impl Parts {
    /// Counts a message that a session has published, and slows the session down if it came too early. Returns whether
    /// the session is to be closed, because that goes on.
    #[cold]
    pub(in crate::engine) fn keep_rates<S>(&mut self, slot: &mut Slot<S>, token: Token, bytes: usize) -> bool {
        let address = self.clients.own_address(token.index);
        match self.rates.note_published(token.index, address, bytes, self.now_ms, self.tick) {
            Pace::Kept => false,
            Pace::Slowed { until_ms } => {
                if slot.slow() {
                    self.counters.publishers_slowed.add(1);
                    self.log_slowed(token);
                }
                self.wheel.schedule(token.index, tick_from(until_ms));
                false
            }
            Pace::Persists => true,
        }
    }

    /// Returns the tick from which a session that is slowed down may be read again.
    pub(super) fn keeps_rates_at(&self, token: Token) -> u32 {
        let address = self.clients.own_address(token.index);
        let at_ms = self.rates.keeps_rates_at_ms(token.index, address, self.now_ms);
        if at_ms <= self.now_ms { self.tick } else { tick_from(at_ms) }
    }

    /// Reads a session again that was slowed down.
    pub(in crate::engine) fn release_slowed<S>(&mut self, slot: &mut Slot<S>, token: Token) {
        if slot.unslow() {
            self.rates.note_released(token.index, self.tick);
            self.resume_reading(slot, token);
        }
    }

    /// Counts a subscription of a session. Returns whether it keeps its rates.
    #[cold]
    pub(in crate::engine) fn admits_subscription(&mut self, token: Token) -> bool {
        let address = self.clients.own_address(token.index);
        let admitted = self.rates.admit_subscription(token.index, address, self.now_ms);
        self.counters.subscriptions_refused.add(u64::from(!admitted));
        admitted
    }
}

/// Returns the first tick that does not begin before this time.
fn tick_from(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds.div_ceil(TICK_MS)).unwrap_or(NEVER - 1).min(NEVER - 1)
}
