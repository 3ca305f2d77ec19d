//! The clients of a core that wait for their turn to shake hands over TLS.
//!
//! A step of a handshake is the most expensive thing that a stranger can ask for, so steps have a budget in every turn,
//! and clients wait in a queue of bounded length. Owns the order; takes no step. Invariant: a client is in the queue at
//! most once, because it is not read while it waits.

use std::collections::VecDeque;

use crate::reactor::Token;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct Handshakes {
    waiting: VecDeque<Token>,
}

impl Handshakes {
    /// Queues a client. Returns false if as many wait as may.
    #[must_use]
    pub(in crate::engine) fn push(&mut self, token: Token, waiting_max: usize) -> bool {
        let has_room = self.waiting.len() < waiting_max;
        if has_room {
            self.waiting.push_back(token);
        }
        has_room
    }

    /// Queues a client before all others.
    pub(in crate::engine) fn push_first(&mut self, token: Token) {
        self.waiting.push_front(token);
    }

    /// Returns the client that has waited longest.
    pub(in crate::engine) fn pop(&mut self) -> Option<Token> {
        self.waiting.pop_front()
    }

    /// Returns whether a client waits.
    #[inline]
    pub(in crate::engine) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns how many clients wait.
    pub(in crate::engine) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
