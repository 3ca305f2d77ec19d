//! The lists of its core that a session is on, as a set of bits.

/// A list of sessions that a core goes through.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(in crate::engine) enum List {
    /// Sessions with something in their outbox that is not in flight.
    Dirty = 1,
    /// Sessions that resume reading in the next turn.
    Resumed = 2,
    /// Sessions that wait for a topic's latest message and are visited in the next turn.
    CatchingUp = 4,
}

/// A set of lists.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ListSet(u8);

impl ListSet {
    /// Adds a list. Returns whether it was not in the set.
    #[inline]
    pub(super) fn insert(&mut self, list: List) -> bool {
        let is_new = self.0 & list as u8 == 0;
        self.0 |= list as u8;
        is_new
    }

    #[inline]
    pub(super) fn remove(&mut self, list: List) {
        self.0 &= !(list as u8);
    }
}
