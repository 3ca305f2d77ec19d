//! The lists of sessions that a core goes through: each session is on each at most once.

use std::collections::VecDeque;

use super::slot::{List, Slot};
use crate::reactor::Token;

/// See the module. Whoever takes a session off a list notes it with [`Slot::delist`].
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

    /// Returns whether the next turn has sessions to go through at once.
    pub(in crate::engine) fn has_more(&self) -> bool {
        !self.catching_up.is_empty() || !self.resumed.is_empty()
    }

    /// Takes the sessions that have something to send. Their room is to be given back, so that it is used again.
    pub(in crate::engine) fn take_dirty(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.dirty)
    }

    /// Gives back the room of the list that was taken.
    pub(in crate::engine) fn give_back_dirty(&mut self, emptied: Vec<Token>) {
        self.dirty = emptied;
    }

    /// Takes the sessions that are read on. Those that are cut off again are put on a new list, for the turn after.
    pub(in crate::engine) fn take_resumed(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.resumed)
    }

    /// Returns how many sessions wait for the latest message of a topic and are to be looked at.
    pub(in crate::engine) fn catching_up(&self) -> usize {
        self.catching_up.len()
    }

    /// Takes the session that has waited longest to be looked at.
    pub(in crate::engine) fn next_catching_up(&mut self) -> Option<Token> {
        self.catching_up.pop_front()
    }
}
