//! The bytes that compressed messages may inflate to in a turn of a core, so that neither a decompression bomb nor an
//! honest large message delays other sessions for long.
//!
//! A session whose message might exceed the budget is postponed to the next turn, where it comes before new arrivals.
//! Invariant: a turn exceeds its budget by one message at most, since a message is inflated whole.

use crate::protocol::Connection;

/// Bytes that messages may inflate to in a turn before further sessions are postponed.
const INFLATED_BYTES_PER_TURN_MAX: u64 = 1024 * 1024;

/// Compressed bytes that are never postponed: they inflate to a megabyte at most, in less than a millisecond.
const LIGHT_BYTES_MAX: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct InflationBudget {
    /// Bytes that messages may still inflate to in this turn.
    bytes_left: u64,
    /// A session was postponed to the next turn.
    is_next_awaited: bool,
    /// A session was postponed to this turn, and has not been read in it yet.
    was_awaited: bool,
}

impl InflationBudget {
    /// Begins a turn. Postponed sessions come before new arrivals, but after cheap input.
    pub(in crate::engine) fn begin_turn(&mut self) {
        self.was_awaited = std::mem::take(&mut self.is_next_awaited);
        self.bytes_left = if self.was_awaited { 0 } else { INFLATED_BYTES_PER_TURN_MAX };
    }

    /// Makes the budget available to the sessions that were postponed to this turn.
    pub(in crate::engine) fn release_postponed(&mut self) {
        if std::mem::take(&mut self.was_awaited) {
            self.bytes_left = INFLATED_BYTES_PER_TURN_MAX;
        }
    }

    /// Subtracts inflated bytes from the budget.
    #[inline]
    pub(in crate::engine) fn spend(&mut self, bytes: u64) {
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
    }

    #[inline]
    pub(in crate::engine) fn is_spent(&self) -> bool {
        self.bytes_left == 0
    }

    /// Returns whether an open session must wait for the next turn with so many bytes of input, because they might
    /// inflate to many and this turn's budget is spent.
    #[inline]
    pub(in crate::engine) fn postpones(&mut self, connection: &Connection, bytes: usize) -> bool {
        let is_postponed = self.is_spent()
            && connection.compression().is_some()
            && connection.assembled_bytes() + bytes > LIGHT_BYTES_MAX;
        self.is_next_awaited |= is_postponed;
        is_postponed
    }
}
