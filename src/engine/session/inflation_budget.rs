//! The bytes that compressed messages may become in a turn of a core, so that a bomb, or an honest large message, keeps nobody
//! waiting for long.
//!
//! A session whose message might exceed them is postponed to the next turn, where it comes before those that arrive then.
//! Invariant: a turn exceeds its budget by one message at most, since a message is inflated whole.

use crate::protocol::Connection;

/// Bytes that compressed messages may become in a turn before others have to wait for the next one.
const INFLATED_BYTES_PER_TURN_MAX: u64 = 1024 * 1024;

/// Compressed bytes that never wait: they become a megabyte at most, which takes less than a millisecond.
const LIGHT_BYTES_MAX: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct InflationBudget {
    /// Bytes that messages may still become in this turn.
    bytes_left: u64,
    /// A session waits for the next turn.
    is_next_awaited: bool,
    /// A session has waited for this turn, and has not had it yet.
    was_awaited: bool,
}

impl InflationBudget {
    /// Begins a turn: sessions that waited for it come before those that arrive in it, but after what costs little.
    pub(in crate::engine) fn begin_turn(&mut self) {
        self.was_awaited = std::mem::take(&mut self.is_next_awaited);
        self.bytes_left = if self.was_awaited { 0 } else { INFLATED_BYTES_PER_TURN_MAX };
    }

    /// Lets the sessions that waited for this turn go on.
    pub(in crate::engine) fn let_the_postponed_go_on(&mut self) {
        if std::mem::take(&mut self.was_awaited) {
            self.bytes_left = INFLATED_BYTES_PER_TURN_MAX;
        }
    }

    /// Takes what messages have become from the budget.
    #[inline]
    pub(in crate::engine) fn spend(&mut self, bytes: u64) {
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
    }

    #[inline]
    pub(in crate::engine) fn is_spent(&self) -> bool {
        self.bytes_left == 0
    }

    /// Returns whether an open session has to wait for the next turn with so many bytes of input, because they might become
    /// many and enough was inflated in this one.
    #[inline]
    pub(in crate::engine) fn postpones(&mut self, connection: &Connection, bytes: usize) -> bool {
        let is_postponed = self.is_spent()
            && connection.compression().is_some()
            && connection.assembled_bytes() + bytes > LIGHT_BYTES_MAX;
        self.is_next_awaited |= is_postponed;
        is_postponed
    }
}
