//! The lists of sessions that a core goes through. A session is on each list at most once.

use std::collections::VecDeque;

use super::slot::{List, Slot};
use crate::reactor::Token;

/// See the module. Code that takes a session off a list records that with [`Slot::delist`].
#[derive(Debug, Default)]
pub(in crate::engine) struct Lists {
    dirty: Vec<Token>,
    resumed: Vec<Token>,
    catching_up: VecDeque<Token>,
}

impl Lists {
    /// Puts a session on a list, unless it is there already.
    #[inline]
    pub(in crate::engine) fn add<S>(&mut self, list: List, slot: &mut Slot<S>, token: Token) {
        if slot.enlist(list) {
            match list {
                List::Dirty => self.dirty.push(token),
                List::Resumed => self.resumed.push(token),
                List::CatchingUp => self.catching_up.push_back(token),
            }
        }
    }

    /// Returns whether the next turn has sessions to visit and must not wait.
    pub(in crate::engine) fn has_more(&self) -> bool {
        !self.catching_up.is_empty() || !self.resumed.is_empty()
    }

    /// Takes the sessions that have something to send. [`Lists::give_back_dirty`] returns the buffer for reuse.
    pub(in crate::engine) fn take_dirty(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.dirty)
    }

    /// Gives back the emptied buffer of the list that was taken.
    pub(in crate::engine) fn give_back_dirty(&mut self, emptied: Vec<Token>) {
        self.dirty = emptied;
    }

    /// Takes the sessions that resume reading. Sessions that are interrupted again go onto a new list, for the next
    /// turn.
    pub(in crate::engine) fn take_resumed(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.resumed)
    }

    /// Returns how many sessions that wait for a topic's latest message are to be visited.
    pub(in crate::engine) fn catching_up(&self) -> usize {
        self.catching_up.len()
    }

    /// Takes the session that has waited longest for its visit.
    pub(in crate::engine) fn next_catching_up(&mut self) -> Option<Token> {
        self.catching_up.pop_front()
    }
}
